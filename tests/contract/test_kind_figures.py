"""The figures of kinds within a window, exact and added up once for the last day."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flask_forge_jobs.model.instants import DAY_US, SECOND_US
from flask_forge_jobs.model.metrics import LEVELS, MetricKey, Tally, floor_to
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.kind_figures import MAX_SUMS
from tests.contract.test_metrics import NOON_US, tally
from tests.support.figures import add_figures

HALF_HOUR_US = 1800 * SECOND_US


def put(
    storage: Storage,
    instant_us: int,
    kind: str = "send",
    *,
    queue: str = "mail",
    levels: Sequence[int] = LEVELS,
) -> None:
    """Store one completed run, as a process of its own."""
    rows: dict[MetricKey, Tally] = {
        MetricKey(level, floor_to(instant_us, level), queue, kind): tally(completed=1)
        for level in levels
    }
    add_figures(storage, f"host-{instant_us}-{kind}", rows)


def last_day(
    storage: Storage, now_us: int, queues: Sequence[str] | None = None
) -> dict[str, int]:
    found = storage.kind_figures.of_last_day(now_us, queues)
    for kind, each in found.items():
        assert each.completed == each.run.count, kind
    return {kind: each.completed for kind, each in found.items()}


def test_kinds_of_a_window_are_exact_whatever_its_edges(storage: Storage) -> None:
    for offset_us in (-DAY_US, 0, 1, 3 * 10**7, 3 * DAY_US, 7 * DAY_US - 1, 7 * DAY_US):
        put(storage, NOON_US + offset_us)
    put(storage, NOON_US, "pack", queue="bulk")
    figures, week_us = storage.kind_figures, 7 * DAY_US

    found = figures.within(NOON_US, NOON_US + week_us, NOON_US + week_us)
    of_queue = figures.within(NOON_US, NOON_US + DAY_US, NOON_US, ["bulk"])

    completed = {kind: each.completed for kind, each in found.items()}
    assert completed == {"pack": 1, "send": 5}
    assert list(of_queue) == ["pack"]
    assert figures.within(NOON_US, NOON_US, NOON_US) == {}


def test_queues_have_the_figures_of_all_their_kinds(storage: Storage) -> None:
    for offset_us in (-DAY_US, 0, DAY_US, 2 * DAY_US):
        put(storage, NOON_US + offset_us, "")
        put(storage, NOON_US + offset_us)
    put(storage, NOON_US + 1, "", queue="bulk")
    put(storage, NOON_US + 2, "", queue="")
    figures, end_us = storage.kind_figures, NOON_US + 2 * DAY_US

    found = figures.within(NOON_US, end_us, end_us + DAY_US, per_queue=True)
    limited = figures.within(NOON_US, end_us, end_us, ["bulk"], per_queue=True)

    assert {name: each.completed for name, each in found.items()} == {
        "bulk": 1,
        "mail": 2,
    }
    assert list(limited) == ["bulk"]


@pytest.mark.parametrize("per_queue", [False, True])
def test_days_that_are_over_are_read_once_in_a_half_hour(
    storage: Storage, *, per_queue: bool
) -> None:
    kind, name = ("", "mail") if per_queue else ("send", "send")
    figures, start_us = storage.kind_figures, NOON_US - 3 * DAY_US
    now_us = NOON_US + 5 * SECOND_US
    for offset_us in (0, DAY_US, 3 * DAY_US):
        put(storage, start_us + offset_us, kind)

    def completed(now_us: int) -> int:
        found = figures.within(
            start_us, now_us, now_us, per_queue=per_queue, keeps=True
        )
        return found[name].completed

    first = completed(now_us)
    put(storage, start_us + 1, kind)
    put(storage, NOON_US + 1, kind)

    assert (first, completed(now_us)) == (3, 4)
    assert completed(now_us + HALF_HOUR_US) == 5


def test_a_window_up_to_now_reads_the_row_of_today(storage: Storage) -> None:
    """Its end in ten seconds, minutes and hours would be most of all rows."""
    put(storage, NOON_US, levels=LEVELS[-1:])
    now_us = NOON_US + 5 * SECOND_US

    found = storage.kind_figures.within(NOON_US - DAY_US, now_us, now_us)

    assert found["send"].completed == 1


@pytest.mark.parametrize("hour", [0, 1, 5, 12, 23])
@pytest.mark.parametrize("minute", [5, 45])
def test_the_last_day_has_each_run_once(
    storage: Storage, hour: int, minute: int
) -> None:
    now_us = floor_to(NOON_US, 86_400) + (hour * 3600 + minute * 60) * SECOND_US
    first_us = floor_to(now_us - DAY_US, 1800)
    steps = range(first_us - 2 * HALF_HOUR_US, now_us, HALF_HOUR_US)
    for instant_us in steps:
        put(storage, instant_us)

    first = last_day(storage, now_us)
    again = last_day(storage, now_us)

    assert first == again == {"send": len(steps) - 2}


def test_runs_of_today_are_seen_at_once(storage: Storage) -> None:
    put(storage, NOON_US - DAY_US + HALF_HOUR_US)
    before = last_day(storage, NOON_US)

    put(storage, NOON_US)
    put(storage, NOON_US, "pack")

    assert before == {"send": 1}
    assert last_day(storage, NOON_US) == {"pack": 1, "send": 2}


def test_yesterday_is_read_again_in_the_next_half_hour(storage: Storage) -> None:
    last_day(storage, NOON_US)
    put(storage, NOON_US - DAY_US + HALF_HOUR_US)  # written late

    assert last_day(storage, NOON_US) == {}
    assert last_day(storage, NOON_US + HALF_HOUR_US) == {"send": 1}


def test_sums_of_one_caller_are_not_those_of_another(storage: Storage) -> None:
    put(storage, NOON_US - HALF_HOUR_US, "send")
    put(storage, NOON_US - DAY_US, "pack", queue="bulk")
    everything = {"pack": 1, "send": 1}

    for queues, kinds in (
        (None, everything),
        (["bulk"], {"pack": 1}),
        (["mail"], {"send": 1}),
        ([], {}),
        (None, everything),
        (["mail", "bulk"], everything),
    ):
        assert last_day(storage, NOON_US, queues) == kinds


def test_few_sums_are_kept(storage: Storage) -> None:
    for number in range(3 * MAX_SUMS):
        last_day(storage, NOON_US, [f"queue-{number}"])

    assert len(storage.kind_figures._sums) == MAX_SUMS
