"""Random histories of jobs that wait for one another and of batches.

The same steps run on SQLite, on PostgreSQL and on a model that knows the rules. After
each step all three agree on every job and every batch, the counts of batches equal
their rows, and no job waits without a link that may still end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import BatchEndedError, JobStateError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.batches import BatchEvent, NewBatch
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, FollowUp, Outcome
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.conftest import empty_tables
from tests.support.clocks import MovingClock
from tests.support.jobs import OWNER, QUEUE, update_for, walk
from tests.support.sql import Sql

CHOICES = st.integers(0, 11)
POLICIES = ("cancel", "run", "hold")
TOLD = {e: FollowUp(e.value, "ended", "mail", 0, 5) for e in BatchEvent}
UNFINISHED = ("pending", "in_progress", "failed")


@dataclass
class ModelBatch:
    """What the rules say of one batch."""

    id: str
    is_sealed: bool
    cancel_on_dead: bool
    total: int = 0
    done: int = 0
    dead: int = 0
    removed: int = 0
    is_cancelled: bool = False
    events: set[str] = field(default_factory=set)

    @property
    def has_ended(self) -> bool:
        return self.is_sealed and self.total == self.done + self.dead + self.removed


@dataclass
class ModelJob:
    """What the rules say of one job."""

    id: str
    batch: ModelBatch | None
    policy: str
    # By parent: None while it is unfinished.
    links: dict[str, str | None]
    status: str = "pending"
    # Also of one that died with a parent.
    is_waiting: bool = False

    def seen(self) -> tuple[str, bool]:
        return self.status, self.is_waiting


class Model:
    """The rules, without a database."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.batches: dict[str, ModelBatch] = {}

    def add(self, job: ModelJob) -> None:
        self.jobs[job.id] = job
        if job.batch is not None:
            job.batch.total += 1
        job.is_waiting = bool(job.links)
        for parent_id in list(job.links):
            state = self.jobs[parent_id].status
            if state in ("done", "dead"):
                self._link(job, parent_id, state)
        self._look_at(job)
        self.settle()

    @staticmethod
    def _link(job: ModelJob, parent_id: str, state: str) -> None:
        if job.links.get(parent_id, "") is None and (
            state == "done" or job.policy != "hold"
        ):
            job.links[parent_id] = state

    def _look_at(self, job: ModelJob) -> None:
        if not job.is_waiting or job.status != "pending":
            return
        ends = set(job.links.values())
        if job.policy == "cancel" and ends & {"dead", "deleted"}:
            self._end(job, "dead")
        elif None not in ends:
            job.is_waiting = False

    def _end(self, job: ModelJob, state: str) -> None:
        was_unfinished = job.status in UNFINISHED
        if state == "deleted":
            del self.jobs[job.id]
        else:
            job.status = state
        if job.batch is not None and was_unfinished:
            name = "removed" if state == "deleted" else state
            setattr(job.batch, name, getattr(job.batch, name) + 1)
        if was_unfinished:
            for child in sorted(self.jobs.values(), key=lambda each: each.id):
                if job.id in child.links:
                    self._link(child, job.id, state)
                    self._look_at(child)

    def end(self, job_id: str, state: str) -> None:
        self._end(self.jobs[job_id], state)
        self.settle()

    def cancel(self, job_id: str) -> None:
        job = self.jobs[job_id]
        job.is_waiting = False
        self.end(job_id, "dead")

    def retry(self, job_id: str, *, dependents: bool) -> bool:
        job = self.jobs[job_id]
        if job.status not in ("failed", "dead"):
            return False
        if job.status == "dead" and job.batch is not None:
            job.batch.dead -= 1
            job.batch.is_cancelled = False
        job.status, job.is_waiting = "pending", False
        if dependents:
            self._reopen(job_id)
        self.settle()
        return True

    def retry_all(self) -> int:
        """Retry every job with its dependents; return how many have come back."""
        count = 0
        for status in ("dead", "failed"):
            chosen = [each for each in self.jobs.values() if each.status == status]
            count += len(chosen)
            for job in [each for each in chosen if not self._died_with_another(each)]:
                self.retry(job.id, dependents=True)
        return count

    def _died_with_another(self, job: ModelJob) -> bool:
        if not (job.status == "dead" and job.is_waiting and job.policy == "cancel"):
            return False
        return any(
            end == "dead" and parent_id in self.jobs
            and self.jobs[parent_id].status == "dead"
            for parent_id, end in job.links.items()
        )  # fmt: skip

    def _reopen(self, parent_id: str) -> None:
        for child in sorted(self.jobs.values(), key=lambda each: each.id):
            if (
                child.links.get(parent_id) == "dead"
                and child.policy == "cancel"
                and child.status == "dead"
                and child.is_waiting
            ):
                child.links[parent_id] = None
                child.status = "pending"
                if child.batch is not None:
                    child.batch.dead -= 1
                    child.batch.is_cancelled = False
                self._reopen(child.id)

    def release(self, job_id: str) -> bool:
        job = self.jobs[job_id]
        if not (job.is_waiting and job.status == "pending"):
            return False
        job.links = {key: end or "released" for key, end in job.links.items()}
        job.is_waiting = False
        return True

    def settle(self) -> None:
        for batch in self.batches.values():
            if batch.dead:
                is_first = "on_dead" not in batch.events
                batch.events.add("on_dead")
                if is_first and batch.cancel_on_dead and not batch.has_ended:
                    batch.is_sealed = batch.is_cancelled = True
            if batch.has_ended:
                batch.events.add("on_finished")
                if not batch.dead:
                    batch.events.add("on_success")

    def tend(self) -> set[str]:
        """Cancel what waits in cancelled batches; return who is asked to stop."""
        stopped = set()
        for batch in self.batches.values():
            if batch.is_cancelled and not batch.has_ended:
                own = [j for j in self.jobs.values() if j.batch is batch]
                own.sort(key=lambda each: each.id)
                for job in [*(e for e in own if not e.is_waiting), *own]:
                    if job.status == "in_progress":
                        stopped.add(job.id)
                    elif job.status in UNFINISHED:
                        self.cancel(job.id)
        return stopped


