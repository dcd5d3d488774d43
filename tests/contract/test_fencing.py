"""Who may end a run: its owner, once, as long as it still holds that attempt."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.claims import (
    MAX_ERROR_HISTORY,
    REAPED_MESSAGE,
    ClaimedJob,
    RunningJob,
)
from flask_forge_jobs.model.jobs import Job, JobStatus
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.run_end import CANCELLED_MESSAGE, MAX_CRASHES, JobUpdate
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import (
    OTHER,
    OWNER,
    QUEUE,
    RETRY_DELAY_S,
    claim_one,
    enqueue,
    enqueue_in,
    finish,
    rescue_all,
    run,
    update_for,
)
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql

OUTCOMES: list[Outcome] = [
    Done(),
    Done('"late"'),
    Failed("late"),
    Dead("late"),
    Released(),
    Throttled(300),
    Throttled(300, scope="job"),
]
NOT_DONE = OUTCOMES[2:]


def rescued_and_claimed(storage: Storage, sql: Sql, owner: str) -> Job:
    """Take the one running job away and let an owner claim it."""
    assert rescue_all(storage) == 1
    sql.age(RETRY_DELAY_S)
    return storage.job_reader.get(claim_one(storage, owner=owner).id)


# -- late outcomes -----------------------------------------------------------------


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_late_outcome_changes_nothing(
    storage: Storage, sql: Sql, outcome: Outcome
) -> None:
    """finalize_owner_guard_blocks_stale_worker_clobber"""
    enqueue(storage)
    lost = claim_one(storage)
    now_owned = rescued_and_claimed(storage, sql, OTHER)
    queue = storage.queues.get(QUEUE)

    assert finish(storage, lost, outcome) is False

    assert storage.job_reader.get(lost.id) == now_owned
    assert storage.queues.get(QUEUE) == queue
    assert sql.value("SELECT COUNT(*) FROM forge_job WHERE status = 'in_progress'") == 1


def test_the_new_owner_can_still_finish(storage: Storage, sql: Sql) -> None:
    """finalize_owner_guard_blocks_stale_worker_clobber"""
    enqueue(storage)
    lost = claim_one(storage)
    rescue_all(storage)
    sql.age(RETRY_DELAY_S)
    held = claim_one(storage, owner=OTHER)
    finish(storage, lost, Done('"late"'))

    assert finish(storage, held, Done('"mine"'), owner=OTHER)

    assert storage.job_reader.get(held.id).result == '"mine"'


@pytest.mark.parametrize(
    ("unspent", "outcome"),
    [
        (Released(), Done()),
        (Released(), Done('"late"')),
        (Released(), Failed("late")),
        (Released(), Released()),
        (Snooze(0.0), Done('"late"')),
    ],
)
def test_a_run_that_was_given_back_cannot_end_the_next_one(
    storage: Storage, unspent: Outcome, outcome: Outcome
) -> None:
    """Both are the same owner's, and of the same attempt."""
    enqueue(storage)
    first = run(storage, unspent)
    second = claim_one(storage)
    now_owned = storage.job_reader.get(first.id)

    assert finish(storage, first, outcome) is False

    assert first.attempts == second.attempts
    assert storage.job_reader.get(first.id) == now_owned
    assert storage.jobs.heartbeat(OWNER, {}).owned == {second.run_id}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_attempt_is_part_of_the_fence(
    storage: Storage, sql: Sql, outcome: Outcome
) -> None:
    """The same process claims the job again: its earlier run may not end the later."""
    enqueue(storage)
    lost = claim_one(storage)
    now_owned = rescued_and_claimed(storage, sql, OWNER)

    assert finish(storage, lost, outcome) is False

    assert storage.job_reader.get(lost.id) == now_owned


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_counts_once(storage: Storage, outcome: Outcome) -> None:
    enqueue(storage)
    job = run(storage, outcome)
    ended = storage.job_reader.get(job.id)
    queue = storage.queues.get(QUEUE)

    assert finish(storage, job, Done()) is False

    assert storage.job_reader.get(job.id) == ended
    assert storage.queues.get(QUEUE) == queue


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_only_the_owner_may_finish(storage: Storage, outcome: Outcome) -> None:
    enqueue(storage)
    job = claim_one(storage)

    assert finish(storage, job, outcome, owner=OTHER) is False
    assert finish(storage, job, outcome, owner="") is False

    assert storage.job_reader.get(job.id).status is JobStatus.IN_PROGRESS


