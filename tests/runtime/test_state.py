"""What the threads of a worker share; no thread here."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Released
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.state import (
    IDLE_AFTER_S,
    PROMOTE_PERIOD_S,
    Claims,
    ClaimSchedule,
    WorkerState,
)
from tests.support.clocks import MovingClock
from tests.support.runtimes import claimed, started, worker_state

LEASE_S = 60.0


def ids(state: WorkerState) -> set[str]:
    return {run.job_id for run in state.runs()}


# -- claims --------------------------------------------------------------------------


def test_a_claim_is_under_way_from_its_begin_to_its_end() -> None:
    claims = Claims()
    before = claims.have_ended(claims.newest)
    claims.begin()
    during = claims.have_ended(claims.newest)
    claims.end()

    assert (before, during, claims.have_ended(claims.newest)) == (True, False, True)


def test_later_claims_do_not_count() -> None:
    claims = Claims()
    claims.begin()
    newest = claims.newest
    claims.end()
    claims.begin()

    assert claims.have_ended(newest)
    assert not claims.have_ended(claims.newest)


# -- what the dispatcher is told -----------------------------------------------------


def test_a_notification_is_for_its_queue_or_for_all() -> None:
    state = worker_state("a", "b")
    state.schedule.maybe_ready.clear()

    state.notify("b")
    one = set(state.schedule.maybe_ready), state.signal.is_set()
    state.notify()

    assert one == ({"b"}, True)
    assert state.schedule.maybe_ready == {"a", "b"}


def test_a_notification_of_a_queue_of_others_wakes_nobody() -> None:
    state = worker_state("a")

    state.notify("foreign")

    assert not state.signal.is_set()


def test_only_a_notification_of_all_queues_ends_the_pause() -> None:
    """It comes from somebody who has just reached the database."""
    state = worker_state("a")
    state.backoff.fail()

    state.notify("a")
    before = state.backoff.pause_s
    state.notify()

    assert (before > 0, state.backoff.pause_s) == (True, 0.0)


def test_what_has_not_started_goes_back_by_queue() -> None:
    state = worker_state("a", "b")
    for name in ("a", "b"):
        state.queues[name].buffer.append(Execution(claimed(name, queue=name), 0.0))

    state.give_back_waiting("b")
    first = [execution.job.id for execution, _ in state.ended]
    state.give_back_waiting()

    assert first == ["b"]
    assert [outcome for _, outcome in state.ended] == [Released(), Released()]
    assert state.signal.is_set()
    assert ids(state) == {"a", "b"}


def test_after_a_stop_nothing_waits_and_nothing_is_claimed() -> None:
    state = worker_state()
    state.queues["default"].buffer.append(Execution(claimed("waits"), 0.0))
    run = started(state, claimed("runs", queue="default"))

    state.stop_claiming()

    assert not state.is_claiming
    assert state.running() == [run]
    assert not state.queues["default"].buffer


# -- what is here --------------------------------------------------------------------


def test_runs_are_known_from_their_claim_until_their_end_is_stored() -> None:
    state = worker_state()
    started(state, claimed("runs"))
    state.queues["default"].buffer.append(Execution(claimed("waits"), 0.0))
    state.ended.append((Execution(claimed("ended"), 0.0), Done()))
    state.updates.append(JobUpdate(claimed("unwritten"), JobStatus.DONE))

    assert ids(state) == {"runs", "waits", "ended", "unwritten"}
    assert [run.job.id for run in state.running()] == ["runs"]


@pytest.mark.parametrize("where", ["ended", "updates"])
def test_what_is_unwritten_is_known_to_be(where: str) -> None:
    state = worker_state()
    before = state.has_unwritten
    if where == "ended":
        state.ended.append((Execution(claimed(), 0.0), Done()))
    else:
        state.updates.append(JobUpdate(claimed(), JobStatus.DONE))

    assert (before, state.has_unwritten) == (False, True)


def test_the_start_of_a_long_run_is_taken_once() -> None:
    clock = MovingClock()
    state = worker_state(clock=clock)
    for job_id in ("job-1", "job-2"):
        started(state, claimed(job_id))
    early = state.take_uncounted_starts(clock.monotonic() - 1)
    clock.move(1)
    first = state.take_uncounted_starts(clock.monotonic() - 1)
    second = state.take_uncounted_starts(clock.monotonic() - 1)

    assert (early, second) == ([], [])
    assert {each.job.id for each in first} == {"job-1", "job-2"}
    assert all(each.is_start_counted for each in first)


def test_settings_of_an_unknown_queue_are_the_defaults() -> None:
    state = worker_state("a")
    state.settings["a"] = QueueSettings("a", max_workers=3)

    assert state.settings_of("a").max_workers == 3
    assert state.settings_of("other") == QueueSettings("other")


# -- what it may do ------------------------------------------------------------------


def test_it_may_claim_for_a_lease_after_the_last_beat() -> None:
    clock = MovingClock()
    state = worker_state(clock=clock, lease_s=LEASE_S)
    clock.move(LEASE_S - 0.1)
    before = state.is_fresh, state.may_claim()
    clock.move(0.2)

    assert before == (True, True)
    assert (state.is_fresh, state.may_claim()) == (False, False)


def test_a_host_that_slept_for_a_lease_starts_nothing_that_waited() -> None:
    """B2: its monotonic clock stood still, those of the other hosts did not."""
    clock = MovingClock()
    state = worker_state(clock=clock, lease_s=LEASE_S)
    state.queues["default"].buffer.append(Execution(claimed("waits"), 0.0))
    clock.sleep(LEASE_S)
    woken = state.is_fresh, state.may_claim()

    state.note_beat(clock.monotonic(), clock.since_boot())

    assert woken == (False, False)
    assert not state.queues["default"].buffer
    assert state.is_fresh


def test_it_claims_nothing_beyond_its_schema() -> None:
    state = worker_state()
    state.is_outdated = True

    assert not state.may_claim()


@pytest.mark.parametrize(("change", "may"), [(0, True), (1, False)])
def test_it_claims_nothing_without_its_parent(change: int, *, may: bool) -> None:
    """A6"""
    state = WorkerState(
        "host-1",
        ["default"],
        threads=1,
        lease_s=LEASE_S,
        clock=MovingClock(),
        parent_pid=os.getppid() + change,
    )

    assert state.may_claim() is may


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
