"""Gauges of queues on both backends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask_forge_jobs.model.gauges import Gauges
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, to_micros
from flask_forge_jobs.model.metrics import window
from flask_forge_jobs.storage.base import Storage

NOON = datetime(2026, 9, 16, 12, tzinfo=UTC)
NOON_US = to_micros(NOON)
MINUTE_US = 60 * SECOND_US
HOUR = timedelta(hours=1)


def test_a_minute_has_one_sample_however_often_it_is_written(storage: Storage) -> None:
    storage.gauges.put(NOON_US + 5, {"mail": Gauges(1, 9, 9, 9, 9, 9)})
    storage.gauges.put(NOON_US + 59, {"mail": Gauges(1, 2, 3, 4, 5, 6)})

    for level in (60, 300, 1800):
        found = storage.gauges.within(window(NOON, NOON + HOUR, level), level, ["mail"])
        assert found == {"mail": {0: Gauges(1, 2, 3, 4, 5, 6)}}


def test_wider_buckets_are_sums_of_their_minutes(storage: Storage) -> None:
    put = storage.gauges.put
    put(NOON_US, {"mail": Gauges(1, 1, 50, 1, 1, 1), "bulk": Gauges(1)})
    put(NOON_US + 4 * MINUTE_US, {"mail": Gauges(1, 2, 40, 2, 2, 1)})
    put(NOON_US + 5 * MINUTE_US, {"mail": Gauges(1, 4, 30, 4, 4, 1)})

    fives = storage.gauges.within(window(NOON, NOON + HOUR, 300), 300, ["mail"])
    halves = storage.gauges.within(
        window(NOON, NOON + HOUR, 1800), 1800, ["bulk", "mail", "none"]
    )

    assert fives == {
        "mail": {0: Gauges(2, 3, 50, 3, 3, 2), 1: Gauges(1, 4, 30, 4, 4, 1)}
    }
    assert halves == {"bulk": {0: Gauges(1)}, "mail": {0: Gauges(3, 7, 50, 7, 7, 3)}}


def test_rows_of_a_past_are_appended(storage: Storage) -> None:
    storage.gauges.append([(60, "mail", NOON_US, 1, 2, 3, 4, 5, 6)])

    found = storage.gauges.within(window(NOON, NOON + HOUR, 60), 60, ["mail"])

    assert found == {"mail": {0: Gauges(1, 2, 3, 4, 5, 6)}}


def test_a_stored_bucket_counts_in_each_that_it_overlaps(storage: Storage) -> None:
    storage.gauges.put(NOON_US, {"mail": Gauges(1, 2)})
    late = NOON + timedelta(seconds=90)

    narrow = storage.gauges.within(window(late, late + HOUR, 60), 300, ["mail"])
    outside = storage.gauges.within(window(NOON - HOUR, NOON, 60), 60, ["mail"])

    assert sorted(narrow["mail"]) == [0, 1, 2, 3]
    assert outside == {}


def test_minutes_are_kept_for_a_day_and_the_others_for_a_month(
    storage: Storage,
) -> None:
    storage.gauges.put(NOON_US, {"mail": Gauges(1)})

    assert storage.gauges.prune(NOON_US + DAY_US) == 0
    assert storage.gauges.prune(NOON_US + 2 * DAY_US) == 1
    assert storage.gauges.prune(NOON_US + 31 * DAY_US) == 2