@pytest.mark.parametrize("last", [Done("3"), Failed("no"), Done(result_error="big")])
def test_a_batch_ends_each_run_in_its_own_way(storage: Storage, last: Outcome) -> None:
    for _ in range(3):
        enqueue(storage)
    runs = storage.jobs.claim(QUEUE, OWNER, limit=3)
    outcomes = [Done("1"), Done(), last]

    def update(job: ClaimedJob, outcome: Outcome) -> JobUpdate:
        return update_for(job, outcome, failure_delay_s=9.0, user_cancelled=False)

    updates = [update(job, each) for job, each in zip(runs, outcomes, strict=True)]
    assert storage.jobs.finish(OWNER, updates) == []

    ended = [storage.job_reader.get(job.id) for job in runs]
    status = JobStatus.FAILED if isinstance(last, Failed) else JobStatus.DONE
    assert [job.status for job in ended] == [JobStatus.DONE, JobStatus.DONE, status]
    given = [(each.result, each.result_error) for each in updates]
    assert [(job.result, job.result_error) for job in ended] == given
    assert [job.last_error for job in ended] == [None, None, updates[2].error]


def test_an_outcome_of_a_deleted_job_is_refused(storage: Storage, sql: Sql) -> None:
    enqueue(storage)
    job = claim_one(storage)
    sql.run("DELETE FROM forge_job")

    assert finish(storage, job, Done()) is False


def test_a_late_throttle_does_not_open_a_cooldown(storage: Storage) -> None:
    enqueue(storage)
    lost = claim_one(storage)
    rescue_all(storage)

    finish(storage, lost, Throttled(300))

    queue = storage.queues.get(QUEUE)
    assert (queue.throttled_until, queue.throttle_attempts) == (None, 0)


def test_refused_outcomes_do_not_hold_back_the_others(
    storage: Storage, sql: Sql
) -> None:
    ids = [enqueue(storage) for _ in range(3)]
    jobs = storage.jobs.claim(QUEUE, OWNER, 3)
    sql.run("UPDATE forge_job SET claims = 2 WHERE id = ?", ids[1])
    done = [
        update_for(j, Done(), failure_delay_s=1, user_cancelled=False) for j in jobs
    ]

    assert storage.jobs.finish(OWNER, done) == [ids[1]]

    assert [storage.job_reader.get(job_id).status.value for job_id in ids] == [
        "done", "in_progress", "done",
    ]  # fmt: skip


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_after_an_unclear_commit_is_not_refused(
    storage: Storage, outcome: Outcome
) -> None:
    """The state that the repeated write finds is the one it asked for"""
    enqueue(storage)
    job = claim_one(storage)
    update = update_for(job, outcome, failure_delay_s=600, user_cancelled=False)

    refused = lossy_jobs(storage.database).finish(OWNER, [update])

    stored = storage.job_reader.get(job.id)
    assert refused == []
    assert stored.status is update.status
    assert len(stored.error_history) == (update.error is not None)
    assert storage.queues.get(QUEUE).throttle_attempts <= 1


@pytest.mark.parametrize("outcome", [Failed("late"), Released()])
def test_an_outcome_after_an_unclear_commit_is_not_refused_if_the_job_runs_again(
    storage: Storage, outcome: Outcome
) -> None:
    enqueue(storage)
    job = claim_one(storage)
    update = update_for(job, outcome, failure_delay_s=0, user_cancelled=False)
    jobs = lossy_jobs(storage.database, lambda: storage.jobs.claim(QUEUE, OTHER))

    assert jobs.finish(OWNER, [update]) == []

    stored = storage.job_reader.get(job.id)
    assert (stored.status, stored.attempts) == (
        JobStatus.IN_PROGRESS,
        job.attempts + (update.status is JobStatus.FAILED),
    )


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_that_was_tried_before_is_not_refused_if_it_is_stored(
    storage: Storage, outcome: Outcome
) -> None:
    """The database was away for longer than a write is repeated."""
    enqueue(storage)
    job = claim_one(storage)
    update = update_for(job, outcome, failure_delay_s=600, user_cancelled=False)
    storage.jobs.finish(OWNER, [update])
    stored = storage.job_reader.get(job.id)
    update.was_tried = True

    refused = storage.jobs.finish(OWNER, [update])

    assert refused == []
    assert storage.job_reader.get(job.id) == stored


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_outcome_that_was_tried_in_vain_is_refused_once_the_job_is_lost(
    storage: Storage, outcome: Outcome
) -> None:
    enqueue(storage)
    job = claim_one(storage)
    rescue_all(storage)
    update = update_for(job, outcome, failure_delay_s=600, user_cancelled=False)
    update.was_tried = True

    assert storage.jobs.finish(OWNER, [update]) == [job.id]


