from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.gauges import MAX_POINTS, GaugeList, GaugeSeries, gauges
from flask_forge_jobs.handlers.series import MAX_NAMES
from flask_forge_jobs.model.gauges import Gauges
from flask_forge_jobs.model.instants import SECOND_US, to_micros
from flask_forge_jobs.model.metrics import Window
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.gauges import GaugeStore

NOON = datetime(2026, 9, 16, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _gauges(
    storage: Storage, minutes: int = 3, bucket_secs: int = 60, **more: Any
) -> GaugeList:
    asked: dict[str, Any] = {
        "names": ["mail"],
        "start": NOON,
        "end": NOON + minutes * MINUTE,
        "bucket_secs": bucket_secs,
        "now": NOON + 10 * MINUTE,
    }
    return gauges(storage, **(asked | more))


@pytest.fixture(autouse=True)
def _put(storage: Storage) -> None:
    at_us = to_micros(NOON)
    storage.gauges.put(at_us, {"mail": Gauges(1, 4, 30, 2, 1, 3)})
    storage.gauges.put(at_us + 120 * SECOND_US, {"mail": Gauges(1, 1, 10, 2, 0, 3)})


def test_a_minute_without_a_sample_stays_a_gap(storage: Storage) -> None:
    [mail] = _gauges(storage).series

    assert mail == GaugeSeries(
        "mail", NOON, 60, [4, None, 1], [30, None, 10], [2, None, 2], [1, None, 0],
        [3, None, 3],
    )  # fmt: skip


@pytest.mark.parametrize("days", [0, 2])
def test_wider_buckets_are_means_of_the_samples(storage: Storage, days: int) -> None:
    now = NOON + timedelta(days=days, minutes=10)

    [mail] = _gauges(storage, minutes=5, bucket_secs=300, now=now).series

    assert mail == GaugeSeries("mail", NOON, 300, [2.5], [30], [2], [0.5], [3])


@pytest.mark.parametrize(
    ("asked", "level"),
    [
        ((1, 24, 1800), 1800),
        ((50, 1, 60), 60),
        ((50, 24, 1800), 1800),
        ((10, 24, 600), 300),
    ],
)
def test_many_queues_are_read_from_wider_buckets(
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[int, int, int],
    level: int,
) -> None:
    queues, hours, bucket_secs = asked
    levels: list[int] = []

    def within(_: GaugeStore, __: Window, level: int, ___: object) -> dict[str, Any]:
        levels.append(level)
        return {}

    monkeypatch.setattr(GaugeStore, "within", within)
    names = [f"q{n}" for n in range(queues)]

    _gauges(storage, 60 * hours, bucket_secs, names=names)

    assert levels == [level]


def test_no_names_are_all_queues_of_the_caller(storage: Storage) -> None:
    storage.queues.ensure("idle")

    whole = _gauges(storage, names=())
    limited = _gauges(storage, names=(), queue_names=["mail", "bulk"])

    assert [each.name for each in whole.series] == ["idle"]
    assert [each.name for each in limited.series] == ["bulk", "mail"]
    assert limited.total == 2


@pytest.mark.parametrize(
    ("queues", "minutes", "asked", "buckets"),
    [
        (50, 50, 60, (60, 50)),
        (50, 24 * 60, 600, (1800, 49)),
        (100, 24 * 60, 600, (3600, 25)),
        (100, 30 * 24 * 60, 1800, (108_000, 25)),
        (20, 30, 60, (60, 30)),
    ],
)
def test_all_queues_have_few_buckets_together(
    storage: Storage, queues: int, minutes: int, asked: int, buckets: tuple[int, int]
) -> None:
    names = [f"q{number}" for number in range(queues)]
    start, end = NOON + 7 * MINUTE, NOON + (7 + minutes) * MINUTE

    found = _gauges(
        storage, bucket_secs=asked, names=(), queue_names=names, start=start, end=end
    ).series

    first = found[0]
    width, count = first.bucket_secs, len(first.waiting)
    assert (len(found), width, count) == (queues, *buckets)
    assert queues * count <= MAX_POINTS
    assert first.start <= start < first.start + timedelta(seconds=width)
    assert first.start + count * timedelta(seconds=width) >= end


def test_names_and_buckets_are_limited(storage: Storage) -> None:
    with pytest.raises(InvalidInputError, match="exceed 100"):
        _gauges(storage, names=[f"q{n}" for n in range(MAX_NAMES + 1)])
    with pytest.raises(InvalidInputError, match="exceed 20000"):
        _gauges(storage, minutes=1000, names=[f"q{n}" for n in range(21)])


def test_an_empty_window_has_no_buckets(storage: Storage) -> None:
    assert _gauges(storage, minutes=0).series[0].waiting == []
