"""All statements lock rows in the same order, so they cannot deadlock.

A third session holds a row until both wait for it, which fixes what each locks before
and after that row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

import psycopg2
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import QueueNotFoundError, StorageBusyError
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.postgres.transaction import (
    BRIEF_WAIT_MS,
    PostgresTransaction,
)
from tests.support.jobs import OTHER, OWNER, QUEUE
from tests.support.sql import Sql
from tests.support.threads import run_together
from tests.support.waiting import wait_until

EVERY_MINUTE = "* * * * *"
HOLD_KEY = (
    "INSERT INTO forge_job (id, queue_name, kind, payload, enqueued_at, scheduled_at, "
    "dedupe_key) VALUES ('held', 'default', 'noop', '{}', 1, 1, %s)"
)
BEHIND_THE_HOLDER = (
    "SELECT count(*) FROM pg_stat_activity AS holder, pg_stat_activity AS other "
    "WHERE holder.state = 'idle in transaction' "
    "AND holder.pid = ANY (pg_blocking_pids(other.pid))"
)
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


class Meeting:
    """A database of its own, whose deadlocks are counted."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.sql = Sql(settings)
        self.settings = settings
        self.storage = open_storage(settings, jitter=None)

    def claim(self, count: int, owner: str = OWNER) -> list[ClaimedJob]:
        self.storage.jobs.enqueue_many([NewJob("noop") for _ in range(count)])
        return self.storage.jobs.claim(QUEUE, owner, count)

    def bulk(
        self, keys: str, replace: Sequence[str] = ()
    ) -> Callable[[], list[EnqueueResult]]:
        """Return a call that enqueues a job for each key."""
        jobs = [NewJob("noop", "1", dedupe_key=key, replace=replace) for key in keys]
        return partial(self.storage.jobs.enqueue_many, jobs)

    def dead(self, keys: str) -> list[str]:
        """Return the ids of jobs that had the keys and are dead."""
        ids = [each.id for each in self.bulk(keys)()]
        for job_id in ids:
            self.sql.run(
                "UPDATE forge_job SET status = 'dead', completed_at = 1 WHERE id = ?",
                job_id,
            )
        return ids

    def firing(self, keys: str) -> Callable[[], object]:
        """Return a call that stores a job for each key, as schedules do."""
        self.storage.queues.ensure(QUEUE)
        for key in keys:
            self.storage.cron.create(
                ScheduleDefinition(key, "noop", EVERY_MINUTE, dedupe_key=key)
            )
        self.sql.run("UPDATE forge_cron SET next_fire_at = 1")
        return partial(self.storage.cron.fire_due, lambda _kind: QUEUE)

    def deadlocks(
        self,
        held: str,
        calls: Sequence[Callable[[], object]],
        hold: str = "SELECT 1 FROM forge_job WHERE id = %s FOR UPDATE",
    ) -> int:
        """Queue the calls up in this order behind a held row; count deadlocks."""
        with contextlib.closing(self.sql.connect()) as holder:
            cursor = holder.cursor()
            cursor.execute("BEGIN")
            cursor.execute(hold, [held])

            ended: list[int] = []

            def wait_for(count: int) -> None:
                def are_there() -> bool:
                    return self.sql.lock_waiters + len(ended) == count

                wait_until(are_there, f"{count} wait or have ended")

            def in_turn(place: int) -> None:
                wait_for(place)
                calls[place]()
                ended.append(place)

            def let_go() -> None:
                wait_for(len(calls))
                cursor.execute("ROLLBACK")

            turns: list[Callable[[], None]] = [
                partial(in_turn, place) for place in range(len(calls))
            ]
            run_together([*turns, let_go])
        self.storage.close()  # a session tells its figures at its end
        # Others than ours have none to tell.
        ours = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        )
        wait_until(lambda: self.sql.value(ours) == 1, "the sessions end")
        return int(self.sql.value(DEADLOCKS))


