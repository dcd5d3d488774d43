from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_forge_jobs.dashboard.charts.small import spark
from flask_forge_jobs.dashboard.queue_rows import (
    QueueRow,
    QueueState,
    queue_rows,
    shared_slots,
)
from flask_forge_jobs.handlers.attention.report import report
from flask_forge_jobs.handlers.queue_rates import NO_RATES, QueueRates
from flask_forge_jobs.model.attention import Facts, QueueFacts
from flask_forge_jobs.model.queues import QueueCounts, QueueOverview, QueueSettings
from flask_forge_jobs.model.workers import Slot

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=16)
BEFORE = NOW - timedelta(seconds=70)
RATES = {"mail": QueueRates([0] * 12, 0.0)}
BUSY = Slot("mail-0-w-0", "mail", "w", NOW, NOW, "job")
FREE = Slot("mail-1-w-0", "mail", "w", NOW, NOW)


def row(
    counts: QueueCounts | None = None,
    slots: tuple[Slot, ...] = (BUSY, FREE),
    age_s: int = 0,
    **settings: Any,
) -> QueueRow:
    """Return the row of a queue."""
    queue = QueueOverview(
        QueueSettings("mail", **settings), counts or QueueCounts(), slots, age_s
    )
    (only,) = queue_rows([queue], RATES, NOW)
    return only


def test_the_figures_of_the_report_are_those_of_the_row() -> None:
    queue = QueueOverview(QueueSettings("mail"), QueueCounts(dead=9), (BUSY, FREE), 7)
    facts = QueueFacts(
        "mail", counts=QueueCounts(pending=2, in_progress=2), oldest_wait_s=4,
        busy_slots=2,
    )  # fmt: skip

    said = report(Facts(BEFORE, [facts]))
    (read,) = queue_rows([queue], RATES, NOW, report=said)
    other = report(Facts(BEFORE, [QueueFacts("bills")]))
    (own,) = queue_rows([queue], RATES, NOW, report=other)

    assert (read.counts.pending, read.oldest_s, read.running, read.counts.dead) == (
        2,
        4,
        2,
        0,
    )
    assert read.due_since == BEFORE - timedelta(seconds=4.5)
    assert (own.counts.pending, own.oldest_s, own.running, own.counts.dead) == (
        0,
        None,
        0,
        9,
    )


@pytest.mark.parametrize(
    ("settings", "slots", "state"),
    [
        ({}, (FREE,), QueueState.LIVE),
        ({"throttled_until": NOW}, (FREE,), QueueState.LIVE),
        ({"throttled_until": LATER}, (FREE,), QueueState.COOLING),
        ({"throttled_until": LATER}, (), QueueState.WITHOUT_WORKER),
        ({"updated_at": NOW, "last_served_at": NOW}, (), QueueState.LIVE),
        ({"updated_at": NOW, "last_served_at": BEFORE}, (), QueueState.WITHOUT_WORKER),
        ({"updated_at": BEFORE, "last_served_at": NOW}, (), QueueState.WITHOUT_WORKER),
        ({"max_workers": 0}, (FREE,), QueueState.WITHOUT_SLOTS),
        ({"paused": True, "max_workers": 0}, (), QueueState.PAUSED),
    ],
)
def test_the_state_says_why_no_job_starts(
    settings: dict[str, Any], slots: tuple[Slot, ...], state: QueueState
) -> None:
    shown = row(slots=slots, **settings)

    assert shown.state is state
    assert shown.runs is (state is QueueState.LIVE)


def test_a_row_has_the_waiting_jobs_and_the_slots() -> None:
    counts = QueueCounts(pending=3, scheduled=5, in_progress=1, failed=2, dead=7)

    shown = row(counts, age_s=90)

    assert (shown.counts, shown.backlog) == (counts, 10)
    assert (shown.busy, shown.slots) == (1, 2)
    assert (shown.oldest_s, shown.due_since) == (90, NOW - timedelta(seconds=90.5))


def test_the_limit_of_a_queue_bounds_its_slots() -> None:
    runs = QueueCounts(in_progress=2)
    assert row(runs, slots=(BUSY, FREE), max_workers=1).slots == 1
    # The limit was lowered while both ran.
    assert row(runs, slots=(BUSY, BUSY), max_workers=1).slots == 2


def test_queues_share_the_slots_of_a_worker_with_fewer_threads() -> None:
    rows = [row(), row(), row()]

    assert shared_slots(rows, 4) == "share 4 slots"
    assert [shared_slots(rows, capacity) for capacity in (0, 6, 9)] == ["", "", ""]


