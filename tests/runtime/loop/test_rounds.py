"""The dispatcher round by round: no thread, no database, a clock that the test moves.

What it does with real ones is in ``test_runtime.py``.
"""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Failed
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.runtime.claim_schedule import (
    POLL_WITH_PUSH_S,
    POLL_WITHOUT_PUSH_S,
)
from flask_forge_jobs.runtime.loop.rounds import GIVE_BACK_AFTER_S
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.outcome import UNSTORABLE_MESSAGE
from flask_forge_jobs.runtime.service import FIRST_S, LONGEST_S
from tests.support.rounds import CANCEL_GRACE_S, LEASE_S, finished, known
from tests.support.rounds import RoundsRig as Rig
from tests.support.runtimes import HeldTask, QuickTask, claimed
from tests.support.waiting import wait_until

# -- claiming ------------------------------------------------------------------------


def test_first_round_claims_for_all_free_slots() -> None:
    rig = Rig(threads=3)

    rig.round()

    assert rig.jobs.demands == [{"default": 3}]


def test_an_outcome_and_the_next_claim_share_one_exchange(held: HeldTask) -> None:
    rig = Rig(held, threads=1)
    rig.jobs.ready["default"] = [claimed("a"), claimed("b")]
    rig.round()
    held.wait_for_start()
    held.release.set()
    wait_until(lambda: rig.ended, "the run has ended")
    rig.jobs.demands.clear()

    rig.round()

    (demand,) = rig.jobs.demands
    assert demand["default"] >= 1
    assert rig.written == [("a", JobStatus.DONE)]


def test_an_empty_queue_is_not_asked_again_without_a_reason() -> None:
    rig = Rig()
    rig.settle_down()
    count = len(rig.jobs.demands)

    for _ in range(5):
        rig.round()

    assert len(rig.jobs.demands) == count


def test_wake_looks_at_the_queue_at_once() -> None:
    rig = Rig(queues=("a", "b"))
    rig.settle_down()
    rig.jobs.demands.clear()

    rig.dispatcher.notify("b")
    is_awake = rig.is_awake
    rig.round()

    assert is_awake
    assert [list(demand) for demand in rig.jobs.demands] == [["b"]]


def test_every_queue_gets_its_turn_although_the_first_is_empty() -> None:
    """One free slot, given to the queue whose turn it is; the next one follows."""
    rig = Rig(QuickTask(), threads=1, queues=("a", "b", "c"))
    rig.settle_down()
    rig.jobs.demands.clear()

    rig.dispatcher.notify()
    rig.settle_down()

    asked = {name for demand in rig.jobs.demands for name in demand}
    assert asked == {"a", "b", "c"}


def test_wake_for_a_queue_of_others_costs_nothing() -> None:
    rig = Rig()
    rig.settle_down()
    rig.jobs.demands.clear()
    rig.jobs.asked.clear()

    rig.dispatcher.notify("foreign")
    is_awake = rig.is_awake
    rig.settle_down()

    assert not is_awake
    assert (rig.jobs.demands, rig.jobs.asked) == ([], [])


def test_a_wake_during_the_claim_is_not_lost() -> None:
    """It may tell of a job that the claim under way cannot see."""
    rig = Rig()
    rig.jobs.during_exchange = lambda: rig.dispatcher.notify("default")

    rig.round()
    rig.jobs.during_exchange = lambda: None
    rig.round()

    assert len(rig.jobs.demands) == 2


@pytest.mark.parametrize(
    ("is_pushing", "period_s"), [(True, POLL_WITH_PUSH_S), (False, POLL_WITHOUT_PUSH_S)]
)
def test_a_lost_wake_is_made_up_for_by_polling(
    *, is_pushing: bool, period_s: float
) -> None:
    rig = Rig()
    rig.is_pushing = is_pushing
    rig.settle_down()
    rig.jobs.demands.clear()

    assert 0 < rig.pause_s() <= period_s
    rig.moving.move(period_s)
    rig.round()

    assert len(rig.jobs.demands) == 1