@pytest.fixture
def meeting(own_tables: DatabaseSettings) -> Iterator[Meeting]:
    found = Meeting(own_tables)
    with contextlib.closing(found.storage):
        found.storage.open()
        yield found


def done(job: ClaimedJob) -> JobUpdate:
    return JobUpdate(job, JobStatus.DONE)


def test_a_reference_to_a_job_does_not_keep_it_from_beating(meeting: Meeting) -> None:
    """A task may write one in a transaction of its own, and go on for long."""
    (job,) = meeting.claim(1)
    meeting.sql.run("CREATE TABLE mine (job_id text REFERENCES forge_job (id))")

    with contextlib.closing(meeting.sql.connect()) as other:
        other.autocommit = False
        other.cursor().execute("INSERT INTO mine VALUES (%s)", [job.id])
        report = meeting.storage.jobs.heartbeat(OWNER, {})

    assert report.owned == {job.run_id}


def test_outcomes_and_a_heartbeat(meeting: Meeting) -> None:
    """C16: the outcomes come in the order of the ends."""
    one, two, three = meeting.claim(3)
    jobs = meeting.storage.jobs

    found = meeting.deadlocks(
        three.id,
        [
            partial(jobs.finish, OWNER, [done(two), done(three), done(one)]),
            partial(jobs.heartbeat, OWNER, {}),
        ],
    )

    assert found == 0


def test_outcomes_and_a_heartbeat_with_progress(meeting: Meeting) -> None:
    one, two, three = meeting.claim(3)
    jobs = meeting.storage.jobs

    found = meeting.deadlocks(
        one.id,
        [
            partial(jobs.heartbeat, OWNER, {three.id: "1"}),
            partial(jobs.finish, OWNER, [done(two), done(three)]),
        ],
    )

    assert found == 0


def test_an_outcome_that_a_cancellation_outlives_and_a_heartbeat(
    meeting: Meeting,
) -> None:
    one, two = meeting.claim(2)
    meeting.storage.job_admin.cancel(one.id)
    jobs = meeting.storage.jobs
    failed = JobUpdate(one, JobStatus.FAILED, delay_s=1.0)

    found = meeting.deadlocks(
        two.id,
        [
            partial(jobs.finish, OWNER, [failed, done(two)]),
            partial(jobs.heartbeat, OWNER, {}),
        ],
    )

    assert found == 0
    assert meeting.storage.job_reader.get(one.id).status is JobStatus.DEAD


def test_cool_downs_and_successes(meeting: Meeting) -> None:
    """Two workers throttled in one queue each and successful in the other's."""
    storage = meeting.storage
    claimed = {}
    for name in ("a", "b", "m"):
        storage.jobs.enqueue_many([NewJob("noop", queue_name=name) for _ in range(2)])
        claimed[name] = [
            *storage.jobs.claim(name, OWNER), *storage.jobs.claim(name, OTHER)
        ]  # fmt: skip
    # A window that is over long since: a success forgets it.
    meeting.sql.run("UPDATE forge_queue SET throttle_attempts = 1, throttled_until = 1")

    def throttled(job: ClaimedJob) -> JobUpdate:
        return JobUpdate(job, JobStatus.PENDING, cool_down_s=1.0, is_throttle=True)

    def exchange(owner: int, *outcomes: JobUpdate) -> Callable[[], object]:
        return partial(storage.jobs.finish, (OWNER, OTHER)[owner], outcomes)

    found = meeting.deadlocks(
        "m",
        [
            exchange(
                0, throttled(claimed["b"][0]), throttled(claimed["m"][0]),
                done(claimed["a"][0]),
            ),
            exchange(
                1, throttled(claimed["a"][1]), throttled(claimed["m"][1]),
                done(claimed["b"][1]),
            ),
        ],
        "SELECT 1 FROM forge_queue WHERE name = %s FOR UPDATE",
    )  # fmt: skip

    assert found == 0