def test_an_outcome_that_was_tried_is_refused_if_another_run_ended_like_it(
    storage: Storage, sql: Sql
) -> None:
    enqueue(storage)
    lost = claim_one(storage)
    rescue_all(storage)
    sql.age(RETRY_DELAY_S)
    finish(storage, claim_one(storage, owner=OTHER), Done(), owner=OTHER)
    update = update_for(lost, Done(), failure_delay_s=600, user_cancelled=False)
    update.was_tried = True

    assert storage.jobs.finish(OWNER, [update]) == [lost.id]


# -- cancel ------------------------------------------------------------------------


def test_a_cancel_reaches_the_owner_by_its_heartbeat(storage: Storage) -> None:
    """delete_in_progress_sets_cancel_flag_and_keeps_row"""
    wanted, other = enqueue(storage), enqueue(storage)
    storage.jobs.claim(QUEUE, OWNER, 2)
    storage.job_admin.delete(wanted)

    report = storage.jobs.heartbeat(OWNER, {})

    assert report.owned == {(wanted, 1), (other, 1)}
    assert report.cancelled == {wanted}
    assert storage.jobs.cancelled(OWNER) == [wanted]
    assert storage.jobs.cancelled(OTHER) == []
    assert storage.job_reader.get(wanted).cancel_requested_at is not None


@pytest.mark.parametrize("outcome", NOT_DONE[:1] + NOT_DONE[2:])
def test_a_cancel_outlives_the_end_of_the_run(
    storage: Storage, outcome: Outcome
) -> None:
    """Failure, release and throttle of a flagged run are final"""
    enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.delete(job.id)

    assert finish(storage, job, outcome)

    stored = storage.job_reader.get(job.id)
    assert (stored.status, stored.last_error) == (JobStatus.DEAD, CANCELLED_MESSAGE)
    assert stored.completed_at is not None
    assert (stored.slot_id, stored.heartbeat_at) == (None, None)
    assert [entry.message for entry in stored.error_history] == [CANCELLED_MESSAGE]
    assert storage.jobs.claim(QUEUE, OWNER) == []


def test_done_and_dead_stand_in_spite_of_a_cancel(storage: Storage) -> None:
    """The work happened"""
    enqueue(storage), enqueue(storage)
    done, dead = storage.jobs.claim(QUEUE, OWNER, 2)
    storage.job_admin.change(JobAction.DELETE, [done.id, dead.id])

    assert finish(storage, done, Done("1"))
    assert finish(storage, dead, Dead("no such customer"))

    assert storage.job_reader.get(done.id).status is JobStatus.DONE
    assert storage.job_reader.get(dead.id).last_error == "no such customer"


def test_a_cancelled_run_can_only_be_ended_by_its_worker(storage: Storage) -> None:
    enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.delete(job.id)

    assert finish(storage, job, Failed("x"), owner=OTHER) is False
    # Not the last attempt: how that one fails is final, so a cancel changes nothing.
    assert job.attempts < job.max_attempts
    assert finish(storage, job._replace(claim=job.claim + 1), Failed("x")) is False

    assert storage.job_reader.get(job.id).status is JobStatus.IN_PROGRESS


def test_a_cancelled_outcome_after_an_unclear_commit_is_not_refused(
    storage: Storage,
) -> None:
    enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.delete(job.id)
    failed = update_for(job, Failed("x"), failure_delay_s=600, user_cancelled=False)

    assert lossy_jobs(storage.database).finish(OWNER, [failed]) == []

    assert storage.job_reader.get(job.id).last_error == CANCELLED_MESSAGE


