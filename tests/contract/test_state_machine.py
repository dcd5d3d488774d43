"""Random histories of jobs: both databases against a few lines of plain Python.

The same steps run on SQLite, on PostgreSQL and on a model that knows the rules and
nothing of SQL; after each step all three must agree on every job. Time passes in equal
jumps everywhere: the clock of the SQLite database is moved, the instants stored in
PostgreSQL are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import JobStateError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.bounds import REPLACEABLE
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.claims import ClaimedJob, RunningJob
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Throttled,
)
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.conftest import empty_tables
from tests.support.backends import long
from tests.support.clocks import SECOND_US, MovingClock
from tests.support.jobs import update_for
from tests.support.sql import Sql

QUEUES = ("a", "b")
OWNERS = ("owner-1", "owner-2")
KEYS = (None, None, "k1", "k2")
# All waits are far longer than a history takes, and jumps far longer than all waits.
WAIT_S = 10_000
JUMP_S = 1_000_000
WINDOW_S = 500_000
CURVE_S = 2 * WAIT_S
TICK_S = 0.001
OUTCOMES: tuple[Outcome, ...] = (
    Done('"ok"'),
    Failed("no"),
    Dead("never"),
    Released(),
    Throttled(WAIT_S, scope="job"),
    Throttled(WAIT_S),
)
CHOICES = st.integers(0, 7)


@dataclass
class ModelJob:
    """What the rules say of one job."""

    id: str
    queue: str
    key: str | None
    priority: int
    max_attempts: int
    due_at: float
    status: str = "pending"
    attempts: int = 0
    claims: int = 0
    throttles: int = 0
    crashes: int = 0
    owner: str | None = None
    is_cancelled: bool = False
    errors: list[str] = field(default_factory=list)
    last_error: str | None = None
    payload: str = "{}"
    enqueued_at: float = 0.0

    @property
    def is_unfinished(self) -> bool:
        return self.status in ("pending", "failed", "in_progress")

    def fail(self, status: str, error: str | None) -> None:
        self.status, self.owner = status, None
        if error is not None:
            self.last_error = error
            self.errors.append(error)

    def seen(self) -> tuple[object, ...]:
        return (
            self.queue, self.key, self.priority, self.status, self.attempts,
            self.throttles, self.crashes, self.owner, self.is_cancelled, self.errors,
            self.last_error, self.payload,
        )  # fmt: skip


@dataclass
class ModelQueue:
    """What the rules say of one queue."""

    is_paused: bool = False
    exponent: int = 0
    gate_until: float | None = None


class Model:
    """The rules of the contract, without a database."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jobs: dict[str, ModelJob] = {}
        self.queues = {name: ModelQueue() for name in QUEUES}

    def holder(self, key: str | None) -> ModelJob | None:
        found = [j for j in self.jobs.values() if j.key == key and j.is_unfinished]
        return found[0] if key and found else None

    def counts_as_holder(self, key: str, window_s: float | None) -> ModelJob | None:
        """Return the youngest job of the window, or else who holds the key."""
        young = [
            job
            for job in self.jobs.values()
            if window_s is not None
            and job.key == key
            and job.enqueued_at > self.now - window_s
        ]
        young.sort(key=lambda job: job.enqueued_at)
        return young[-1] if young else self.holder(key)

    def claim(self, queue_name: str, owner: str, limit: int) -> list[str]:
        queue = self.queues[queue_name]
        if queue.is_paused or (queue.gate_until or 0) > self.now:
            return []
        due = [
            job
            for job in self.jobs.values()
            if job.queue == queue_name
            and job.status in ("pending", "failed")
            and job.due_at <= self.now
        ]
        due.sort(key=lambda job: (job.priority, job.due_at, job.id))
        for job in due[:limit]:
            job.status, job.owner = "in_progress", owner
            job.attempts += 1
            job.claims += 1
        return [job.id for job in due[:limit]]

    def finish(self, claimed: ClaimedJob, owner: str, outcome: Outcome) -> bool:
        job = self.jobs.get(claimed.id)
        if (
            job is None
            or (job.status, job.owner) != ("in_progress", owner)
            or job.claims != claimed.claim
        ):
            return False
        if job.is_cancelled and not isinstance(outcome, Done | Dead):
            job.fail("dead", "cancelled by user")
            if isinstance(outcome, Throttled) and outcome.scope == "queue":
                self._cool_down(job.queue)
            return True
        self._end(job, outcome)
        return True

    def _end(self, job: ModelJob, outcome: Outcome) -> None:
        match outcome:
            case Done():
                job.fail("done", None)
                job.throttles = 0
                queue = self.queues[job.queue]
                if queue.exponent and (queue.gate_until or 0) < self.now - 120:
                    queue.exponent, queue.gate_until = 0, None
            case Dead(message=message):
                job.fail("dead", message)
                job.is_cancelled = False  # it ended by itself
            case Released():
                job.fail("pending", None)
                job.attempts -= 1
                job.due_at = self.now
            case Throttled():
                job.fail("pending", None)
                job.attempts -= 1
                job.throttles += 1
                wait_s: float = WAIT_S
                if outcome.scope == "queue":
                    wait_s = self._cool_down(job.queue)
                job.due_at = self.now + wait_s
            case Failed(message=message) if job.attempts >= job.max_attempts:
                job.fail("dead", message)
            case Failed(message=message):
                job.fail("failed", message)
                job.due_at = self.now + WAIT_S

    def _cool_down(self, queue_name: str) -> float:
        queue = self.queues[queue_name]
        wait_s = min(max(CURVE_S * 2.0**queue.exponent, WAIT_S), 86_400)
        if (queue.gate_until or 0) <= self.now:
            queue.exponent = min(queue.exponent + 1, 30)
        queue.gate_until = max(queue.gate_until or 0, self.now + wait_s)
        return wait_s

    def rescue(self, job_id: str) -> None:
        job = self.jobs[job_id]
        job.crashes += 1
        if job.is_cancelled:
            job.fail("dead", "cancelled by user")
        elif job.crashes >= 3:
            message = "reaped after stale heartbeat: its worker process died 3 times"
            job.fail("dead", message)
        elif job.attempts >= job.max_attempts:
            job.fail("dead", "reaped after stale heartbeat")
        else:
            job.fail("failed", "reaped after stale heartbeat")
            job.due_at = self.now + min(CURVE_S * 2.0**job.attempts, 86_400)

    def requeue(self, job_id: str) -> bool:
        job = self.jobs[job_id]
        if job.status not in ("failed", "dead"):
            return False
        if job.status == "dead" and self.holder(job.key) is not None:
            return False
        job.status, job.due_at, job.is_cancelled = "pending", self.now, False
        job.attempts = job.throttles = job.crashes = 0
        return True

    def delete(self, job_id: str) -> str:
        job = self.jobs[job_id]
        if job.status == "in_progress":
            job.is_cancelled = True
            return "cancel_requested"
        del self.jobs[job_id]
        return "deleted"

    def cancel(self, job_id: str) -> str:
        job = self.jobs[job_id]
        if job.status == "in_progress":
            job.is_cancelled = True
            return "cancel_requested"
        if job.status not in ("pending", "failed"):
            return "refused"
        job.fail("dead", "cancelled by user")
        job.is_cancelled = True
        return "cancelled"

    def reschedule(self, job_id: str, wait_s: float, queue: str) -> bool:
        job = self.jobs[job_id]
        if job.status not in ("pending", "failed"):
            return False
        job.due_at, job.queue = self.now + wait_s, queue
        return True

    def run_now(self, job_id: str) -> bool:
        job = self.jobs[job_id]
        if job.status not in ("pending", "failed"):
            return False
        job.due_at = min(job.due_at, self.now)
        return True

    def counts(self, queue_name: str) -> QueueCounts:
        found: dict[str, int] = {}
        for job in self.jobs.values():
            if job.queue == queue_name:
                is_later = job.status == "pending" and job.due_at > self.now
                name = "scheduled" if is_later else job.status
                found[name] = found.get(name, 0) + 1
        return QueueCounts(**found)