@pytest.mark.parametrize("promote", [True, False])
def test_a_claim_gives_up_before_the_server_looks_for_deadlocks(
    meeting: Meeting, *, promote: bool
) -> None:
    """Even SKIP LOCKED may wait, for a row that has just been changed."""
    with contextlib.closing(meeting.sql.connect()) as holder:
        holder.cursor().execute("BEGIN; LOCK TABLE forge_job IN EXCLUSIVE MODE")

        with pytest.raises(StorageBusyError) as raised:
            meeting.storage.jobs.exchange(OWNER, (), {QUEUE: 1}, promote=promote)

    assert isinstance(raised.value.__cause__, psycopg2.errors.LockNotAvailable)


def test_the_end_of_a_queue_and_a_bulk_verb(meeting: Meeting) -> None:
    """Deletion goes by priority, a bulk verb by ids."""
    storage = meeting.storage
    storage.jobs.enqueue_many(
        [NewJob("noop", queue_name="mail", priority=3 - n) for n in range(3)]
    )
    ids = [row[0] for row in meeting.sql.run("SELECT id FROM forge_job ORDER BY id")]

    found = meeting.deadlocks(
        ids[1],
        [
            partial(storage.queues.delete_with_jobs, "mail"),
            partial(storage.job_admin.change, JobAction.RUN_NOW, ids),
        ],
    )

    assert found == 0


def test_the_end_of_a_queue_and_those_who_take_keys(meeting: Meeting) -> None:
    """On a small table a join may delete one job before it locks the next."""
    storage = meeting.storage
    ids = [
        storage.jobs.enqueue(NewJob("noop", queue_name="mail", dedupe_key=key)).id
        for key in ("n", None)
    ]
    dead = meeting.dead("ma")
    meeting.sql.run("ANALYZE forge_job")

    found = meeting.deadlocks(
        "a",
        [
            partial(storage.job_admin.change, JobAction.RETRY, dead),
            partial(storage.job_admin.change, JobAction.RUN_NOW, [ids[1], dead[0]]),
            partial(storage.queues.delete_with_jobs, "mail"),
            meeting.firing("mn"),
        ],
        HOLD_KEY,
    )

    assert found == 0


def test_two_ways_to_delete_a_queue(meeting: Meeting) -> None:
    storage = meeting.storage
    storage.queues.ensure("mail")
    storage.rate_limits.put("mail", 5, 1.0)

    def delete_again() -> None:
        with contextlib.suppress(QueueNotFoundError):
            storage.queues.delete("mail")

    found = meeting.deadlocks(
        "mail",
        [partial(storage.queues.delete_with_jobs, "mail"), delete_again],
        "SELECT 1 FROM forge_queue WHERE name = %s FOR UPDATE",
    )

    assert found == 0


def test_a_beat_waits_for_no_holder_of_a_queue(meeting: Meeting) -> None:
    """A process that is stopped within a transaction must not silence the others."""
    meeting.storage.queues.ensure("mail")
    with contextlib.closing(meeting.sql.connect()) as holder:
        holder.cursor().execute("BEGIN; SELECT 1 FROM forge_queue FOR UPDATE")

        meeting.storage.workers.beat("host", None, ["mail"], [])

    assert len(meeting.storage.workers.live(60)) == 1


def test_declarations_of_two_versions(meeting: Meeting) -> None:
    """The newer one removes a schedule that the older one still declares."""
    cron = meeting.storage.cron
    first, last = (ScheduleDefinition(name, "noop", EVERY_MINUTE) for name in "az")
    cron.declare("app", [first, last])

    found = meeting.deadlocks(
        "z",
        [
            partial(cron.declare, "app", [last]),
            partial(cron.declare, "app", [first, last]),
        ],
        "SELECT 1 FROM forge_cron WHERE name = %s FOR UPDATE",
    )

    assert found == 0