def test_it_looks_again_when_a_claim_says_so() -> None:
    rig = Rig(threads=3)
    rig.jobs.look_in_s = POLL_WITHOUT_PUSH_S / 2
    rig.round()

    rig.moving.move(POLL_WITHOUT_PUSH_S / 2)
    rig.round()

    assert rig.jobs.demands == [{"default": 3}] * 2


def test_nothing_is_claimed_while_it_is_not_allowed() -> None:
    """B5: others believe that this process is dead."""
    rig = Rig()
    rig.silent_s = LEASE_S

    rig.settle_down()
    refused = list(rig.jobs.demands)
    rig.silent_s = 0.0
    rig.moving.move(POLL_WITH_PUSH_S)
    rig.round()

    assert refused == []
    assert rig.jobs.demands == [{"default": 2}]


# -- jobs that wait for their time ---------------------------------------------------


def test_it_sleeps_until_the_next_job_is_due() -> None:
    rig = Rig()
    rig.jobs.due_in_s["default"] = 2.0

    rig.settle_down()
    pause_s = rig.pause_s()
    rig.jobs.demands.clear()
    rig.moving.move(pause_s)
    rig.round()

    assert 1.9 < pause_s <= 2.0
    assert len(rig.jobs.demands) == 1


def test_a_due_job_without_room_does_not_keep_it_awake(held: HeldTask) -> None:
    """It would ask the database without a pause for as long as all slots are busy."""
    rig = Rig(held, threads=1)
    rig.jobs.ready["default"] = [claimed("a")]
    rig.settle_down()
    held.wait_for_start()
    rig.jobs.due_in_s["default"] = 0.0

    rig.moving.move(POLL_WITH_PUSH_S)
    rig.settle_down()
    rig.jobs.asked.clear()
    for _ in range(10):
        rig.moving.move(0.1)
        rig.round()

    assert rig.jobs.asked == []
    assert rig.pause_s() > 1.0


def test_a_due_job_of_a_paused_queue_does_not_keep_it_awake() -> None:
    rig = Rig(queues=("open", "paused"))
    rig.handover.set_limit("paused", 0)
    rig.jobs.due_in_s["paused"] = 0.0

    rig.settle_down()
    rig.jobs.asked.clear()
    for _ in range(10):
        rig.moving.move(0.1)
        rig.round()

    assert rig.jobs.asked == []
    assert rig.pause_s() > 1.0


def test_a_retry_is_picked_up_when_its_delay_is_over() -> None:
    task = QuickTask("quick", lambda _: Failed("oops"))
    rig = Rig(task)
    rig.settle_down()
    rig.jobs.ready["default"] = [claimed("a", "quick")]
    rig.dispatcher.notify("default")
    rig.round()
    wait_until(lambda: rig.ended, "the run has ended")
    rig.jobs.due_in_s["default"] = 1.0

    rig.settle_down()

    assert rig.written == [("a", JobStatus.FAILED)]
    assert rig.pause_s() <= 1.0


# -- giving back ---------------------------------------------------------------------


def test_claims_that_a_slow_job_blocks_go_back(held: HeldTask) -> None:
    rig = Rig(held, QuickTask(), threads=1)
    rig.feed(claimed("a"), claimed("b"), claimed("c"))
    held.wait_for_start()

    rig.round()
    early = list(rig.written)
    rig.moving.move(GIVE_BACK_AFTER_S + 0.01)
    rig.round()

    assert early == []
    assert rig.written == [("b", JobStatus.PENDING), ("c", JobStatus.PENDING)]
    assert all(each.uncount for each in rig.jobs.written)