class Subject:
    """One database, with a way to let time pass in it."""

    def __init__(
        self, settings_: DatabaseSettings, clock: MovingClock, sql: Sql | None
    ) -> None:
        ids = UlidGenerator(clock, lambda _bits: 0)
        self.storage: Storage = open_storage(
            settings_, clock=clock, ids=ids, jitter=None
        )
        self.sql = sql
        self.clock = clock
        self.claims: list[ClaimedJob] = []
        self.observed: list[RunningJob] = []
        for name in QUEUES:
            self.storage.queues.ensure(name)
            self.storage.queues.change(
                name,
                {
                    "backoff_enabled": True,
                    "backoff_base_seconds": CURVE_S,
                    "backoff_max_seconds": 86_400,
                },
            )

    def in_s(self, wait_s: float) -> datetime:
        """Return an instant by the database's own clock."""
        now_us = self.sql.now_us() if self.sql else self.clock.now_us()
        return from_micros(now_us + int(wait_s * SECOND_US))

    def seen(self, job_id: str) -> tuple[object, ...]:
        job = self.storage.job_reader.get(job_id)
        return (
            job.queue_name, job.dedupe_key, job.priority, job.status.value,
            job.attempts, job.throttle_attempts, job.crashes, job.slot_id,
            job.cancel_requested_at is not None,
            [entry.message for entry in job.error_history], job.last_error,
            job.payload,
        )  # fmt: skip


