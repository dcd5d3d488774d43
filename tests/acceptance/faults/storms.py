"""Heartbeats, outcomes and bulk verbs over the same rows, in opposite orders."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import psycopg2

from flask_forge_jobs import NewJob, Storage, open_storage
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.errors import StorageBusyError
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Throttled,
)
from flask_forge_jobs.model.run_end import JobUpdate
from tests.acceptance.evidence import duplicate_keys
from tests.acceptance.faults.edges import Edge, illegal, watch_edges
from tests.acceptance.faults.fault import Bench
from tests.support.jobs import QUEUE, update_for
from tests.support.sql import Sql
from tests.support.threads import run_together
from tests.support.waiting import wait_until

OWNERS = 3
PRODUCERS = 3
OPERATORS = 3
BEAT_PERIOD_S = 1 / 20
# What one owner has at most, and what there is at least for all.
HELD = 40
JOBS = 200
BATCH = 40
STORE_PERIOD_S = 0.1
# What a producer adds even if enough wait.
MORE = 6
REPLACING_SHARE = 0.3
PRUNING_SHARE, REAPING_SHARE = 0.1, 0.05
# Besides what they do on purpose, threads may wait for a busy machine.
SLACK_S = 120.0
KEYS = 60
WANTED = {"beats", "ends", "claims", *JobAction}
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
_EDGES = (
    "SELECT MIN(job_id), was, became, attempts_before, attempts_after, COUNT(*) "
    "FROM seen_edge GROUP BY was, became, attempts_before, attempts_after"
)
_OUTCOMES: tuple[Callable[[], Outcome], ...] = (
    Done,
    lambda: Failed("no"),
    lambda: Dead("no"),
    Released,
    lambda: Throttled(scope="job"),
)


def deadlock_storm(bench: Bench) -> str:
    """C16."""
    seconds = bench.pick(3, 20, 600)
    before = bench.sql.value(_DEADLOCKS)
    storm = _Storm(bench, seconds)
    storm.rage()
    edges = [(Edge(*edge), int(count)) for *edge, count in bench.sql.run(_EDGES)]
    wrong = illegal(edge for edge, _ in edges)
    assert not wrong, f"{len(wrong)} sorts of illegal edges, such as {wrong[0]}"
    bench.sql.assert_counts_equal_rows()
    assert duplicate_keys(bench.sql) == []
    # The server counts late: one that is made on purpose is counted after all others.
    _deadlock_once(bench.sql)
    wait_until(
        lambda: bench.sql.value(_DEADLOCKS) > before, "the server counts a deadlock"
    )
    found = bench.sql.value(_DEADLOCKS) - before - 1
    assert found == 0, f"{found} deadlocks"
    done = storm.done
    assert not WANTED - set(done), done
    return (
        f"{seconds} s: {done['beats'] / seconds:.0f} beats a second, "
        f"{done['claims']} claims, {done['ends']} outcomes, "
        f"{sum(done[action] for action in JobAction)} bulk calls, "
        f"{sum(count for _, count in edges)} edges, 0 illegal, 0 deadlocks; "
        f"{done['busy']} calls told to come back"
    )


class _Storm:
    """Threads that do everything to the same jobs until the time is over."""

    def __init__(self, bench: Bench, seconds: float) -> None:
        self._bench = bench
        self._seconds = seconds
        self._ends_at = 0.0
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()

    def rage(self) -> None:
        """Do it, and close everything."""
        most = 4 * OWNERS + PRODUCERS + OPERATORS
        settings = replace(self._bench.settings, pool_size=most)
        with contextlib.closing(open_storage(settings, jitter=None)) as storage:
            storage.open()
            storage.queues.ensure(QUEUE)
            watch_edges(self._bench)
            self._ends_at = time.monotonic() + self._seconds
            works: list[Callable[[], None]] = []
            for number in range(OWNERS):
                owner = _Owner(storage, f"owner-{number}", self._source())
                works += [
                    partial(self._repeat, owner.step),
                    partial(self._repeat, owner.beat, BEAT_PERIOD_S),
                ]
            known: deque[str] = deque(maxlen=3 * JOBS)
            for _ in range(PRODUCERS):
                producer = _Producer(storage, known, self._source())
                works.append(partial(self._repeat, producer.step, STORE_PERIOD_S))
            for _ in range(OPERATORS):
                operator = _Operator(storage, known, self._source())
                works.append(partial(self._repeat, operator.step))
            run_together(works, limit_s=self._seconds + SLACK_S)

    def _source(self) -> random.Random:
        return random.Random(self._bench.random.random())

    def _repeat(self, step: Callable[[], str], period_s: float = 0.0) -> None:
        pause = threading.Event()
        while (now := time.monotonic()) < self._ends_at or self._is_short_of(now):
            try:
                name = step()
            except StorageBusyError:
                name = "busy"
            with self._lock:
                self.done[name] += 1
            pause.wait(max(now + period_s - time.monotonic(), 0.0))

    def _is_short_of(self, now: float) -> bool:
        """Whether something has not been done yet, and there is time to do it."""
        with self._lock:
            return bool(WANTED - set(self.done)) and now < self._ends_at + SLACK_S / 2


class _Owner:
    """A worker: claims, reports progress with each beat, and ends in any order."""

    def __init__(self, storage: Storage, name: str, source: random.Random) -> None:
        self._storage = storage
        self._name = name
        self._random = source
        self._held: list[ClaimedJob] = []

    def step(self) -> str:
        """Claim when there is room, else end some."""
        if len(self._held) < HELD and self._random.random() < 0.5:
            self._held += self._storage.jobs.claim(QUEUE, self._name, BATCH // 4)
            return "claims"
        self._random.shuffle(self._held)
        ending, self._held = self._held[:BATCH], self._held[BATCH:]
        written = [self._update(job) for job in ending]
        try:
            self._storage.jobs.finish(self._name, written)
        except StorageBusyError:
            self._held += ending
            raise
        return "ends"

    def _update(self, job: ClaimedJob) -> JobUpdate:
        outcome = self._random.choice(_OUTCOMES)()
        return update_for(job, outcome, failure_delay_s=0, user_cancelled=False)

    def beat(self) -> str:
        """Renew what is held, with progress of some, the newest first."""
        held = sorted((job.id for job in list(self._held)), reverse=True)
        progress = dict.fromkeys(held[:BATCH], '{"done":1}')
        self._storage.jobs.heartbeat(self._name, progress)
        return "beats"


class _Operator:
    """Acts on many jobs at once, with the newest first."""

    def __init__(
        self, storage: Storage, known: deque[str], source: random.Random
    ) -> None:
        self._storage = storage
        self._known = known
        self._random = source

    def step(self) -> str:
        """Act on names, on a filter, or on what is past its time or lost."""
        storage, draw = self._storage, self._random.random()
        if draw < PRUNING_SHARE:
            status = self._random.choice([JobStatus.DONE, JobStatus.DEAD])
            storage.retention.delete(QUEUE, status, 0, BATCH)
            return "prunes"
        if draw < PRUNING_SHARE + REAPING_SHARE:
            storage.jobs.rescue(reversed(storage.jobs.running()))
            return "reaps"
        action = self._random.choice(list(JobAction))
        run_at = None
        if action is JobAction.RESCHEDULE:
            later = timedelta(milliseconds=self._random.randrange(500))
            run_at = from_micros(SystemClock().now_us()) + later
        if draw < 0.5:
            wanted = JobFilter(queues=[QUEUE])
            storage.job_admin.step(action, wanted, limit=BATCH, run_at=run_at)
        else:
            known = list(self._known)
            some = self._random.sample(known, min(BATCH, len(known)))
            some.sort(reverse=True)
            storage.job_admin.change(action, some, run_at=run_at)
        return action


class _Producer:
    """Stores what is missing, some of it under a few keys."""

    def __init__(
        self, storage: Storage, known: deque[str], source: random.Random
    ) -> None:
        self._storage = storage
        self._known = known
        self._random = source

    def step(self) -> str:
        """Fill up to so many that wait, and some more."""
        counts = self._storage.job_reader.statistics().get(QUEUE)
        waiting = 0 if counts is None else counts.counts.pending
        missing = max(JOBS - waiting, 0) // PRODUCERS + MORE
        jobs = [self._job(number) for number in range(missing)]
        self._known += [each.id for each in self._storage.jobs.enqueue_many(jobs)]
        return "stores"

    def _job(self, number: int) -> NewJob:
        if number % 3:
            return NewJob("noop", max_attempts=4)
        key = f"key-{self._random.randrange(KEYS)}"
        names = ("payload",) if self._random.random() < REPLACING_SHARE else ()
        return NewJob("noop", dedupe_key=key, replace=names, max_attempts=4)


def _deadlock_once(sql: Sql) -> None:
    """Let two sessions lock crosswise."""
    with (
        contextlib.closing(sql.connect()) as first,
        contextlib.closing(sql.connect()) as second,
    ):
        sessions = (first, second)
        for number, session in enumerate(sessions):
            session.cursor().execute(f"BEGIN; SELECT pg_advisory_xact_lock({number})")

        def lock_other(number: int) -> int:
            cursor = sessions[number].cursor()
            try:
                cursor.execute(f"SELECT pg_advisory_xact_lock({1 - number})")
            except psycopg2.errors.DeadlockDetected:
                cursor.execute("ROLLBACK")
                return 1
            return 0

        found = run_together([partial(lock_other, number) for number in range(2)])
    assert sum(found) == 1