def test_claims_that_a_slow_job_blocks_end_the_prefetch(held: HeldTask) -> None:
    rig = Rig(held, threads=1)
    prefetch = rig.queues["default"].prefetch
    prefetch.learn(0.001)
    rig.feed(claimed("a"), claimed("b"))
    held.wait_for_start()

    rig.round()
    before = prefetch.jobs(1)
    rig.moving.move(GIVE_BACK_AFTER_S + 0.01)
    rig.round()

    assert before > 0
    assert prefetch.jobs(1) == 0


def test_stop_claiming_gives_back_what_has_not_started(held: HeldTask) -> None:
    rig = Rig(held, threads=1)
    rig.feed(claimed("a"), claimed("b"))
    held.wait_for_start()

    rig.stop_claiming()
    rig.round()

    assert rig.written == [("b", JobStatus.PENDING)]
    assert rig.jobs.demands == [{}]


def test_a_claim_under_way_at_the_stop_goes_back_unstarted() -> None:
    """Nothing starts after the stop, on any slot."""
    task = QuickTask()
    rig = Rig(task)
    rig.jobs.ready["default"] = [claimed("a", "quick")]
    rig.jobs.during_exchange = rig.stop_claiming

    rig.round()
    rig.jobs.during_exchange = lambda: None
    rig.round()

    assert task.job_ids == []
    assert rig.written == [("a", JobStatus.PENDING)]


def test_a_claim_that_outlasts_the_lease_goes_back_unstarted() -> None:
    """B2: others have taken its jobs by then, and may be running them."""
    task = QuickTask()
    rig = Rig(task)
    rig.jobs.ready["default"] = [claimed("a", "quick")]
    rig.jobs.during_exchange = lambda: rig.moving.move(LEASE_S)

    rig.round()
    rig.round()

    assert task.job_ids == []
    assert rig.written == [("a", JobStatus.PENDING)]


def test_a_claim_in_which_a_lease_ran_out_goes_back_although_it_beats_again() -> None:
    """B2: the beat that ends the silence may come before the answer to the claim."""
    task = QuickTask()
    rig = Rig(task)
    rig.jobs.ready["default"] = [claimed("a", "quick")]

    def stand_still() -> None:
        rig.moving.move(LEASE_S)
        rig.lease.note_return()
        rig.lease.renew(rig.clock.monotonic(), rig.clock.since_boot())

    rig.jobs.during_exchange = stand_still

    rig.round()
    rig.jobs.during_exchange = lambda: None
    rig.round()

    assert task.job_ids == []
    assert rig.written == [("a", JobStatus.PENDING)]


def test_jobs_claimed_ahead_do_not_start_after_the_lease(held: HeldTask) -> None:
    """B2: others have taken them by then, and may be running them."""
    task = QuickTask()
    rig = Rig(held, task, threads=1)
    rig.feed(claimed("a"), claimed("b", "quick"), claimed("c", "quick"))
    held.wait_for_start()

    rig.moving.move(LEASE_S)
    held.release.set()
    wait_until(lambda: rig.ended, "the first one has ended")
    begun = rig.handover.running  # waits until the slot has chosen
    rig.round()

    assert begun == []
    assert task.job_ids == []
    assert rig.written == [
        ("a", JobStatus.DONE),
        ("b", JobStatus.PENDING),
        ("c", JobStatus.PENDING),
    ]
    assert all(each.uncount for each in rig.jobs.written[1:])


def test_a_stopped_dispatcher_rests_while_a_job_runs_on(held: HeldTask) -> None:
    """The grace may take long; it must not be spent in a busy loop."""
    rig = Rig(held)
    rig.jobs.ready["default"] = [claimed("a")]
    rig.settle_down()
    held.wait_for_start()

    rig.stop_claiming()
    rig.moving.move(2 * POLL_WITH_PUSH_S)
    rig.settle_down()

    assert rig.pause_s() > 1.0


# -- a storage that fails ------------------------------------------------------------