class JobHistories(RuleBasedStateMachine):
    """Steps that producers, workers, reapers and operators take in any order."""

    postgres: DatabaseSettings

    def __init__(self) -> None:
        super().__init__()
        empty_tables(self.postgres)
        self.clock = MovingClock()
        self.model = Model()
        self.subjects = [
            Subject(DatabaseSettings(), self.clock, None),
            Subject(self.postgres, self.clock, Sql(self.postgres)),
        ]
        self.ids: list[str] = []
        self.claims: list[tuple[ClaimedJob, str]] = []

    def teardown(self) -> None:
        for subject in self.subjects:
            subject.storage.close()

    def on_all(self, work: Callable[[Storage], Any], expected: object) -> None:
        """Do one thing on both databases; both must answer what the model says."""
        answers = [work(subject.storage) for subject in self.subjects]
        assert answers == [expected, expected]

    def tick(self) -> None:
        """Let a moment pass, so that no two steps share an instant."""
        self.clock.move(TICK_S)
        self.model.now += TICK_S

    def pick(self, choice: int) -> str:
        return self.ids[choice % len(self.ids)]

    def known(self) -> bool:
        return bool(self.ids)

    def claimed(self) -> bool:
        return bool(self.claims)

    @rule(
        queue=st.sampled_from(QUEUES),
        key=st.sampled_from(KEYS),
        priority=st.integers(-1, 1),
        max_attempts=st.integers(1, 3),
    )
    def enqueue(
        self, queue: str, key: str | None, priority: int, max_attempts: int
    ) -> None:
        self.tick()
        new = NewJob(
            "noop", queue_name=queue, dedupe_key=key, priority=priority,
            max_attempts=max_attempts,
        )  # fmt: skip
        first, second = (s.storage.jobs.enqueue(new) for s in self.subjects)
        holder = self.model.holder(key)
        # Each database has its own clock.
        assert first._replace(scheduled_at_us=0) == second._replace(scheduled_at_us=0)
        assert first.is_deduped == (holder is not None)
        if holder is not None:
            assert first.id == holder.id
            return
        self.ids.append(first.id)
        self.model.jobs[first.id] = ModelJob(
            first.id, queue, key, priority, max_attempts, self.model.now,
            enqueued_at=self.model.now,
        )  # fmt: skip

    @rule(
        key=st.sampled_from(["k1", "k2"]),
        payload=st.sampled_from(["1", "2"]),
        wait_s=st.sampled_from([0, WAIT_S]),
        window_s=st.sampled_from([None, WINDOW_S]),
        names=st.sets(st.sampled_from(REPLACEABLE)),
    )
    def enqueue_unique(
        self, key: str, payload: str, wait_s: int, window_s: int | None, names: set[str]
    ) -> None:
        """Keep a key for a while, and replace what a pending job has."""
        self.tick()
        first, second = (
            subject.storage.jobs.enqueue(
                NewJob(
                    "noop", payload, queue_name="a", dedupe_key=key, replace=names,
                    run_at=subject.in_s(wait_s),
                    dedupe_for=timedelta(seconds=window_s) if window_s else None,
                )
            )
            for subject in self.subjects
        )  # fmt: skip
        assert first._replace(scheduled_at_us=0) == second._replace(scheduled_at_us=0)
        due_at = self.model.now + wait_s
        holder = self.model.holder(key)
        is_replaced = bool(names) and holder is not None and holder.status == "pending"
        if not is_replaced:
            holder = self.model.counts_as_holder(key, window_s)
        assert (first.is_deduped, first.is_replaced) == (
            holder is not None, is_replaced,
        )  # fmt: skip
        if holder is None:
            self.ids.append(first.id)
            self.model.jobs[first.id] = ModelJob(
                first.id, "a", key, 0, 5, due_at, payload=payload,
                enqueued_at=self.model.now,
            )  # fmt: skip
            return
        assert first.id == holder.id
        if is_replaced and "payload" in names:
            holder.payload = payload
        if is_replaced and "run_at" in names:
            holder.due_at = due_at

    @rule(
        queue=st.sampled_from(QUEUES),
        owner=st.sampled_from(OWNERS),
        limit=st.integers(1, 3),
    )
    def claim(self, queue: str, owner: str, limit: int) -> None:
        self.tick()
        expected = self.model.claim(queue, owner, limit)
        first, second = (
            s.storage.jobs.claim(queue, owner, limit) for s in self.subjects
        )
        assert [job.id for job in first] == [job.id for job in second] == expected
        self.claims.extend((job, owner) for job in first)

    @precondition(claimed)
    @rule(choice=CHOICES, outcome=st.sampled_from(OUTCOMES), keep=st.booleans())
    def finish(self, choice: int, outcome: Outcome, *, keep: bool) -> None:
        """End a run; a kept claim is ended again later, which must be refused."""
        self.tick()
        claimed, owner = self.claims[choice % len(self.claims)]
        if not keep:
            self.claims.remove((claimed, owner))
        is_accepted = self.model.finish(claimed, owner, outcome)

        def work(storage: Storage) -> bool:
            update = update_for(
                claimed, outcome, failure_delay_s=WAIT_S, user_cancelled=False
            )
            return storage.jobs.finish(owner, [update]) == []

        self.on_all(work, is_accepted)

    @precondition(known)
    @rule(choice=CHOICES)
    def delete(self, choice: int) -> None:
        self.tick()
        job_id = self.pick(choice)
        expected = self.model.delete(job_id)
        if expected == "deleted":
            self.ids.remove(job_id)
        self.on_all(lambda storage: storage.job_admin.delete(job_id), expected)

    @precondition(known)
    @rule(choice=CHOICES)
    def requeue(self, choice: int) -> None:
        self.tick()
        job_id = self.pick(choice)
        expected = self.model.requeue(job_id)
        self.on_all(lambda storage: storage.job_admin.requeue(job_id), expected)

    @rule(status=st.sampled_from(["failed", "dead"]))
    def requeue_all(self, status: str) -> None:
        self.tick()
        waiting = sorted(j.id for j in self.model.jobs.values() if j.status == status)
        changed = sum(self.model.requeue(job_id) for job_id in waiting)
        self.on_all(
            lambda storage: (
                storage.job_admin.step(
                    JobAction.RETRY, JobFilter(statuses=(JobStatus(status),))
                ).change.changed
            ),
            changed,
        )

    @precondition(known)
    @rule(choice=CHOICES)
    def cancel(self, choice: int) -> None:
        self.tick()
        job_id = self.pick(choice)
        expected = self.model.cancel(job_id)

        def work(storage: Storage) -> str:
            try:
                return storage.job_admin.cancel(job_id)
            except JobStateError:
                return "refused"

        self.on_all(work, expected)

    @precondition(known)
    @rule(
        choice=CHOICES,
        wait_s=st.sampled_from([0, WAIT_S]),
        queue=st.sampled_from(QUEUES),
    )
    def reschedule(self, choice: int, wait_s: int, queue: str) -> None:
        self.tick()
        job_id = self.pick(choice)
        expected = self.model.reschedule(job_id, wait_s, queue)
        for subject in self.subjects:
            run_at = subject.in_s(wait_s)
            try:
                subject.storage.job_admin.reschedule(
                    job_id, run_at=run_at, queue_name=queue
                )
                is_done = True
            except JobStateError:
                is_done = False
            assert is_done is expected, subject.storage.backend

    @precondition(known)
    @rule(choice=CHOICES)
    def run_now(self, choice: int) -> None:
        self.tick()
        job_id = self.pick(choice)
        expected = self.model.run_now(job_id)
        self.on_all(lambda storage: storage.job_admin.run_now(job_id), expected)

    @rule(queue=st.sampled_from(QUEUES), is_paused=st.booleans())
    def pause(self, queue: str, *, is_paused: bool) -> None:
        self.model.queues[queue].is_paused = is_paused
        for subject in self.subjects:
            subject.storage.queues.change(queue, {"paused": is_paused})

    @rule()
    def observe(self) -> None:
        """Note the heartbeats, as a reaper does."""
        for subject in self.subjects:
            subject.observed = subject.storage.jobs.running()

    @rule(owner=st.sampled_from(OWNERS))
    def heartbeat(self, owner: str) -> None:
        self.tick()
        running = [job for job in self.model.jobs.values() if job.owner == owner]
        expected = (
            {(job.id, job.claims) for job in running},
            {job.id for job in running if job.is_cancelled},
        )

        def work(storage: Storage) -> tuple[object, object]:
            report = storage.jobs.heartbeat(owner, {})
            return set(report.owned), set(report.cancelled)

        self.on_all(work, expected)

    @rule()
    def rescue(self) -> None:
        """Rescue what was observed and has not moved since."""
        self.tick()
        sqlite, postgres = self.subjects
        running = {(j.id, j.attempts, j.heartbeat_at_us)
                   for j in sqlite.storage.jobs.running()}  # fmt: skip
        stale = {
            job.id
            for job in sqlite.observed
            if (job.id, job.attempts, job.heartbeat_at_us) in running
        }
        for job_id in sorted(stale):
            self.model.rescue(job_id)
        for subject in (sqlite, postgres):
            assert subject.storage.jobs.rescue(subject.observed) == len(stale)

    @rule()
    def let_time_pass(self) -> None:
        self.clock.move(JUMP_S)
        self.model.now += JUMP_S
        for subject in self.subjects:
            if subject.sql is not None:
                subject.sql.age(JUMP_S)
                # What was observed moves along with the rows.
                subject.observed = [
                    job._replace(
                        heartbeat_at_us=job.heartbeat_at_us - JUMP_S * SECOND_US
                    )
                    for job in subject.observed
                ]

    @rule()
    def fold(self) -> None:
        for subject in self.subjects:
            subject.storage.job_admin.fold_counts(0)

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        for job_id, job in self.model.jobs.items():
            for subject in self.subjects:
                assert subject.seen(job_id) == job.seen(), subject.storage.backend

    @invariant()
    def counts_equal_rows(self) -> None:
        """I8"""
        expected = {
            name: counts for name in QUEUES if (counts := self.model.counts(name)).total
        }
        for subject in self.subjects:
            statistics = subject.storage.job_reader.statistics()
            found = {name: each.counts for name, each in statistics.items()}
            assert found == expected, subject.storage.backend

    @invariant()
    def queues_are_as_the_model_says(self) -> None:
        for name, queue in self.model.queues.items():
            for subject in self.subjects:
                stored = subject.storage.queues.get(name)
                assert stored.paused == queue.is_paused
                assert stored.throttle_attempts == queue.exponent
                assert (stored.throttled_until is None) == (queue.gate_until is None)


def compare_histories(
    database: DatabaseSettings, *, examples: int, steps: int, seed_: int | None = None
) -> None:
    """Run random histories on SQLite, on PostgreSQL and on the model.

    Args:
        database: On PostgreSQL; its tables are emptied.
        examples: How many histories.
        steps: Most steps of each.
        seed_: Of everything random; the same histories each time by default.

    Raises:
        AssertionError: They differ; the shortest history that shows it is printed.
    """
    machine: type[JobHistories] = type(
        "JobHistoriesHere", (JobHistories,), {"postgres": database}
    )
    if seed_ is not None:
        seed(seed_)(machine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=seed_ is None,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("examples", [20, long(40)])
def test_random_histories_agree_everywhere(
    postgres_database: str, examples: int
) -> None:
    """``tests.acceptance.histories`` draws others, more and longer ones."""
    database = DatabaseSettings.from_url(postgres_database)

    compare_histories(database, examples=examples, steps=30)
