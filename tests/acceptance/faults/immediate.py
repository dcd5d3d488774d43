"""Row D3: every call that writes to SQLite takes the lock as it begins.

A transaction that begins without it and wants to write later fails at once when another
one has written meanwhile, however long it was told to wait. So each public call of each
store is made while every statement of every connection is heard. Calls that only read
are named; one that is neither made nor named is a violation, so no new call is missed.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from flask_forge_jobs import NewJob, Storage, open_storage
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import BulkRunState, NewBulkRun, RunAuthor
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.gauges import Gauges
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.limits import RateLimitDefinition
from flask_forge_jobs.model.metrics import MetricKey, Tally
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.batch_checker import BatchFault
from flask_forge_jobs.storage.bulk_runs import RunBatches
from tests.acceptance.faults.fault import Bench
from tests.storage.sqlite.test_database import WRITES
from tests.support.jobs import OWNER, QUEUE, claim_one, enqueue

_WRITING = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM)\b")
_BEGIN, _END = re.compile(r"BEGIN\b"), re.compile(r"(COMMIT|ROLLBACK)\b")
YEARLY = ScheduleDefinition("yearly", "tick", "0 0 1 1 *")
TOLD_OF_CANCELLED = {"noop": {Ending.CANCELLED: FollowUp("tell", "job", QUEUE, 0, 1)}}
A_MINUTE = {MetricKey(60, 0, QUEUE, "noop"): Tally(completed=1)}
RECORD = AuditRecord("me", "act", None, "127.0.0.1", "request", 200, 1, "{}")


def carry_out_in_bulk(storage: Storage) -> None:
    """Make every writing call about a bulk run."""
    author = RunAuthor("me", "127.0.0.1", "request", "{}")
    run = NewBulkRun(action=JobAction.RETRY, jobs={}, matched=1, author=author)
    runs = storage.bulk_runs
    run_id = runs.add(run, "me")
    runs.take(run_id, "me")
    runs.advance(RunBatches(storage.database, runs.get(run_id), "me"), 0)
    runs.stop(run_id)
    runs.end(run_id, "me", BulkRunState.STOPPED)


def wait_and_count(storage: Storage) -> None:
    """Make every writing call about links and batches."""
    child = storage.jobs.enqueue(NewJob("noop", after=[enqueue(storage)]))
    storage.links.release(child.id)
    batches = storage.batches
    batch_id = batches.create(NewBatch("all"), [NewJob("noop")], is_sealed=False).id
    batches.add(batch_id, [NewJob("noop")])
    batches.seal(batch_id)
    batches.cancel(batch_id)
    batches.retry(batch_id)
    batches.cancel(batch_id)
    batches.fold([batch_id])
    batches.tend()
    storage.batch_checker.correct(BatchFault(batch_id, "all", 1, 0))
    storage.batch_checker.drop_ended_holds()
    batches.delete(batch_id)


# What those of the contract leave out.
_MORE: dict[str, Callable[[Storage], object]] = {
    "enqueue with a key": lambda s: s.jobs.enqueue(
        NewJob("noop"), RequestKey("key", "store", "text")
    ),
    "claim_one": lambda s: s.jobs.claim_one(enqueue(s), OWNER),
    "cleanup": lambda s: s.job_admin.cleanup_superseded_retries(),
    "show": lambda s: s.workers.show("host", None, []),
    "clear_cooldowns": lambda s: s.queues.clear_cooldowns(None),
    "append": lambda s: s.audit.append(RECORD),
    "prune audit": lambda s: s.audit.prune(90),
    "refuse": lambda s: s.refusals.add(RECORD),
    "flush refusals": lambda s: s.refusals.flush(is_last=True),
    "create schedule": lambda s: s.cron.create(YEARLY),
    "change schedule": lambda s: s.cron.change("yearly", lambda each: each.definition),
    "fire_due": lambda s: s.cron.fire_due(lambda _: QUEUE),
    "delete schedule": lambda s: s.cron.delete("yearly"),
    "declare schedules": lambda s: s.cron.declare("app", [YEARLY]),
    "put bucket": lambda s: s.rate_limits.put("api", 5, 1.0),
    "acquire": lambda s: s.rate_limits.acquire("api"),
    "take_turn": lambda s: s.rate_limits.take_turn("api"),
    "drain": lambda s: s.rate_limits.drain("api"),
    "delete bucket": lambda s: s.rate_limits.delete("api"),
    "declare bucket": lambda s: s.rate_limits.declare(
        RateLimitDefinition("mail", 5, 1.0)
    ),
    "take permit": lambda s: [
        enqueue(s),
        s.concurrency.acquire(claim_one(s), OWNER, "permit", 1),
    ],
    "keep a step": lambda s: [
        enqueue(s),
        s.steps.keep(claim_one(s).run_id, OWNER, "fetch", "1"),
    ],
    "flush": lambda s: s.flusher.flush(),
    "add metrics": lambda s: s.metrics.add("host", 1, A_MINUTE, {}),
    "append metrics": lambda s: s.metrics.append(
        [(60, QUEUE, "noop", 60, "", 1, 1, 0, 1, 0, 0, 0, "", "", "")]
    ),
    "fold metrics": lambda s: s.metrics.fold(2**50),
    "prune metrics": lambda s: s.metrics.prune(2**50),
    "put samples": lambda s: s.samples.put("host", {}),
    "prune samples": lambda s: s.samples.prune(2**50),
    "put gauges": lambda s: s.gauges.put(0, {QUEUE: Gauges()}),
    "append gauges": lambda s: s.gauges.append([(60, QUEUE, 60, 1, 0, 0, 0, 0, 0)]),
    "prune gauges": lambda s: s.gauges.prune(2**50),
    "fold errors": lambda s: s.errors.fold(0),
    "expire errors": lambda s: s.errors.expire(),
    "cool down": lambda s: s.queues.cool_down([QUEUE], 60.0),
    "delete finished": lambda s: s.retention.delete(QUEUE, JobStatus.DONE, 0),
    "declare follow-ups": lambda s: s.follow_ups.declare("app", TOLD_OF_CANCELLED),
    "carry out in bulk": carry_out_in_bulk,
    "wait and count": wait_and_count,
    "store a follow-up": lambda s: s.job_admin.cancel(enqueue(s)),
}
_READING = {
    "JobQueue": {"running", "held", "has_work", "cancelled", "next_due_in_s"},
    "QueueConfig": {"get", "all", "waiting", "require"},
    "WorkerRegistry": {
        "all", "count_slots", "heartbeat_ages", "live", "overview", "services", "slots",
    },
    "AuditLog": {"page"},
    "CronStorage": {"all", "count", "get", "ahead"},
    "RateLimits": {"get", "all", "count"},
    "Retention": {"expired"},
    "MetricStore": {
        "charts", "timelines", "timelines_of_kinds", "kinds", "counters",
        "now_us",
    },
    "SampleStore": {"within", "within_and_names", "health"},
    "KindFigures": {"active", "of_last_day", "pace", "within"},
    "JobSearch": {"page"},
    "BulkRunStore": {"get", "lapsed", "newest"},
    "ConcurrencyLimits": {"held", "waiting"},
    "GaugeStore": {"within"},
    "AttentionReader": {"common_errors", "facts"},
    "CronHistory": {"fired", "first", "lines", "runs"},
    "ErrorStore": {"dead", "failing", "group", "page"},
    "EvidenceStore": {"around_job", "around_queue", "job", "job_in_full", "queue"},
    "LogStore": {"page", "tail"},
    "BatchChecker": {"look"},
    "BatchStore": {"mint"},
    "LinkStore": {"of_job", "parents_of"},
    "StepStore": {"kept"},
    "WorkerReader": {"burden", "known", "longest_runs"},
    # Calls of its own flush.
    "Flusher": {"is_running", "close", "start"},
}  # fmt: skip
# They have no call that writes, or no database.
_WITHOUT = {"job_reader", "activity", "recorder", "database"}


class Ear:
    """Hears every statement of the connections that are opened from now on."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.begins = 0
        self.alone = 0
        self._open: dict[int, str] = {}
        self._last: dict[int, str] = {}

    def connect(self, connect: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Open a connection and listen to it."""
        connection = connect(*args, **options)
        number = id(connection)
        self._open.pop(number, None)
        connection.set_trace_callback(functools.partial(self._hear, number))
        return connection

    def _hear(self, number: int, statement: str) -> None:
        if statement.startswith("--"):
            return  # what a trigger does
        if _BEGIN.match(statement):
            self._open[number] = statement
            self.begins += statement == "BEGIN IMMEDIATE"
        elif _END.match(statement):
            self._open.pop(number, None)
        elif _WRITING.search(statement) and not statement.startswith("CREATE"):
            begun = self._open.get(number)
            # One statement of its own takes the lock as it begins.
            self.alone += begun is None
            if begun not in (None, "BEGIN IMMEDIATE"):
                self.faults.append(f"{begun}; {statement[:80]}")


def every_write_is_immediate(bench: Bench) -> str:
    """D3: make every writing call and listen."""
    ear = Ear()
    connect = functools.partial(ear.connect, sqlite3.connect)
    called: set[str] = set()
    with (
        mock.patch.object(sqlite3, "connect", connect),
        contextlib.closing(open_storage(bench.settings)) as storage,
        _noted(storage, called),
    ):
        storage.open()
        storage.queues.ensure("empty")
        for work in (*WRITES.values(), *_MORE.values()):
            enqueue(storage)
            # Some calls leave no queue, or nothing that may be claimed.
            storage.queues.ensure(QUEUE)
            storage.queues.clear_cooldowns(None)
            storage.queues.set_paused_many(None, paused=False)
            work(storage)
        missed = _writing_calls(storage) - called
    assert not ear.faults, ear.faults
    assert not missed, f"not made: {', '.join(sorted(missed))}"
    made = len(_writing_calls(storage))
    return (
        f"{made} of {made} calls, {ear.begins} transactions begun IMMEDIATE, "
        f"{ear.alone} single statements, 0 deferred writes"
    )


def _stores(storage: Storage) -> list[type]:
    lazy = [
        name
        for each in Storage.__mro__
        for name, value in vars(each).items()
        if isinstance(value, functools.cached_property)
    ]
    names = {*vars(storage), *lazy}
    return [
        type(getattr(storage, name))
        for name in sorted(names - _WITHOUT)
        if not name.startswith("_")
    ]


def _public(store: type) -> list[str]:
    return [
        name
        for name, value in vars(store).items()
        if callable(value) and not name.startswith("_")
    ]


def _writing_calls(storage: Storage) -> set[str]:
    return {
        f"{store.__name__}.{name}"
        for store in _stores(storage)
        for name in _public(store)
        if name not in _READING.get(store.__name__, set())
    }


@contextlib.contextmanager
def _noted(storage: Storage, called: set[str]) -> Iterator[None]:
    """Note which public calls of the stores are made."""
    with contextlib.ExitStack() as stack:
        for store in _stores(storage):
            for name in _public(store):
                stack.enter_context(_noting(store, name, called))
        yield


def _noting(
    store: type, name: str, called: set[str]
) -> contextlib.AbstractContextManager[object]:
    function = getattr(store, name)

    @functools.wraps(function)
    def noting(*args: Any, **options: Any) -> Any:
        called.add(f"{store.__name__}.{name}")
        return function(*args, **options)

    return mock.patch.object(store, name, noting)