def test_outcomes_survive_a_storage_that_fails() -> None:
    """Kept until they are stored, and the work is not claimed away meanwhile."""
    rig = Rig(QuickTask())
    finished(rig, "a", "b")
    rig.jobs.error = StorageUnavailableError("gone")

    rig.round()
    kept = known(rig)
    rig.jobs.error = None
    rig.moving.move(FIRST_S)
    rig.round()

    assert kept == {"a", "b"}
    assert sorted(rig.written) == [("a", JobStatus.DONE), ("b", JobStatus.DONE)]
    assert known(rig) == set()


def test_a_worker_whose_outcomes_are_refused_proves_nobody_silent() -> None:
    """Its heartbeat may still find room on a full disk, where others find none."""
    rig = Rig(QuickTask())
    finished(rig, "a")
    rig.jobs.error = StorageUnavailableError("no room")
    began_at = rig.clock.monotonic()
    for _ in range(3):
        rig.round()
        rig.moving.move(FIRST_S)
        rig.lease.last_beat_at = rig.clock.monotonic()
    refused = rig.lease.written_until
    rig.jobs.error = None
    rig.moving.move(LONGEST_S)
    rig.round()

    assert refused == began_at
    assert rig.lease.written_until == rig.lease.last_beat_at == rig.clock.monotonic()


def test_a_claim_that_takes_long_proves_nobody_silent() -> None:
    """A refusal is tried again within one call, which may take seconds."""
    rig = Rig()
    began_at = rig.clock.monotonic()
    seen = []

    def wait() -> None:
        rig.moving.move(5)
        rig.lease.last_beat_at = rig.clock.monotonic()
        seen.append(rig.lease.written_until)

    rig.jobs.during_exchange = wait
    rig.round()

    assert seen == [began_at]
    assert rig.lease.written_until == began_at + 5


def test_the_pause_grows_while_the_storage_fails() -> None:
    """From 1 s to 30 s, and it is not tried before."""
    rig = Rig()
    rig.jobs.error = StorageUnavailableError("gone")
    pauses = []

    for _ in range(7):
        rig.round()
        pauses.append(rig.rounds.rest.until() - rig.clock.monotonic())
        tries = len(rig.jobs.demands)
        rig.moving.move(pauses[-1] / 2)
        rig.dispatcher.notify("default")
        rig.round()
        assert len(rig.jobs.demands) == tries
        rig.moving.move(pauses[-1] / 2)

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_S, LONGEST_S]


def test_a_dispatcher_that_ends_rests_for_the_first_pause_at_most() -> None:
    rig = Rig()
    rig.jobs.error = StorageUnavailableError("gone")
    for _ in range(3):
        rig.round()
        rig.moving.move(rig.rounds.rest.until() - rig.clock.monotonic())
    now = rig.rounds.rest._failed_at
    before = rig.rounds.rest.until()

    rig.dispatcher._ends_at = now + LONGEST_S
    rig.pause_s()

    assert (before, rig.rounds.rest.until()) == (now + 4.0, now + FIRST_S)


def test_a_sign_of_life_ends_the_pause(caplog: pytest.LogCaptureFixture) -> None:
    """A listener is back, or another call got through: half a minute is too long."""
    rig = Rig()
    rig.jobs.error = StorageUnavailableError("gone")
    for _ in range(7):
        rig.moving.move(LONGEST_S)
        rig.round()
    rig.jobs.error = None
    rig.jobs.demands.clear()
    told = [record.message for record in caplog.records]
    caplog.clear()

    rig.dispatcher.notify(None)
    rig.round()
    rig.round()

    assert told == ["storage failed, retrying in 1.0 s: gone"]
    assert rig.jobs.demands[0] == {"default": 2}
    assert [record.message for record in caplog.records] == ["storage works again"]
    rig.jobs.error = StorageUnavailableError("gone")
    rig.dispatcher.notify("default")
    rig.round()
    assert rig.rounds.rest.until() == rig.clock.monotonic() + FIRST_S