class TieHistories(RuleBasedStateMachine):
    """Steps of producers, workers and operators in any order."""

    postgres: DatabaseSettings

    def __init__(self) -> None:
        super().__init__()
        empty_tables(self.postgres)
        self.clock = MovingClock()
        self.model = Model()
        self.ids = UlidGenerator(self.clock, lambda _bits: 0)
        self.stores = [
            open_storage(each, clock=self.clock, jitter=None)
            for each in (DatabaseSettings(), self.postgres)
        ]
        self.sql = Sql(self.postgres)
        self.claims: list[list[ClaimedJob]] = []

    def teardown(self) -> None:
        for storage in self.stores:
            storage.close()

    def on_both(self, work: Callable[[Storage], Any], expected: object) -> None:
        answers = [work(storage) for storage in self.stores]
        assert answers == [expected, expected]

    def tended(self) -> None:
        """Let both databases settle, and the model with them."""
        stopped = self.model.tend()
        for storage in self.stores:
            storage.batches.tend()
        del stopped

    def pick(self, choice: int) -> str:
        ids = sorted(self.model.jobs)
        return ids[choice % len(ids)]

    def known(self) -> bool:
        return bool(self.model.jobs)

    def batched(self) -> bool:
        return bool(self.model.batches)

    def claimed(self) -> bool:
        return bool(self.claims)

    def pick_batch(self, choice: int) -> ModelBatch:
        return self.model.batches[
            sorted(self.model.batches)[choice % len(self.model.batches)]
        ]

    @rule(
        is_sealed=st.booleans(), cancel_on_dead=st.booleans(), count=st.integers(0, 3)
    )
    def create(self, *, is_sealed: bool, cancel_on_dead: bool, count: int) -> None:
        batch_id, *ids = self.ids.new_many(1 + count)
        new = NewBatch(
            "batch", None, TOLD, cancel_on_dead=cancel_on_dead, batch_id=batch_id
        )
        for storage in self.stores:
            storage.batches.create(
                new, [NewJob("noop")] * count, ids=ids, is_sealed=is_sealed
            )
        batch = ModelBatch(batch_id, is_sealed=False, cancel_on_dead=cancel_on_dead)
        self.model.batches[batch_id] = batch
        for job_id in ids:
            self.model.add(ModelJob(job_id, batch, "cancel", {}))
        batch.is_sealed = is_sealed
        self.model.settle()
        self.tended()

    @rule(
        parents=st.lists(CHOICES, max_size=2),
        policy=st.sampled_from(POLICIES),
        choice=st.none() | CHOICES,
    )
    def enqueue(self, parents: list[int], policy: str, choice: int | None) -> None:
        """Enqueue a job that waits for others, in a batch or not."""
        after = {self.pick(each) for each in parents} if self.model.jobs else set()
        batch = None
        if choice is not None and self.model.batches:
            batch = self.pick_batch(choice)
        job_id = self.ids.new()
        new = NewJob(
            "noop", after=sorted(after), on_parent_dead=policy, job_id=job_id,
            batch_id=None if batch is None else batch.id,
        )  # fmt: skip
        is_over = batch is not None and (batch.has_ended or batch.is_cancelled)

        def work(storage: Storage) -> bool:
            try:
                storage.jobs.enqueue(new)
            except BatchEndedError:
                return False
            return True

        self.on_both(work, not is_over)
        if not is_over:
            links: dict[str, str | None] = dict.fromkeys(after)
            self.model.add(ModelJob(job_id, batch, policy, links))
        self.tended()

    @rule()
    def claim(self) -> None:
        self.clock.move(0.001)
        found = [storage.jobs.claim(QUEUE, OWNER, 50) for storage in self.stores]
        # Times differ, as each database has its own clock.
        for jobs in found:
            jobs.sort(key=lambda job: job.id)
        assert [job.id for job in found[0]] == [job.id for job in found[1]]
        for first, second in zip(*found, strict=True):
            job = self.model.jobs[first.id]
            assert job.status in ("pending", "failed")
            assert not job.is_waiting
            job.status = "in_progress"
            self.claims.append([first, second])

    @precondition(claimed)
    @rule(
        choice=CHOICES, outcome=st.sampled_from([Done("1"), Dead("no"), Failed("no")])
    )
    def finish(self, choice: int, outcome: Outcome) -> None:
        claims = self.claims.pop(choice % len(self.claims))
        was_asked = []
        for storage, claim in zip(self.stores, claims, strict=True):
            was_asked.append(claim.id in storage.jobs.cancelled(OWNER))
            update = update_for(
                claim, outcome, failure_delay_s=0, user_cancelled=was_asked[-1]
            )
            assert storage.jobs.finish(OWNER, [update]) == []
        assert was_asked[0] == was_asked[1]
        job = self.model.jobs[claims[0].id]
        if isinstance(outcome, Done):
            self.model.end(job.id, "done")
        elif was_asked[0] or isinstance(outcome, Dead):
            self.model.end(job.id, "dead")
        else:
            job.status = "failed"
        self.tended()

    @precondition(known)
    @rule(choice=CHOICES)
    def cancel(self, choice: int) -> None:
        job_id = self.pick(choice)
        status = self.model.jobs[job_id].status

        def work(storage: Storage) -> str:
            try:
                return storage.job_admin.cancel(job_id).value
            except JobStateError:
                return "refused"

        if status == "in_progress":
            self.on_both(work, "cancel_requested")
        elif status in UNFINISHED:
            self.on_both(work, "cancelled")
            self.model.cancel(job_id)
        else:
            self.on_both(work, "refused")
        self.tended()

    @precondition(known)
    @rule(choice=CHOICES)
    def delete(self, choice: int) -> None:
        job_id = self.pick(choice)
        if self.model.jobs[job_id].status == "in_progress":
            return
        self.on_both(lambda storage: storage.job_admin.delete(job_id).value, "deleted")
        self.model.end(job_id, "deleted")
        self.tended()
        # The batch goes with the last of its jobs that had ended.
        for batch_id in list(self.model.batches):
            try:
                self.stores[0].batches.get(batch_id)
            except LookupError:
                del self.model.batches[batch_id]

    @precondition(known)
    @rule(choice=CHOICES, dependents=st.booleans())
    def retry(self, choice: int, *, dependents: bool) -> None:
        job_id = self.pick(choice)
        expected = self.model.retry(job_id, dependents=dependents)
        self.on_both(
            lambda storage: storage.job_admin.requeue(job_id, dependents=dependents),
            expected,
        )
        self.tended()

    @precondition(known)
    @rule()
    def retry_all(self) -> None:
        def work(storage: Storage) -> int:
            steps = walk(storage, JobAction.RETRY, JobFilter(), dependents=True)
            return sum(step.change.changed for step in steps)

        self.on_both(work, self.model.retry_all())
        self.tended()

    @precondition(known)
    @rule(choice=CHOICES)
    def release(self, choice: int) -> None:
        job_id = self.pick(choice)

        def work(storage: Storage) -> bool:
            try:
                storage.links.release(job_id)
            except JobStateError:
                return False
            return True

        self.on_both(work, self.model.release(job_id))

    @precondition(known)
    @rule(choice=CHOICES)
    def run_now(self, choice: int) -> None:
        job = self.model.jobs[self.pick(choice)]
        may = job.status in ("pending", "failed") and not job.is_waiting
        self.on_both(lambda storage: storage.job_admin.run_now(job.id), may)

    @precondition(batched)
    @rule(choice=CHOICES)
    def seal(self, choice: int) -> None:
        batch = self.pick_batch(choice)
        for storage in self.stores:
            storage.batches.seal(batch.id)
        batch.is_sealed = True
        self.model.settle()
        self.tended()

    @precondition(batched)
    @rule(choice=CHOICES)
    def cancel_batch(self, choice: int) -> None:
        batch = self.pick_batch(choice)
        for storage in self.stores:
            storage.batches.cancel(batch.id)
        if not batch.has_ended:
            batch.is_sealed = batch.is_cancelled = True
            self.model.settle()
        self.tended()

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        for job in self.model.jobs.values():
            for storage in self.stores:
                found = storage.job_reader.get(job.id)
                seen = found.status.value, found.start_at is not None
                assert seen == job.seen(), (storage.backend, job)

    @invariant()
    def every_batch_is_as_the_model_says(self) -> None:
        for batch in self.model.batches.values():
            for storage in self.stores:
                found = storage.batches.get(batch.id)
                counts = found.total, found.done, found.dead, found.removed
                expected = batch.total, batch.done, batch.dead, batch.removed
                assert counts == expected, (storage.backend, batch)
                assert (found.completed_at is not None) == batch.has_ended
                told = {
                    event.value
                    for event, at in (
                        (BatchEvent.DEAD, found.died_at),
                        (BatchEvent.FINISHED, found.finished_at),
                        (BatchEvent.SUCCESS, found.succeeded_at),
                    )
                    if at is not None
                }
                assert told == batch.events, (storage.backend, batch)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        self.sql.assert_nobody_waits_in_vain()


def compare_histories(database: DatabaseSettings, *, examples: int, steps: int) -> None:
    """Run random histories on both databases and the model; see the other machine."""
    machine: type[TieHistories] = type(
        "TieHistoriesHere", (TieHistories,), {"postgres": database}
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_histories_of_ties_agree_everywhere(postgres_database: str) -> None:
    database = DatabaseSettings.from_url(postgres_database)

    compare_histories(database, examples=6, steps=20)


@pytest.mark.long
def test_longer_histories_of_ties_agree_everywhere(postgres_database: str) -> None:
    database = DatabaseSettings.from_url(postgres_database)

    compare_histories(database, examples=60, steps=40)
