"""When a worker looks for work; all times are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.runtime.claim_schedule import (
    IDLE_AFTER_S,
    POLL_WITH_PUSH_S,
    POLL_WITHOUT_PUSH_S,
    PROMOTE_PERIOD_S,
    ClaimSchedule,
    ExchangePace,
)
from tests.support.runtimes import claimed

LATER = 100.0


def quiet(*names: str) -> ClaimSchedule:
    """A schedule that has looked everywhere at 0 s and found nothing."""
    schedule = ClaimSchedule(names)
    schedule.is_pushing = lambda: True
    schedule.ready(0.0)
    schedule.begin(names, 0.0)
    exchange(schedule, 0.0, promoted=names)
    return schedule


def exchange(
    schedule: ClaimSchedule,
    now: float,
    written: Sequence[JobUpdate] = (),
    *,
    promoted: Sequence[str] = (),
) -> None:
    """Let an exchange end that asked for more than there was."""
    demand = dict.fromkeys(promoted or ["a"], 1)
    schedule.end(demand, [], written, now, began_at=now, promoted=bool(promoted))


def test_at_first_any_queue_may_have_work() -> None:
    assert ClaimSchedule(["a", "b"]).maybe_ready == {"a", "b"}


def test_a_queue_that_was_notified_may_have_work() -> None:
    schedule = quiet("a", "b")

    schedule.notify("b")

    assert schedule.maybe_ready == {"b"}


def test_it_looks_everywhere_at_each_poll_and_not_before() -> None:
    schedule = quiet("a", "b")

    schedule.ready(POLL_WITH_PUSH_S - 0.1)
    before = set(schedule.maybe_ready)
    schedule.ready(POLL_WITH_PUSH_S)

    assert before == set()
    assert schedule.maybe_ready == {"a", "b"}
    assert schedule.next_look() == 2 * POLL_WITH_PUSH_S


def test_it_looks_everywhere_when_a_job_is_due() -> None:
    schedule = quiet("a")

    asked = schedule.to_ask(IDLE_AFTER_S)
    schedule.learn_due(1.5)
    look_at = schedule.next_look()
    schedule.ready(1.5)

    assert asked == {"a"}
    assert look_at == 1.5
    assert schedule.maybe_ready == {"a"}
    assert schedule.begin(["a"], 1.5)


def test_only_who_has_been_idle_asks_and_only_once() -> None:
    schedule = quiet("a", "b")
    schedule.notify("b")

    early = schedule.to_ask(IDLE_AFTER_S / 2), schedule.next_look()
    asked = schedule.to_ask(IDLE_AFTER_S)
    schedule.learn_due(None)

    assert early == (set(), IDLE_AFTER_S)
    assert asked == {"a"}, "the other one has work"
    assert schedule.to_ask(LATER) == set()
    assert schedule.next_look() == POLL_WITH_PUSH_S


def enqueued(schedule: ClaimSchedule) -> None:
    schedule.notify("a")


def delayed(schedule: ClaimSchedule) -> None:
    update = JobUpdate(claimed(queue="a"), JobStatus.FAILED, delay_s=1.0)
    exchange(schedule, IDLE_AFTER_S, [update])


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
    exchange(schedule, IDLE_AFTER_S, [done])

    assert schedule.to_ask(LATER) == set()


def test_a_busy_worker_promotes_at_a_steady_pace() -> None:
    schedule = quiet("a")

    exchange(schedule, 0.1)

    assert not schedule.begin(["a"], PROMOTE_PERIOD_S / 2)
    assert schedule.begin(["a"], PROMOTE_PERIOD_S)


def test_a_busy_worker_looks_at_queues_that_it_knows_no_due_time_of() -> None:
    """Outcomes of one queue leave it no time to ask when jobs of another are due."""
    schedule = quiet("a", "b")
    schedule.to_ask(IDLE_AFTER_S)
    schedule.notify("b")
    schedule.begin(["b"], 0.1)
    exchange(schedule, 0.1, promoted=["b"])

    looked = []
    for now in (0.2, 0.1 + PROMOTE_PERIOD_S):
        exchange(schedule, now)
        looked.append(set(schedule.ready(now)))

    assert looked == [set(), {"b"}]
    assert schedule.begin(["b"], 0.1 + PROMOTE_PERIOD_S)


def test_a_queue_without_a_free_slot_is_promoted_at_its_next_claim() -> None:
    schedule = quiet("a", "b")
    schedule.look_by(1.0)
    schedule.ready(1.0)
    schedule.begin(["a"], 1.0)
    exchange(schedule, 1.0, promoted=["a"])

    assert schedule.maybe_ready == {"b"}
    assert not schedule.begin(["a"], 1.01)
    assert schedule.begin(["b"], 1.01)


def test_a_claim_that_got_all_it_asked_for_may_have_more() -> None:
    schedule = quiet("a", "b")

    has_more = [
        schedule.end({"a": 1}, claims, [], 0.1, began_at=0.0, promoted=False)
        for claims in ([], [claimed(queue="a")])
    ]

    assert has_more == [False, True]
    assert schedule.maybe_ready == {"a"}


def test_a_notification_of_a_queue_of_others_changes_nothing() -> None:
    schedule = quiet("a")

    schedule.notify("foreign")

    assert schedule.maybe_ready == set()


def test_a_claim_that_failed_is_made_again() -> None:
    schedule = quiet("a", "b")
    schedule.notify("b")
    schedule.begin(["b"], 0.1)

    schedule.fail(["b"])

    assert schedule.maybe_ready == {"b"}


@pytest.mark.parametrize(
    ("is_pushing", "period_s"), [(True, POLL_WITH_PUSH_S), (False, POLL_WITHOUT_PUSH_S)]
)
def test_it_polls_more_often_without_wake_ups(
    *, is_pushing: bool, period_s: float
) -> None:
    schedule = ClaimSchedule(["a"])
    schedule.is_pushing = lambda: is_pushing

    schedule.ready(1.0)

    assert schedule.next_look() == 1.0 + period_s


def test_it_looks_everywhere_by_a_time_that_it_is_given() -> None:
    schedule = quiet("mail")

    schedule.look_by(0.4)
    schedule.look_by(LATER)

    assert schedule.next_look() <= 0.4
    assert schedule.ready(0.39) == set()
    assert schedule.ready(0.4) == {"mail"}


# -- the pace ------------------------------------------------------------------------


def pauses_ms(number: int, *, count: int, rest_s: float) -> list[float]:
    """Return the pauses behind exchanges of a millisecond, of ``count`` jobs each."""
    pace, now, pauses = ExchangePace(), 100.0, list[float]()
    for _ in range(number):
        ended_at = now + 0.001
        pace.note(count, now, ended_at)
        pauses.append(round((pace.next_at - ended_at) * 1000, 3))
        now = max(pace.next_at, ended_at + rest_s)
    return pauses


def test_a_worker_that_writes_now_and_then_makes_no_pause() -> None:
    assert set(pauses_ms(1000, count=1, rest_s=0.002)) == {0}


def test_some_jobs_come_without_a_pause_and_more_leave_two_thirds_of_the_time() -> None:
    assert pauses_ms(20, count=1, rest_s=0) == [0] * 5 + [2] * 15


def test_an_exchange_of_many_jobs_needs_no_pause() -> None:
    assert set(pauses_ms(100, count=ExchangePace.MANY, rest_s=0)) == {0}


def test_a_slow_disk_makes_no_long_pause() -> None:
    pace = ExchangePace()

    for began_at in (10.0, 11.0):
        pace.note(1, began_at, began_at + 0.9)
        assert pace.next_at == began_at + 0.9 + ExchangePace.LONGEST_PAUSE_S


def test_only_a_claim_that_empties_its_queue_is_followed_by_a_pause() -> None:
    """While jobs wait, no producer has to be waited for"""
    pace = ExchangePace()
    schedule = ClaimSchedule(["a"], pace=pace)

    schedule.end(
        {"a": 1}, [claimed("j", queue="a")], [], 1.0, began_at=0.0, promoted=False
    )
    assert pace.next_at == 0
    schedule.end(
        {"a": 2}, [claimed("k", queue="a")], [], 2.0, began_at=1.0, promoted=False
    )
    assert pace.next_at == 2 + ExchangePace.LONGEST_PAUSE_S
