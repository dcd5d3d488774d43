from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import JobUpdate
from flask_forge_jobs.runtime.state import (
    IDLE_AFTER_S,
    PROMOTE_PERIOD_S,
    ClaimSchedule,
)
from tests.support.runtimes import claimed

POLL_S = 5.0
LATER = 100.0


def quiet(*names: str) -> ClaimSchedule:
    """A schedule that has looked everywhere at 0 s and found nothing."""
    schedule = ClaimSchedule(names)
    schedule.advance(0.0, POLL_S)
    schedule.maybe_ready.clear()
    schedule.note_exchange(0.0, promoted=True)
    return schedule


def test_at_first_any_queue_may_have_work() -> None:
    assert ClaimSchedule(["a", "b"]).maybe_ready == {"a", "b"}


def test_a_queue_that_was_notified_may_have_work() -> None:
    schedule = quiet("a", "b")

    schedule.notify(["b"])

    assert schedule.maybe_ready == {"b"}


def test_it_looks_everywhere_at_each_poll_and_not_before() -> None:
    schedule = quiet("a", "b")

    schedule.advance(POLL_S - 0.1, POLL_S)
    before = set(schedule.maybe_ready)
    schedule.advance(POLL_S, POLL_S)

    assert before == set()
    assert schedule.maybe_ready == {"a", "b"}
    assert schedule.next_look() == 2 * POLL_S


def test_it_looks_everywhere_when_a_job_is_due() -> None:
    schedule = quiet("a")

    asked = schedule.to_ask(IDLE_AFTER_S)
    schedule.learn_due(1.5)
    look_at = schedule.next_look()
    schedule.advance(1.5, POLL_S)

    assert asked == {"a"}
    assert look_at == 1.5
    assert schedule.maybe_ready == {"a"}
    assert schedule.is_time_to_promote(1.5)


def test_only_who_has_been_idle_asks_and_only_once() -> None:
    schedule = quiet("a", "b")
    schedule.notify(["b"])

    early = schedule.to_ask(IDLE_AFTER_S / 2), schedule.next_look()
    asked = schedule.to_ask(IDLE_AFTER_S)
    schedule.learn_due(None)

    assert early == (set(), IDLE_AFTER_S)
    assert asked == {"a"}, "the other one has work"
    assert schedule.to_ask(LATER) == set()
    assert schedule.next_look() == POLL_S


def enqueued(schedule: ClaimSchedule) -> None:
    schedule.notify(["a"])


def delayed(schedule: ClaimSchedule) -> None:
    update = JobUpdate(claimed(queue="a"), JobStatus.FAILED, delay_s=1.0)
    schedule.note_exchange(IDLE_AFTER_S, [update], promoted=False)


@pytest.mark.parametrize("happen", [enqueued, delayed])
def test_what_happens_after_the_question_makes_the_answer_worthless(
    happen: Callable[[ClaimSchedule], None],
) -> None:
    schedule = quiet("a")
    schedule.to_ask(IDLE_AFTER_S)

    happen(schedule)
    schedule.learn_due(None)
    schedule.maybe_ready.clear()

    assert schedule.to_ask(LATER) == {"a"}


def test_a_job_that_has_ended_leaves_the_answer_as_it_is() -> None:
    schedule = quiet("a")
    schedule.to_ask(IDLE_AFTER_S)

    done = JobUpdate(claimed(queue="a"), JobStatus.DONE)
    schedule.note_exchange(IDLE_AFTER_S, [done], promoted=False)

    assert schedule.to_ask(LATER) == set()


def test_a_busy_worker_promotes_at_a_steady_pace() -> None:
    schedule = quiet("a")

    schedule.note_exchange(0.1, promoted=False)

    assert not schedule.is_time_to_promote(PROMOTE_PERIOD_S / 2)
    assert schedule.is_time_to_promote(PROMOTE_PERIOD_S)