@pytest.mark.parametrize("has_more_to_ask", [True, False])
def test_storage_works_again_once_it_was_asked(
    caplog: pytest.LogCaptureFixture, *, has_more_to_ask: bool
) -> None:
    """A round that asks it nothing proves nothing."""
    rig = Rig()
    rig.settle_down()
    rig.jobs.error = StorageUnavailableError("gone")
    rig.dispatcher.notify("default")
    rig.round()
    rig.lease.is_claiming = has_more_to_ask
    for _ in range(3):
        rig.moving.move(LONGEST_S)
        rig.round()
    told = [record.message for record in caplog.records]
    rig.jobs.error = None
    rig.moving.move(LONGEST_S)
    rig.round()

    assert told == ["storage failed, retrying in 1.0 s: gone"]
    assert caplog.records[-1].message == "storage works again"
    assert not rig.rounds.rest.is_resting


def test_a_claim_that_failed_is_made_again() -> None:
    rig = Rig()
    rig.jobs.error = StorageUnavailableError("gone")
    rig.round()
    rig.jobs.error = None
    rig.jobs.demands.clear()

    rig.moving.move(FIRST_S)
    rig.round()

    assert rig.jobs.demands == [{"default": 2}]


def test_an_outcome_that_the_database_refuses_holds_up_no_other() -> None:
    rig = Rig(QuickTask("quick", lambda context: Done(f'"{context.job_id}"')))
    finished(rig, "a", "bad", "c")
    rig.jobs.bad_ids = {"bad"}

    rig.round()
    rig.moving.move(FIRST_S)
    rig.round()

    assert sorted(rig.written) == [
        ("a", JobStatus.DONE),
        ("bad", JobStatus.FAILED),
        ("c", JobStatus.DONE),
    ]
    assert rig.jobs.written[-1].error == UNSTORABLE_MESSAGE
    assert known(rig) == set()


def test_an_outcome_that_cannot_be_used_holds_up_no_other() -> None:
    bad = Failed("later", "soon")  # type: ignore[arg-type]  # by a custom task class
    rig = Rig(QuickTask("quick", lambda each: bad if each.job_id == "b" else Done()))
    finished(rig, "a", "b", "c")

    rig.settle_down()

    assert sorted(rig.written) == [
        ("a", JobStatus.DONE),
        ("b", JobStatus.FAILED),
        ("c", JobStatus.DONE),
    ]


def test_an_outcome_whose_write_failed_may_be_stored_all_the_same() -> None:
    rig = Rig(QuickTask())
    finished(rig, "a")
    rig.jobs.error = StorageUnavailableError("gone")
    rig.round()
    rig.jobs.error = None
    rig.moving.move(FIRST_S)
    finished(rig, "b")

    rig.round()

    assert [each.was_tried for each in rig.jobs.written] == [True, False]


def test_no_outcome_is_blamed_when_nothing_can_be_written() -> None:
    """C13: a server that is read-only for a while."""
    rig = Rig(QuickTask("quick", lambda _: Done("7")))
    finished(rig, "a")
    rig.jobs.error = StorageError("PostgreSQL refused the statement (25006)")

    rig.round()
    rig.jobs.error = None
    rig.moving.move(FIRST_S)
    rig.round()

    (update,) = rig.jobs.written
    assert (update.status, update.result) == (JobStatus.DONE, "7")


def test_refused_outcomes_are_logged_and_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(QuickTask())
    finished(rig, "a")
    rig.jobs.refused = ["a"]

    rig.round()

    assert known(rig) == set()
    assert "jobs were lost to other workers; outcomes dropped: ['a']" in caplog.text


# -- time limits ---------------------------------------------------------------------


def started(rig: Rig, task: HeldTask, timeout_s: float = 5.0) -> Execution:
    rig.settle_down()
    rig.feed(claimed("a", task.kind, timeout_s=timeout_s))
    task.wait_for_start()
    (execution,) = rig.handover.running
    return execution