def test_a_slot_whose_job_has_ended_since_the_report_is_free() -> None:
    assert row(QueueCounts(in_progress=1), slots=(BUSY, BUSY)).running == 1


def test_jobs_outside_of_slots_are_claimed_ahead_or_of_lost_workers() -> None:
    claimed = QueueCounts(in_progress=41)

    assert row(claimed).ahead == "40 claimed ahead"
    assert row(claimed, slots=()).ahead == "41 of lost workers"
    assert row(QueueCounts(in_progress=1)).ahead == ""


@pytest.mark.parametrize(
    ("settings", "cools"),
    [
        ({}, False),
        ({"throttled_until": NOW}, False),
        ({"throttled_until": LATER}, True),
        ({"throttled_until": LATER, "max_workers": 0}, True),
        ({"throttled_until": LATER, "paused": True}, False),
    ],
)
def test_a_queue_cools_down_whether_or_not_it_has_a_worker(
    settings: dict[str, Any], *, cools: bool
) -> None:
    assert row(slots=(), **settings).cools is cools
    assert row(**settings).cools is cools


@pytest.mark.parametrize(
    ("age_s", "pace"),
    [(0, "good"), (59, "good"), (60, "warn"), (299, "warn"), (300, "bad")],
)
def test_the_oldest_wait_is_judged(age_s: int, pace: str) -> None:
    shown = row(QueueCounts(pending=1), age_s=age_s)

    assert shown.pace == pace
    assert shown.is_behind is (pace == "bad")
    # The wait in amber is a fifth of the one in red, whichever that is.
    assert replace(shown, oldest_s=2 * age_s, behind_s=600.0).pace == pace
    # Nothing ends a wait, however short, of a queue that does not run.
    paused = replace(shown, state=QueueState.PAUSED)
    assert paused.pace == ("" if pace == "good" else pace)


def test_a_queue_that_is_late_is_behind_only_if_it_runs() -> None:
    late = row(QueueCounts(pending=1), age_s=300)

    assert (late.state, late.runs) == (QueueState.BEHIND, True)
    busy = QueueCounts(pending=1, in_progress=1)
    assert row(busy, age_s=299).state is QueueState.LIVE
    paused = row(QueueCounts(pending=1), age_s=300, paused=True)
    assert (paused.state, paused.runs) == (QueueState.PAUSED, False)


@pytest.mark.parametrize(
    ("counts", "age_s", "per_minute", "completes_none"),
    [
        (QueueCounts(pending=1), 60, 0.0, True),
        (QueueCounts(pending=1), 300, 0.0, True),
        (QueueCounts(pending=1), 59, 0.0, False),
        (QueueCounts(pending=1), 60, 0.1, False),
        (QueueCounts(pending=1, in_progress=1), 60, 0.0, False),
        (QueueCounts(scheduled=1), 60, 0.0, False),
    ],
)
def test_a_queue_completes_none_of_the_jobs_that_wait(
    counts: QueueCounts, age_s: int, per_minute: float, *, completes_none: bool
) -> None:
    rates = QueueRates([0] * 12, per_minute)
    shown = replace(row(counts, (FREE,), age_s), rates=rates)

    assert shown.completes_none is completes_none
    assert not replace(shown, state=QueueState.PAUSED).completes_none
    assert not replace(shown, rates=NO_RATES).completes_none


def test_a_steady_pace_is_drawn_without_a_fall_at_its_end() -> None:
    """The last few minutes are not over."""
    steady = replace(row(), rates=QueueRates([60] * 11 + [3], 12.0))

    assert steady.spark == spark([60] * 11)


def test_a_queue_that_completes_none_is_not_live() -> None:
    """Before it is behind, its state says so: it has slots, and starts may fail."""
    stalled = row(QueueCounts(pending=1), (FREE,), 60)

    assert (stalled.state, stalled.runs) == (QueueState.STALLED, True)
    assert row(QueueCounts(pending=1), (FREE,), 59).state is QueueState.LIVE
    assert row(QueueCounts(pending=1), (FREE,), 300).state is QueueState.BEHIND


def test_nothing_waits_in_a_queue_without_due_jobs() -> None:
    shown = row(QueueCounts(scheduled=1), age_s=999)

    assert (shown.oldest_s, shown.due_since, shown.pace) == (None, None, "good")