def test_a_cancel_outlives_the_worker(storage: Storage) -> None:
    """The reaper ends a flagged job"""
    enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.delete(job.id)

    assert rescue_all(storage) == 1

    stored = storage.job_reader.get(job.id)
    assert (stored.status, stored.last_error) == (JobStatus.DEAD, CANCELLED_MESSAGE)


def test_requeue_forgets_the_cancel(storage: Storage) -> None:
    """claim_next_clears_stale_cancel_flag_from_previous_attempt, but at the requeue"""
    enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.delete(job.id)
    finish(storage, job, Failed("x"))
    assert storage.job_admin.requeue(job.id)

    claim_one(storage)

    assert storage.jobs.heartbeat(OWNER, {}).cancelled == frozenset()
    assert storage.jobs.cancelled(OWNER) == []


# -- rescue ------------------------------------------------------------------------


def test_running_shows_every_run_with_its_heartbeat(storage: Storage) -> None:
    ids = [enqueue(storage) for _ in range(3)]
    storage.jobs.claim(QUEUE, OWNER, 2)
    storage.jobs.claim(QUEUE, OTHER, 2)

    running = storage.jobs.running()

    assert [(job.id, job.attempts, job.worker_id) for job in running] == [
        (ids[0], 1, OWNER), (ids[1], 1, OWNER), (ids[2], 1, OTHER),
    ]  # fmt: skip


def test_rescue_gives_a_job_back_with_the_queues_delay(storage: Storage) -> None:
    storage.queues.ensure(QUEUE)
    storage.queues.change(
        QUEUE,
        {
            "backoff_enabled": True,
            "backoff_base_seconds": 100,
            "backoff_max_seconds": 9999,
        },
    )
    job_id = enqueue(storage)
    claim_one(storage)

    assert rescue_all(storage) == 1

    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.last_error) == (JobStatus.FAILED, REAPED_MESSAGE)
    assert (stored.attempts, stored.crashes) == (1, 1)
    assert (stored.slot_id, stored.heartbeat_at, stored.completed_at) == (
        None, None, None,
    )  # fmt: skip
    assert [entry.message for entry in stored.error_history] == [REAPED_MESSAGE]
    wait_s = storage.jobs.next_due_in_s([QUEUE])
    assert wait_s == pytest.approx(200, abs=30)


def test_rescue_of_the_last_attempt_ends_dead(storage: Storage) -> None:
    job_id = enqueue(storage, max_attempts=1)
    claim_one(storage)

    rescue_all(storage)

    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.last_error) == (JobStatus.DEAD, REAPED_MESSAGE)
    assert stored.completed_at is not None


def test_a_job_whose_worker_dies_three_times_is_not_tried_again(
    storage: Storage, sql: Sql
) -> None:
    """The poison-pill limit"""
    job_id = enqueue(storage, max_attempts=1000)

    for crash in range(1, MAX_CRASHES + 1):
        claim_one(storage)
        assert rescue_all(storage) == 1
        assert storage.job_reader.get(job_id).crashes == crash
        sql.age(RETRY_DELAY_S)

    stored = storage.job_reader.get(job_id)
    assert stored.status is JobStatus.DEAD
    assert "died 3 times" in str(stored.last_error)
    assert storage.jobs.claim(QUEUE, OWNER) == []


def test_jobs_of_a_second_crash_come_back_one_by_one(
    storage: Storage, sql: Sql
) -> None:
    """A10: the jobs beside a poison pill do not share its third crash"""
    ids = [enqueue(storage, max_attempts=1000) for _ in range(3)]

    def crash() -> list[int]:
        storage.jobs.claim(QUEUE, OWNER, len(ids))
        assert rescue_all(storage) == len(ids)
        due_at = [storage.job_reader.get(job_id).scheduled_at for job_id in ids]
        return [round((each - min(due_at)).total_seconds()) for each in sorted(due_at)]

    assert crash() == [0, 0, 0]
    sql.age(RETRY_DELAY_S)
    assert crash() == [0, 1, 2]


