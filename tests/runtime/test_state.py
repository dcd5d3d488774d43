"""What the threads of a worker share; no thread here."""

from __future__ import annotations

import os

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, JobUpdate, Released
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.state import Claims, WorkerState
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
