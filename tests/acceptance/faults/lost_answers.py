"""The server commits and the answer gets lost: nothing may happen twice.

Most calls try again by themselves. On a busy machine, where a call that has lost its
answer is as late as one of a server that is away, the caller gets the error, and asks
again as the error says it may.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

from flask_forge_jobs import EnqueueResult, NewJob, Storage
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.catalogue import load_statements
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.log_texts import STRAY, pattern
from tests.acceptance.faults.outages import plan_of, require_sound
from tests.acceptance.kill_workers import Driver
from tests.support.proxy import Proxy, proxied
from tests.support.sql import Sql
from tests.support.threads import run_together

THREADS = 8
BATCH = 3
# Each call makes a connection more, which takes a second where the machine is busy.
LIMIT_S = 900.0
ASK_AGAIN_S = 0.1
# The lease is no part of this fault, and a busy machine may outlast a short one.
LEASE_S = 15.0
# Of the transactions of workers that claim or finish.
SHARE_LOST = 0.5
# What the repeated call must not do a second time has this name in its text.
_NAME = re.compile(rb"'(once-[a-z]+-\d+)'")
_STRAY = pattern(STRAY)


T = TypeVar("T")


class LoseOnce:
    """Loses the first answer to each transaction that a name occurs in.

    Args:
        statement: Only of transactions with this statement of the catalogue.
    """

    def __init__(self, statement: str) -> None:
        self._beginning = _beginning_of(statement)
        self._seen: set[bytes] = set()

    def __call__(self, transaction: bytes) -> bool:
        """Whether this one is lost."""
        found = _NAME.search(transaction)
        if found is None or self._beginning not in transaction:
            return False
        is_new = found[1] not in self._seen
        self._seen.add(found[1])
        return is_new


def _beginning_of(statement: str) -> bytes:
    """Return the text of a statement up to its first parameter."""
    return load_statements("postgres")[statement].sql.partition("%(")[0].encode()


@contextlib.contextmanager
def _losing(proxy: Proxy, statement: str, count: int) -> Iterator[None]:
    """Lose one answer of each call within the block, and check that so many were."""
    before = proxy.weather.lost
    proxy.weather.loses = LoseOnce(statement)
    yield
    proxy.weather.loses = None
    lost = proxy.weather.lost - before
    assert lost == count, f"{lost} answers to {statement!r} got lost, not {count}"


def lost_answers(bench: Bench) -> str:
    """C4."""
    count = bench.pick(16, 500, 500)
    settings = bench.settings
    with proxied(settings) as proxy:
        through = DatabaseSettings.from_url(proxy.url_of(settings))
        with contextlib.closing(open_storage(through)) as storage:
            storage.open()
            _enqueues(storage, bench.sql, proxy, count)
            _bulks(storage, bench.sql, proxy, count)
            _finishes(storage, bench.sql, proxy, count)
            _firings(storage, bench.sql, proxy, count)
        bench.sql.run("DELETE FROM forge_cron")
        bench.sql.run("DELETE FROM forge_job")
        fleet = _fleet(bench, proxy, count)
    return f"{count} each of enqueue, bulk, finish and firing, each once; {fleet}"


def _spread(work: Callable[[int], None], count: int) -> None:
    """Call something with each number, on several threads."""

    def some(first: int) -> None:
        for number in range(first, count, THREADS):
            work(number)

    run_together([partial(some, first) for first in range(THREADS)], limit_s=LIMIT_S)


def _insist(ask: Callable[[], T]) -> T:
    """Ask until there is an answer."""
    while True:
        try:
            return ask()
        except (StorageUnavailableError, StorageBusyError):
            threading.Event().wait(ASK_AGAIN_S)


def _enqueue(storage: Storage, job: NewJob) -> EnqueueResult:
    """Store a job; where nobody knows whether it is stored, again with its id."""

    def ask() -> EnqueueResult:
        nonlocal job
        try:
            return storage.jobs.enqueue(job)
        except StorageOutcomeUnknownError as error:
            job = replace(job, job_id=error.job_ids[0])
            raise

    result = _insist(ask)
    assert not result.is_deduped or job.job_id, f"{job.kind} is taken for a repeat"
    return result


def _enqueues(storage: Storage, sql: Sql, proxy: Proxy, count: int) -> None:
    """One statement that is a transaction of its own."""
    storage.jobs.enqueue(NewJob("known", queue_name="single"))

    def enqueue(number: int) -> None:
        kind = f"once-single-{number}"
        result = _enqueue(storage, NewJob(kind, queue_name="single"))
        found = sql.run("SELECT id FROM forge_job WHERE kind = ?", kind)
        assert found == [(result.id,)], f"{kind} is there {len(found)} times"

    with _losing(proxy, "enqueue_early", count):
        _spread(enqueue, count)


def _bulks(storage: Storage, sql: Sql, proxy: Proxy, count: int) -> None:
    """Rows by ``COPY``, with and without a request key."""

    def enqueue(number: int) -> None:
        kind = f"once-bulk-{number}"
        key = RequestKey("someone", kind, "enqueue")
        jobs = [NewJob(kind, queue_name="bulk")] * BATCH
        results = _insist(partial(storage.jobs.enqueue_many, jobs, key))
        found = sql.run("SELECT id FROM forge_job WHERE kind = ? ORDER BY id", kind)
        assert found == [(each.id,) for each in results], f"{kind}: {found}"

    with _losing(proxy, "append_jobs", count):
        _spread(enqueue, count)


def _finishes(storage: Storage, sql: Sql, proxy: Proxy, count: int) -> None:
    def finish(number: int) -> None:
        queue, owner = f"queue-{number}", f"once-finish-{number}"
        _enqueue(storage, NewJob("ends", queue_name=queue))
        # Its message is not that of an end, whose answer is lost.
        claim = partial(storage.jobs.exchange, owner, (), {queue: 1}, promote=False)
        (job,) = _insist(claim).claimed
        ended = JobUpdate(job, JobStatus.DONE, result="1")
        refused = _insist(partial(storage.jobs.finish, owner, [ended]))
        assert refused == [], f"{owner} was refused"
        rows = sql.run(
            "SELECT status, attempts, worker_id FROM forge_job WHERE id = ?", job.id
        )
        assert rows == [("done", 1, None)], f"{owner}: {rows}"

    with _losing(proxy, "exchange", count):
        _spread(finish, count)
    sql.assert_counts_equal_rows()


def _firings(storage: Storage, sql: Sql, proxy: Proxy, count: int) -> None:
    def fire(number: int) -> None:
        name = f"once-fire-{number}"
        yearly = ScheduleDefinition(
            name, "fired", "0 0 1 1 *", queue_name="cron", catch_up="once"
        )
        _insist(partial(storage.cron.create, yearly))
        sql.run(
            "UPDATE forge_cron SET next_fire_at = ? WHERE name = ?", sql.now_us(), name
        )
        _insist(partial(storage.cron.fire_due, lambda _: "cron"))
        rows = sql.run("SELECT COUNT(*) FROM forge_job WHERE schedule_name = ?", name)
        assert rows == [(1,)], f"{name} has {rows} jobs"

    with _losing(proxy, "fire", count):
        for number in range(count):
            fire(number)


def _fleet(bench: Bench, proxy: Proxy, count: int) -> str:
    """Real workers, whose claims and outcomes get lost."""
    claims, finishes = map(_beginning_of, ("claim_alone", "exchange"))
    lost = {"claims": 0, "outcomes": 0}
    # Most claims travel with outcomes; those of idle workers alone are fewer.
    least = {"claims": count // 4, "outcomes": count}

    def go_on(driver: Driver) -> None:
        """Store more jobs, one by one: a busy machine puts many in one message."""
        assert isinstance(driver, UnderFault)
        while any(lost[what] < number for what, number in least.items()):
            driver.probe()

    def loses(transaction: bytes) -> bool:
        ends, takes = finishes in transaction, claims in transaction
        if not (ends or takes) or bench.random.random() >= SHARE_LOST:
            return False
        lost["claims"] += takes
        lost["outcomes"] += ends
        return True

    proxy.weather.loses = loses
    plan = plan_of(bench, jobs=20 * count, lease_s=LEASE_S)
    driver = UnderFault(
        plan,
        bench.url,
        bench.folder,
        go_on,
        duration_s=count / 5,
        worker_url=proxy.url_of(bench.settings),
    )
    report = driver.run()
    proxy.weather.loses = None
    require_sound(report)
    strays = len(_STRAY.findall(driver.fleet.log.read_text()))
    return (
        f"workers lost {lost['claims']} claims and {lost['outcomes']} outcomes of "
        f"{len(driver.evidence.rows)} jobs, {strays} claimed unawares and given back, "
        "0 extra runs"
    )