def test_a_claim_tells_that_a_worker_has_died_under_the_job(
    storage: Storage, sql: Sql
) -> None:
    """Such a job is not claimed before it can start; any other may be"""
    enqueue(storage)
    fresh = run(storage, Failed("no"))
    sql.age(RETRY_DELAY_S)
    failed = claim_one(storage)
    rescue_all(storage)
    sql.age(RETRY_DELAY_S)
    suspect = run(storage, Failed("no"))
    sql.age(RETRY_DELAY_S)
    still = claim_one(storage)

    claims = (fresh, failed, suspect, still)
    assert [job.crashes for job in claims] == [0, 0, 1, 1]


def test_a_claim_tells_of_a_crash_that_the_history_has_forgotten(
    storage: Storage, sql: Sql
) -> None:
    enqueue(storage, max_attempts=1000)
    claim_one(storage)
    rescue_all(storage)
    for _ in range(MAX_ERROR_HISTORY):
        sql.age(RETRY_DELAY_S)
        run(storage, Failed("no"))
    sql.age(RETRY_DELAY_S)

    job = claim_one(storage)

    assert REAPED_MESSAGE not in (job.error_history or "")
    assert job.crashes == 1


def test_requeue_forgives_the_crashes(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage, max_attempts=1000)
    for _ in range(MAX_CRASHES):
        claim_one(storage)
        rescue_all(storage)
        sql.age(RETRY_DELAY_S)

    storage.job_admin.requeue(job_id)

    assert storage.job_reader.get(job_id).crashes == 0


def test_rescue_leaves_a_run_that_has_moved_since(storage: Storage, sql: Sql) -> None:
    """Only what changed is counted, and only what was observed changes"""
    moved, silent, ended = (enqueue(storage) for _ in range(3))
    jobs = {job.id: job for job in storage.jobs.claim(QUEUE, OWNER, 3)}
    sql.age(60)
    observed = storage.jobs.running()
    sql.run("UPDATE forge_job SET heartbeat_at = heartbeat_at + 1 WHERE id = ?", moved)
    finish(storage, jobs[ended], Done())

    assert storage.jobs.rescue(observed) == 1

    assert storage.job_reader.get(moved).status is JobStatus.IN_PROGRESS
    assert storage.job_reader.get(silent).status is JobStatus.FAILED
    assert storage.job_reader.get(ended).status is JobStatus.DONE


def test_rescue_leaves_a_later_run_alone(storage: Storage, sql: Sql) -> None:
    enqueue(storage)
    claim_one(storage)
    observed = storage.jobs.running()
    held = rescued_and_claimed(storage, sql, OTHER)
    same_beat = [
        RunningJob(each.id, each.attempts, each.heartbeat_at_us, each.worker_id)
        for each in storage.jobs.running()
    ]
    stale = [each._replace(attempts=observed[0].attempts) for each in same_beat]

    assert storage.jobs.rescue(observed) == 0
    assert storage.jobs.rescue(stale) == 0

    assert storage.job_reader.get(held.id) == held


def test_rescue_of_nothing_does_nothing(storage: Storage) -> None:
    assert storage.jobs.rescue([]) == 0
    assert storage.jobs.rescue([RunningJob("no such job", 1, 0, OWNER)]) == 0


def test_rescue_works_in_batches(storage: Storage, sql: Sql) -> None:
    sql.seed(450, status="in_progress")

    assert rescue_all(storage) == 450

    assert storage.job_reader.statistics()[QUEUE].counts.failed == 450


def test_rescue_after_an_unclear_commit_counts_one_crash(storage: Storage) -> None:
    job_id = enqueue(storage)
    claim_one(storage)

    lossy_jobs(storage.database).rescue(storage.jobs.running())

    stored = storage.job_reader.get(job_id)
    assert (stored.crashes, len(stored.error_history)) == (1, 1)


def test_a_deferred_job_is_not_lost_by_a_rescue_of_others(
    storage: Storage, sql: Sql
) -> None:
    deferred = enqueue_in(storage, sql, 600)
    enqueue(storage)
    claim_one(storage)

    rescue_all(storage)

    assert storage.job_reader.get(deferred).status is JobStatus.PENDING