def test_bulk_enqueues_with_ids_of_the_caller(meeting: Meeting) -> None:
    """An id is a key, too."""
    ids = [f"01J0000000000000000000000{end}" for end in "ABC"]

    def bulk(*places: int) -> Callable[[], object]:
        jobs = [NewJob("noop", job_id=ids[place]) for place in places]
        return partial(meeting.storage.jobs.enqueue_many, jobs)

    found = meeting.deadlocks(
        ids[2],
        [bulk(0, 2, 1), bulk(1, 2, 0)],
        HOLD_KEY.replace("'held'", "%s").replace("1, 1, %s", "1, 1, NULL"),
    )

    assert found == 0


@pytest.mark.parametrize("other", ["bulk enqueue", "retry"])
def test_a_retry_and_others_that_take_the_same_keys(
    meeting: Meeting, other: str
) -> None:
    """C16: dead jobs take their keys again, in another order than that of their ids."""
    storage = meeting.storage
    storage.jobs.enqueue(NewJob("noop"))
    # The planner believes that there is one job, so that it may begin with the jobs.
    meeting.sql.run("ANALYZE forge_job")
    first, second = meeting.dead("zma"), meeting.dead("amz")
    retry = partial(storage.job_admin.change, JobAction.RETRY)
    found = meeting.deadlocks(
        "m",
        [
            partial(retry, first),
            partial(retry, second) if other == "retry" else meeting.bulk("amz"),
        ],
        HOLD_KEY,
    )

    assert found == 0


def test_outcomes_between_a_bulk_verb_and_those_who_take_keys(meeting: Meeting) -> None:
    """C16: a retry, a bulk verb, outcomes and schedules wait for one another."""
    storage = meeting.storage
    storage.jobs.enqueue_many([NewJob("noop", dedupe_key="n"), NewJob("noop")])
    keyed, plain = sorted(storage.jobs.claim(QUEUE, OWNER, 2), key=lambda job: job.id)
    dead = meeting.dead("ma")

    found = meeting.deadlocks(
        "a",
        [
            partial(storage.job_admin.change, JobAction.RETRY, dead),
            partial(storage.job_admin.change, JobAction.RUN_NOW, [plain.id, dead[0]]),
            partial(storage.jobs.finish, OWNER, [done(keyed), done(plain)]),
            meeting.firing("mn"),
        ],
        HOLD_KEY,
    )

    assert found == 0


def test_bulk_enqueues_and_a_held_key_that_turns_free(meeting: Meeting) -> None:
    """Whoever met it held does not take it behind later keys."""
    jobs = meeting.storage.jobs
    jobs.enqueue(NewJob("noop", dedupe_key="a"))
    (job,) = jobs.claim(QUEUE, OWNER)

    def end_it_and_enqueue() -> None:
        jobs.finish(OWNER, [done(job)])
        meeting.bulk("am")()

    found = meeting.deadlocks("z", [meeting.bulk("amz"), end_it_and_enqueue], HOLD_KEY)

    assert found == 0


def test_bulk_enqueues_and_a_key_that_was_held_for_a_moment(meeting: Meeting) -> None:
    """It is free, then held, then free again; the first call begins anew."""
    jobs = meeting.storage.jobs
    results = []

    with contextlib.closing(meeting.sql.connect()) as other:
        other.cursor().execute(f"BEGIN; {HOLD_KEY}".replace("held", "other"), ["a"])

        def enqueue() -> None:
            results.extend(meeting.bulk("amz")())

        def end_it_and_enqueue() -> None:
            other.cursor().execute("COMMIT")
            other.close()
            wait_until(
                lambda: meeting.sql.value(BEHIND_THE_HOLDER) == 1, "it goes on to z"
            )
            (job,) = jobs.claim(QUEUE, OWNER)
            jobs.finish(OWNER, [done(job)])
            meeting.bulk("am")()

        found = meeting.deadlocks("z", [enqueue, end_it_and_enqueue], HOLD_KEY)

    assert found == 0
    assert [result.is_deduped for result in results] == [True, True, False]


