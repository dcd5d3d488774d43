"""The life of one job: claimed, and ended in every way it can end.

Where the reference has the same case its name stands in the docstring.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_forge_jobs.model.claims import MAX_ERROR_HISTORY
from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.run_end import CANCELLED_MESSAGE, JobUpdate
from flask_forge_jobs.runtime.duties.supervisor import SETTINGS_PERIOD_S
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
from tests.support.sql import SECOND_US, Sql
from tests.support.threads import Heard

# -- claiming ----------------------------------------------------------------------


def test_claim_returns_the_job_and_owns_it(storage: Storage) -> None:
    """enqueue_then_claim_returns_the_row"""
    job_id = storage.jobs.enqueue(
        NewJob("greet", '{"name":"Ada"}', priority=-3, max_attempts=7, timeout_s=1.5)
    ).id

    claimed = claim_one(storage)

    assert claimed.id == job_id
    assert (claimed.kind, claimed.payload) == ("greet", '{"name":"Ada"}')
    assert (claimed.priority, claimed.attempts, claimed.max_attempts) == (-3, 1, 7)
    assert (claimed.timeout_s, claimed.error_history) == (1.5, None)
    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.slot_id) == (JobStatus.IN_PROGRESS, OWNER)
    assert stored.started_at == stored.heartbeat_at is not None
    assert to_micros(stored.scheduled_at) == claimed.scheduled_at_us


def test_claim_tells_which_jobs_have_a_dedupe_key(storage: Storage) -> None:
    """Their outcomes lock more; see the tests of locks."""
    storage.jobs.enqueue_many([NewJob("with", dedupe_key="k"), NewJob("without")])

    claimed = storage.jobs.claim(QUEUE, OWNER, 2)

    assert {job.kind: bool(job.has_key) for job in claimed} == {
        "with": True, "without": False,
    }  # fmt: skip
    assert sorted(storage.jobs.held(OWNER)) == sorted(claimed)


def test_claim_of_an_empty_or_unknown_queue_returns_nothing(storage: Storage) -> None:
    storage.queues.ensure("empty")

    assert storage.jobs.claim("empty", OWNER, 10) == []
    assert storage.jobs.claim("nobody knows it", OWNER, 10) == []


def test_claim_takes_no_more_than_the_limit(storage: Storage) -> None:
    ids = [enqueue(storage) for _ in range(5)]

    assert storage.jobs.claim(QUEUE, OWNER, 0) == []
    assert [job.id for job in storage.jobs.claim(QUEUE, OWNER, 3)] == ids[:3]
    assert [job.id for job in storage.jobs.claim(QUEUE, OWNER, 3)] == ids[3:]


def test_claim_takes_only_from_its_queue(storage: Storage) -> None:
    enqueue(storage, queue_name="mail")
    wanted = enqueue(storage, queue_name="reports")

    assert [job.id for job in storage.jobs.claim("reports", OWNER, 5)] == [wanted]


def test_claim_skips_a_job_scheduled_later(storage: Storage, sql: Sql) -> None:
    """claim_skips_future_scheduled_jobs"""
    enqueue_in(storage, sql, 60)

    assert storage.jobs.claim(QUEUE, OWNER) == []


def test_claim_takes_a_scheduled_job_once_it_is_due(storage: Storage, sql: Sql) -> None:
    job_id = enqueue_in(storage, sql, 60)
    sql.age(61)

    assert claim_one(storage).id == job_id


def test_claim_is_first_in_first_out(storage: Storage) -> None:
    """claim_next_is_fifo_within_priority_and_scheduled_at"""
    ids = [enqueue(storage) for _ in range(5)]

    assert [claim_one(storage).id for _ in range(5)] == ids


def test_claim_orders_by_priority_then_due_time(storage: Storage, sql: Sql) -> None:
    late = enqueue(storage, priority=5)
    first = enqueue(storage, priority=-1)
    waited = enqueue_in(storage, sql, 60)
    normal = enqueue(storage)
    sql.age(61)

    claimed = [claim_one(storage).id for _ in range(2)]
    claimed += [job.id for job in storage.jobs.claim(QUEUE, OWNER, 10)]

    assert claimed == [first, normal, waited, late]


def test_claim_clears_what_the_last_run_left(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    storage.jobs.heartbeat(OWNER, {job_id: '{"done":3}'})
    finish(storage, job, Failed("no"))
    sql.age(RETRY_DELAY_S + 1)

    claim_one(storage, owner=OTHER)

    stored = storage.job_reader.get(job_id)
    assert stored.progress is None
    assert (stored.slot_id, stored.attempts) == (OTHER, 2)


def test_a_paused_queue_hands_out_nothing(storage: Storage) -> None:
    """The claim itself looks at the pause"""
    job_id = enqueue(storage)
    storage.queues.change(QUEUE, {"paused": True})
    assert storage.jobs.claim(QUEUE, OWNER) == []

    storage.queues.change(QUEUE, {"paused": False})

    assert claim_one(storage).id == job_id


def test_a_queue_without_settings_is_never_gated(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage, queue_name="orphan")
    sql.run("DELETE FROM forge_queue")

    assert claim_one(storage, queue_name="orphan").id == job_id


# -- done --------------------------------------------------------------------------


def test_done_marks_the_job_completed(storage: Storage) -> None:
    """finalize_done_marks_completed"""
    job_id = enqueue(storage)

    run(storage, Done('{"rows":3}'))

    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.result) == (JobStatus.DONE, '{"rows":3}')
    assert stored.completed_at is not None
    assert (stored.slot_id, stored.heartbeat_at) == (None, None)
    assert (stored.attempts, stored.last_error) == (1, None)


def test_done_keeps_the_errors_of_earlier_runs(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage)
    run(storage, Failed("first try"))
    sql.age(RETRY_DELAY_S + 1)

    run(storage, Done())

    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.last_error) == (JobStatus.DONE, "first try")
    assert len(stored.error_history) == 1


# -- failed ------------------------------------------------------------------------


def test_failed_waits_and_notes_the_error(storage: Storage) -> None:
    """finalize_failed_appends_error_history"""
    job_id = enqueue(storage)

    run(storage, Failed("the printer is on fire"))

    stored = storage.job_reader.get(job_id)
    assert stored.status is JobStatus.FAILED
    assert stored.last_error == "the printer is on fire"
    (entry,) = stored.error_history
    assert (entry.attempt, entry.message) == (1, "the printer is on fire")
    assert datetime.fromisoformat(entry.at).utcoffset() == timedelta(0)
    waits_s = (stored.scheduled_at - stored.enqueued_at).total_seconds()
    assert waits_s == pytest.approx(RETRY_DELAY_S, abs=60)
    assert (stored.completed_at, stored.slot_id) == (None, None)
    assert storage.jobs.claim(QUEUE, OWNER) == []


def test_failed_is_claimed_again_after_its_delay(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage)
    run(storage, Failed("once"))
    sql.age(RETRY_DELAY_S + 1)

    again = claim_one(storage)

    assert (again.id, again.attempts) == (job_id, 2)
    assert "once" in (again.error_history or "")


def test_the_last_attempt_ends_dead(storage: Storage, sql: Sql) -> None:
    """retry_cycle_emits_balanced_events, without its events"""
    job_id = enqueue(storage, max_attempts=3)

    for attempt in range(1, 4):
        assert run(storage, Failed(f"try {attempt}")).attempts == attempt
        sql.age(RETRY_DELAY_S + 1)

    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.attempts) == (JobStatus.DEAD, 3)
    assert stored.completed_at is not None
    assert [entry.message for entry in stored.error_history] == [
        "try 1", "try 2", "try 3",
    ]  # fmt: skip
    assert storage.jobs.claim(QUEUE, OWNER) == []


def test_the_history_keeps_the_newest_32_errors(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage, max_attempts=40)
    for attempt in range(1, 36):
        run(storage, Failed(f"try {attempt}"))
        sql.age(RETRY_DELAY_S + 1)

    history = storage.job_reader.get(job_id).error_history

    assert [entry.attempt for entry in history] == list(range(4, 36))


def test_a_damaged_history_is_read_as_empty_and_kept_until_a_failure(
    storage: Storage, sql: Sql
) -> None:
    job_id = enqueue(storage)
    sql.run("UPDATE forge_job SET error_history = ?", "not json")
    job = claim_one(storage)
    assert storage.job_reader.get(job_id).error_history == ()
    assert sql.value("SELECT error_history FROM forge_job") == "not json"

    finish(storage, job, Failed("no"))

    assert [e.message for e in storage.job_reader.get(job_id).error_history] == ["no"]


# -- throttled, dead, released -----------------------------------------------------


def test_throttled_waits_and_gives_the_attempt_back(storage: Storage) -> None:
    """finalize_throttled_bumps_scheduled_at_and_un_attempts"""
    job_id = enqueue(storage)

    run(storage, Throttled(120, scope="job"))

    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.attempts) == (JobStatus.PENDING, 0)
    assert (stored.throttle_attempts, stored.last_error) == (1, None)
    waits_s = (stored.scheduled_at - stored.enqueued_at).total_seconds()
    assert waits_s == pytest.approx(120, abs=60)
    assert stored.slot_id is None
    assert storage.jobs.claim(QUEUE, OWNER) == []


def test_done_forgets_the_throttles(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage)
    run(storage, Throttled(1, scope="job"))
    sql.age(2)

    run(storage, Done())

    assert storage.job_reader.get(job_id).throttle_attempts == 0


def test_a_hundred_throttles_in_a_row_count_as_a_failure(
    storage: Storage, sql: Sql
) -> None:
    """A job that always throttles does not block its queue for ever"""
    job_id = enqueue(storage, max_attempts=1)
    sql.run("UPDATE forge_job SET throttle_attempts = 99")

    run(storage, Throttled(1))

    stored = storage.job_reader.get(job_id)
    assert stored.status is JobStatus.DEAD
    assert stored.last_error == "throttled 100 times in a row"


def test_dead_ends_all_attempts(storage: Storage) -> None:
    """finalize_dead_marks_terminal"""
    job_id = enqueue(storage)

    run(storage, Dead("no such customer"))

    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.last_error) == (JobStatus.DEAD, "no such customer")
    assert stored.completed_at is not None
    assert [entry.message for entry in stored.error_history] == ["no such customer"]


def test_released_is_due_at_once_with_its_attempt_back(storage: Storage) -> None:
    """A shutdown costs no attempt and leaves no error"""
    job_id = enqueue(storage, max_attempts=1)

    run(storage, Released())

    stored = storage.job_reader.get(job_id)
    assert (stored.status, stored.attempts) == (JobStatus.PENDING, 0)
    assert (stored.last_error, stored.error_history) == (None, ())
    assert claim_one(storage, owner=OTHER).attempts == 1


# -- batches -----------------------------------------------------------------------


def test_a_released_job_wakes_the_workers_of_its_queue(storage: Storage) -> None:
    """Another process may have a slot for it, for a retry only once it is due.

    Of one that is due soon, a worker that sleeps would learn too late.
    """
    for name in ("mail", "soon", "later"):
        enqueue(storage, queue_name=name)
    soon = claim_one(storage, queue_name="soon")
    released = claim_one(storage, queue_name="mail")
    failed = claim_one(storage, queue_name="later")
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        finish(storage, failed, Failed("no"))
        finish(storage, soon, Snooze(1.0))
        finish(storage, released, Released())
        assert heard.wait_for("soon")
        assert heard.wait_for("mail")
    finally:
        listener.stop()

    assert "later" not in heard.names


def test_one_batch_may_end_in_every_way(storage: Storage) -> None:
    outcomes: list[Outcome] = [
        Done("1"),
        Failed("f"),
        Dead("d"),
        Released(),
        Throttled(9, scope="job"),
    ]
    jobs = [enqueue(storage) for _ in outcomes]
    claimed = storage.jobs.claim(QUEUE, OWNER, len(outcomes))

    refused = storage.jobs.finish(
        OWNER,
        [
            update_for(job, outcome, failure_delay_s=600, user_cancelled=False)
            for job, outcome in zip(claimed, outcomes, strict=True)
        ],
    )

    assert refused == []
    assert [storage.job_reader.get(job_id).status.value for job_id in jobs] == [
        "done", "failed", "dead", "pending", "pending",
    ]  # fmt: skip


def test_exchange_ends_and_claims_in_one_transaction(storage: Storage) -> None:
    first = enqueue(storage)
    mail = [enqueue(storage, queue_name="mail") for _ in range(3)]
    job = claim_one(storage)
    second = enqueue(storage)

    exchange = storage.jobs.exchange(
        OWNER, [JobUpdate(job, JobStatus.DONE)], {"mail": 2, QUEUE: 5, "none": 1}
    )

    assert [each.id for each in exchange.claimed] == [*mail[:2], second]
    assert exchange.refused == []
    assert storage.job_reader.get(first).status is JobStatus.DONE


def test_a_released_job_can_be_claimed_by_the_same_exchange(storage: Storage) -> None:
    enqueue(storage)
    job = claim_one(storage)
    released = update_for(job, Released(), failure_delay_s=0, user_cancelled=False)

    exchange = storage.jobs.exchange(OWNER, [released], {QUEUE: 1})

    assert [(each.id, each.attempts) for each in exchange.claimed] == [(job.id, 1)]


def test_a_claim_may_leave_it_to_others_to_look_for_due_jobs(
    storage: Storage, sql: Sql
) -> None:
    waited = enqueue_in(storage, sql, 60)
    sql.age(61)
    ready = enqueue(storage)

    short = storage.jobs.exchange(OWNER, (), {QUEUE: 5}, promote=False)
    full = storage.jobs.exchange(OWNER, (), {QUEUE: 5})

    assert [job.id for job in short.claimed] == [ready]
    assert [job.id for job in full.claimed] == [waited]


def test_a_user_cancelled_run_ends_dead_unless_it_is_done(storage: Storage) -> None:
    ids = [enqueue(storage), enqueue(storage)]
    jobs = storage.jobs.claim(QUEUE, OWNER, 2)
    outcomes: list[Outcome] = [Failed("stopped half-way"), Done()]

    storage.jobs.finish(
        OWNER,
        [
            update_for(job, outcome, failure_delay_s=1, user_cancelled=True)
            for job, outcome in zip(jobs, outcomes, strict=True)
        ],
    )

    dead, done = (storage.job_reader.get(job_id) for job_id in ids)
    assert (dead.status, dead.last_error) == (JobStatus.DEAD, CANCELLED_MESSAGE)
    assert done.status is JobStatus.DONE


# -- staying alive -----------------------------------------------------------------


def test_heartbeat_renews_all_runs_of_one_owner(storage: Storage, sql: Sql) -> None:
    mine = [enqueue(storage), enqueue(storage)]
    storage.jobs.claim(QUEUE, OWNER, 2)
    foreign = enqueue(storage)
    claim_one(storage, owner=OTHER)
    sql.age(30)
    before = {job.id: job.heartbeat_at_us for job in storage.jobs.running()}

    report = storage.jobs.heartbeat(OWNER, {})

    after = {job.id: job.heartbeat_at_us for job in storage.jobs.running()}
    assert report.owned == {(job_id, 1) for job_id in mine}
    assert report.cancelled == frozenset()
    assert all(after[job_id] >= before[job_id] + 29 * SECOND_US for job_id in mine)
    assert after[foreign] == before[foreign]


def test_heartbeat_stores_progress_of_own_runs_only(storage: Storage) -> None:
    mine, foreign = enqueue(storage), enqueue(storage)
    claim_one(storage)
    claim_one(storage, owner=OTHER)

    storage.jobs.heartbeat(OWNER, {mine: '"50 %"', foreign: '"stolen"'})

    assert storage.job_reader.get(mine).progress == '"50 %"'
    assert storage.job_reader.get(foreign).progress is None


def test_heartbeat_of_a_process_without_jobs_is_empty(storage: Storage) -> None:
    report = storage.jobs.heartbeat("idle", {})

    assert (report.owned, report.cancelled) == (frozenset(), frozenset())


def test_heartbeat_reports_a_run_whose_claim_was_never_answered(
    storage: Storage,
) -> None:
    """An answer that is lost after the commit leaves jobs that only this can find."""
    ids = [enqueue(storage) for _ in range(2)]

    claimed = lossy_jobs(storage.database).claim(QUEUE, OWNER, 1)

    assert [job.id for job in claimed] == ids[1:]
    assert storage.jobs.heartbeat(OWNER, {}).owned == {(ids[0], 1), (ids[1], 1)}


def test_held_is_what_an_owner_has_claimed_and_not_ended(
    storage: Storage, sql: Sql
) -> None:
    """As the claim told it; its answer may have been lost."""
    enqueue(storage, priority=1)
    run(storage, Failed("no"))
    sql.age(RETRY_DELAY_S)
    job = claim_one(storage)
    enqueue(storage)
    claim_one(storage, owner=OTHER)
    enqueue(storage)

    assert storage.jobs.held(OWNER) == [job]
    finish(storage, job, Done())
    assert storage.jobs.held(OWNER) == []


def test_heartbeat_no_longer_reports_a_lost_run(storage: Storage) -> None:
    enqueue(storage)
    claim_one(storage)
    rescue_all(storage)

    assert storage.jobs.heartbeat(OWNER, {}).owned == frozenset()


# -- waiting -----------------------------------------------------------------------


def test_next_due_is_the_wait_of_the_first_deferred_job(
    storage: Storage, sql: Sql
) -> None:
    enqueue_in(storage, sql, 500, queue_name="mail")
    enqueue_in(storage, sql, 100, queue_name="reports")

    assert storage.jobs.next_due_in_s([]) is None
    assert storage.jobs.next_due_in_s(["empty", "unknown"]) is None
    assert storage.jobs.next_due_in_s(["mail"]) == pytest.approx(500, abs=30)
    assert storage.jobs.next_due_in_s(["mail", "reports"]) == pytest.approx(100, abs=30)


def test_next_due_is_zero_when_a_deferred_job_is_due(
    storage: Storage, sql: Sql
) -> None:
    enqueue_in(storage, sql, 100)
    sql.age(101)

    assert storage.jobs.next_due_in_s([QUEUE]) == 0


def test_next_due_sees_a_job_that_another_worker_was_just_promoting(
    storage: Storage, sql: Sql
) -> None:
    """A claim misses it, and nobody wakes the worker again."""
    enqueue_in(storage, sql, 500)
    enqueue(storage)

    assert storage.jobs.next_due_in_s([QUEUE]) == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("wait_s", [0, 100])
def test_next_due_sees_the_end_of_a_cooldown(
    storage: Storage, sql: Sql, wait_s: int
) -> None:
    enqueue_in(storage, sql, wait_s)
    storage.queues.cool_down([QUEUE], 300)

    assert storage.jobs.next_due_in_s([QUEUE]) == pytest.approx(300, abs=30)


@pytest.mark.parametrize("wait_s", [0, 100])
def test_a_paused_queue_is_looked_at_once_a_worker_knows_of_the_pause(
    storage: Storage, sql: Sql, wait_s: int
) -> None:
    """If it never does, because the pause was short, its jobs wait for nothing else."""
    enqueue_in(storage, sql, wait_s)
    storage.queues.set_paused_many([QUEUE], paused=True)

    expected = pytest.approx(max(wait_s, SETTINGS_PERIOD_S), abs=wait_s / 10)
    assert storage.jobs.next_due_in_s([QUEUE]) == expected


def test_next_due_sees_a_job_that_waits_for_its_retry(storage: Storage) -> None:
    enqueue(storage)
    run(storage, Failed("no"))

    assert storage.jobs.next_due_in_s([QUEUE]) == pytest.approx(RETRY_DELAY_S, abs=30)


@pytest.mark.parametrize(
    "run_at",
    [datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)],
)
def test_run_at_may_be_anything_from_1970_to_9999(
    storage: Storage, sql: Sql, run_at: datetime
) -> None:
    """A past start means now, the furthest future never runs early"""
    before = from_micros(sql.now_us()) - timedelta(milliseconds=5)
    job_id = storage.jobs.enqueue(NewJob("noop", run_at=run_at)).id

    stored = storage.job_reader.get(job_id)

    if run_at.year == 1970:
        assert before <= stored.scheduled_at == stored.enqueued_at
        assert claim_one(storage).id == job_id
    else:
        assert stored.scheduled_at == run_at
        assert storage.jobs.claim(QUEUE, OWNER) == []


def test_a_past_start_does_not_jump_the_line(storage: Storage, sql: Sql) -> None:
    first = enqueue(storage)
    enqueue_in(storage, sql, -3600)

    assert claim_one(storage).id == first


def test_a_past_start_among_many_does_not_jump_the_line(
    storage: Storage, sql: Sql
) -> None:
    first = enqueue(storage)
    past = from_micros(sql.now_us()) - timedelta(hours=1)
    storage.jobs.enqueue_many([NewJob("noop", run_at=past) for _ in range(2)])

    assert claim_one(storage).id == first


def test_sec_S27_history_keeps_the_newest_errors_only(storage: Storage) -> None:
    """The reference keeps 32."""
    job_id = enqueue(storage, max_attempts=MAX_ERROR_HISTORY + 5)
    for number in range(1, MAX_ERROR_HISTORY + 4):
        run(storage, Failed(f"error {number}"))
        storage.job_admin.run_now(job_id)

    history = storage.job_reader.get(job_id).error_history

    assert [entry.attempt for entry in history] == [*range(4, MAX_ERROR_HISTORY + 4)]
    assert history[-1].message == f"error {MAX_ERROR_HISTORY + 3}"


def test_a_certain_job_is_claimed_by_the_rules_of_any_claim(storage: Storage) -> None:
    soon = from_micros(int(storage.database.read_one("now")[0][0])) + timedelta(hours=1)
    storage.jobs.enqueue(NewJob("k", priority=-1))
    wanted = storage.jobs.enqueue(NewJob("k")).id
    later = storage.jobs.enqueue(NewJob("k", run_at=soon)).id
    held_back = storage.jobs.enqueue(NewJob("k", queue_name="paused")).id
    storage.queues.change("paused", {"paused": True})

    job = storage.jobs.claim_one(wanted, "me")

    assert job is not None
    assert (job.id, job.attempts, job.claim) == (wanted, 1, 1)
    assert storage.job_reader.get(wanted).slot_id == "me"
    for job_id in (wanted, later, held_back, "nobody's"):
        assert storage.jobs.claim_one(job_id, "me") is None
    assert storage.jobs.finish("me", [JobUpdate(job, JobStatus.DONE)]) == []
    assert storage.jobs.claim_one(wanted, "me") is None


def test_who_has_work_holds_a_job_or_could_claim_one(storage: Storage) -> None:
    def has_work(*queues: str) -> bool:
        return storage.job_reader.has_work("me", queues or ("q", "other"))

    now = from_micros(int(storage.database.read_one("now")[0][0]))
    assert not has_work()
    storage.jobs.enqueue(
        NewJob("k", queue_name="q", run_at=now + timedelta(hours=1), dedupe_key="late")
    )
    assert not has_work()
    storage.jobs.enqueue(NewJob("k", queue_name="other"))
    assert has_work()
    assert not has_work("q")
    storage.queues.change("other", {"paused": True})
    assert not has_work()
    storage.queues.change("other", {"paused": False})
    (job,) = storage.jobs.claim("other", "me")
    assert has_work("q")
    assert not storage.job_reader.has_work("you", ("q", "other"))
    storage.jobs.finish("me", [JobUpdate(job, JobStatus.FAILED, 60.0, "no")])
    assert not has_work()


def test_a_job_whose_time_has_come_is_work_before_anybody_promotes_it(
    storage: Storage, sql: Sql
) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name="q"))
    sql.run("UPDATE forge_job SET deferred = TRUE")

    assert storage.job_reader.has_work("me", ["q"])