def test_it_wakes_up_for_a_time_limit(held: HeldTask) -> None:
    rig = Rig(held)
    started(rig, held, timeout_s=1.0)

    assert 0 < rig.pause_s() <= 1.0


def test_a_task_past_its_limit_is_asked_to_stop(held: HeldTask) -> None:
    rig = Rig(held)
    execution = started(rig, held)

    rig.round()
    early = execution.token.reason
    rig.moving.move(5.0)
    rig.round()
    wait_until(lambda: rig.ended, "the task has stopped")
    rig.round()

    assert early is None
    assert execution.token.reason is CancelReason.TIMEOUT
    assert rig.written == [("a", JobStatus.FAILED)]
    assert rig.jobs.written[0].error == "timed out after 5s"


def test_a_task_that_ignores_its_limit_loses_its_slot(
    stubborn: HeldTask, caplog: pytest.LogCaptureFixture
) -> None:
    """Fenced, replaced, counted."""
    rig = Rig(stubborn)
    started(rig, stubborn)
    rig.moving.move(5.0)
    rig.round()

    rig.moving.move(CANCEL_GRACE_S - 0.01)
    rig.round()
    early = list(rig.written)
    rig.moving.move(0.02)
    rig.round()

    assert early == []
    assert rig.written == [("a", JobStatus.FAILED)]
    assert rig.jobs.written[0].error == "timed out after 5s"
    assert rig.handover.abandoned_count == 1
    assert "ignores its time limit" in caplog.text


def test_time_limits_hold_while_the_storage_fails(held: HeldTask) -> None:
    rig = Rig(held)
    rig.jobs.error = StorageUnavailableError("gone")
    for _ in range(5):
        rig.round()
        rig.moving.move(rig.rounds.rest.until() - rig.clock.monotonic())
    rig.round()
    rig.feed(claimed("a", timeout_s=2.0))
    held.wait_for_start()
    (execution,) = rig.handover.running

    pause_s = rig.pause_s()
    rig.moving.move(pause_s)
    rig.round()

    assert rig.rounds.rest._backoff.pause_s == LONGEST_S
    assert pause_s <= 2.0
    assert execution.token.reason is CancelReason.TIMEOUT


def test_released_is_what_is_written_for_returns() -> None:
    rig = Rig()
    execution = Execution(claimed("a"), 0.0)

    rig.handover.give_back([execution])
    rig.round()

    (update,) = rig.jobs.written
    assert update.uncount
    assert update.error is None


@pytest.mark.parametrize("error", [None, StorageUnavailableError("gone")])
def test_a_claim_is_under_way_while_it_is_exchanged(error: Exception | None) -> None:
    rig = Rig()
    claims = rig.rounds.claims
    seen = []
    rig.jobs.during_exchange = lambda: seen.append((claims.begun, claims.ended))
    rig.jobs.late_error = error

    rig.round()

    assert seen == [(1, 0)]
    assert (claims.begun, claims.ended) == (1, 1)


def test_an_outcome_is_stored_once_although_the_claim_beside_it_cannot_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sent again, it would be refused and counted as lost to another worker."""
    rig = Rig(QuickTask("quick"))
    finished(rig, "a")
    rig.jobs.ready["default"] = [claimed("b")]

    with monkeypatch.context() as failing:
        failing.setattr(rig.handover, "feed", Mock(side_effect=RuntimeError("bad")))
        with pytest.raises(RuntimeError, match="bad"):
            rig.round()
    unwritten = rig.writer.has_unwritten
    rig.round()

    assert not unwritten
    assert rig.written == [("a", JobStatus.DONE)]
    assert rig.rounds.claims.ended == rig.rounds.claims.begun
    # The queue may have more jobs, so it is asked again without a wake-up.
    assert [bool(demand) for demand in rig.jobs.demands] == [True, True]