def test_the_limit_of_a_brief_wait_ends_with_its_block(meeting: Meeting) -> None:
    """The commit, which waits for others that notify, is not under it."""

    def limit(transaction: Transaction) -> str:
        transaction.all("now")  # sends what is pending
        assert isinstance(transaction, PostgresTransaction)
        transaction._cursor.execute("SHOW lock_timeout")
        return str(transaction._cursor.fetchall()[0][0])

    def work(transaction: Transaction) -> list[str]:
        limits = [limit(transaction)]
        with transaction.brief_waits():
            limits.append(limit(transaction))
        return [*limits, limit(transaction)]

    before, within, after = meeting.storage.database.write(work)

    assert within == f"{BRIEF_WAIT_MS}ms"
    assert before == after == "0"


def test_a_callers_transaction_gets_its_own_limit_back(meeting: Meeting) -> None:
    limits: list[str] = []

    def look(transaction: Transaction) -> None:
        transaction.all("now")  # sends what is pending
        cursor.execute("SHOW lock_timeout")
        limits.append(str(cursor.fetchall()[0][0]))

    def work(transaction: Transaction) -> None:
        with transaction.brief_waits():
            look(transaction)
        look(transaction)

    with contextlib.closing(meeting.sql.connect()) as caller:
        caller.autocommit = False
        cursor = caller.cursor()
        cursor.execute("SET lock_timeout = '7s'")
        meeting.storage.database.join(caller, work)

    assert limits == [f"{BRIEF_WAIT_MS}ms", "7s"]


def test_a_bulk_enqueue_that_replaces_and_a_bulk_verb(meeting: Meeting) -> None:
    """The keys are in another order than the ids."""
    storage = meeting.storage
    ids = [each.id for each in meeting.bulk("za")()]

    found = meeting.deadlocks(
        ids[0],
        [
            partial(storage.job_admin.change, JobAction.RUN_NOW, ids),
            meeting.bulk("az", replace=("payload",)),
        ],
    )

    assert found == 0


def test_a_bulk_enqueue_that_replaces_and_another(meeting: Meeting) -> None:
    """Whoever waits for a key has not written to the holder of another one."""
    storage = meeting.storage
    job_id = meeting.bulk("z")()[0].id
    meeting.sql.run("UPDATE forge_job SET status = 'dead', completed_at = 1")

    def retry_and_replace() -> None:
        assert storage.job_admin.requeue(job_id)
        meeting.bulk("az", replace=("payload",))()

    found = meeting.deadlocks("m", [meeting.bulk("amz"), retry_and_replace], HOLD_KEY)

    assert found == 0


@pytest.mark.parametrize("is_joined", [False, True])
@pytest.mark.parametrize("window", [None, timedelta(hours=1)])
def test_a_job_to_be_replaced_that_turns_up_late_and_a_bulk_verb(
    meeting: Meeting, window: timedelta | None, *, is_joined: bool
) -> None:
    """It could only be locked out of the order of ids; the call begins anew.

    In a caller's transaction it begins anew from the savepoint.
    """
    storage = meeting.storage
    other = NewJob("noop", dedupe_key="other", dedupe_for=window)
    ids = [each.id for each in meeting.bulk("az")()]
    meeting.sql.run(
        "UPDATE forge_job SET status = 'dead', completed_at = 1 WHERE id = ?", ids[0]
    )
    results = []

    def replace() -> None:
        replacing = [
            NewJob("noop", "1", dedupe_key=key, replace=["payload"]) for key in "az"
        ]
        jobs = [*replacing, other]
        if not is_joined:
            results.extend(storage.jobs.enqueue_many(jobs)[:2])
            return
        with contextlib.closing(meeting.sql.connect()) as caller:
            caller.autocommit = False
            stored = storage.jobs.enqueue_many(jobs, connection=caller)
            caller.commit()
        results.extend(stored[:2])

    def retry_and_change() -> None:
        assert storage.job_admin.requeue(ids[0])
        storage.job_admin.change(JobAction.RUN_NOW, ids)

    found = meeting.deadlocks(ids[1], [replace, retry_and_change])

    assert found == 0
    assert [(each.id, each.is_replaced) for each in results] == [
        (ids[0], True), (ids[1], True)
    ]  # fmt: skip
