"""When the counts of batches are folded, and that workers do so on both databases."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.batches import BatchEvent, NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.runtime.foreground import run_in_foreground
from flask_forge_jobs.runtime.loop.batch_folds import PERIOD_S, BatchFolds
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.context import TaskContext
from tests.support.runtimes import QuickTask, registry_of, running
from tests.support.waiting import wait_until

TOLD = FollowUp("told", "ended", "default", 0, 5)


class Folded:
    """Notes what is folded, and says what is left."""

    def __init__(self) -> None:
        self.calls: list[set[str]] = []
        self.left: set[str] = set()
        self.error: Exception | None = None

    def __call__(self, batch_ids: Iterable[str]) -> set[str]:
        self.calls.append(set(batch_ids))
        if self.error is not None:
            raise self.error
        return self.left


def test_a_batch_is_folded_at_once_and_then_now_and_then() -> None:
    folded = Folded()
    folds = BatchFolds(folded)
    folds.go(1.0)
    assert (folds.due_at, folded.calls) == (None, [])

    folds.note({"a"})
    folds.go(1.0)
    folds.note({"a", "b"})
    folds.go(1.0 + PERIOD_S / 2)
    assert folded.calls == [{"a"}]
    assert folds.due_at == 1.0 + PERIOD_S
    folds.go(1.0 + PERIOD_S)

    assert folded.calls == [{"a"}, {"a", "b"}]
    assert folds.due_at is None


def test_what_another_process_was_at_is_folded_again() -> None:
    folded = Folded()
    folds = BatchFolds(folded)
    folded.left = {"b"}
    folds.note({"a", "b"})
    folds.go(1.0)
    assert folds.due_at == 1.0 + PERIOD_S

    folds.go(2.0)

    assert folded.calls == [{"a", "b"}, {"b"}]


def test_a_failure_of_the_database_keeps_them() -> None:
    folded = Folded()
    folds = BatchFolds(folded)
    folds.note({"a"})
    folded.error = StorageUnavailableError("away")
    with pytest.raises(StorageUnavailableError):
        folds.go(1.0)
    assert folds.due_at == 1.0 + PERIOD_S
    folded.error = ValueError("ours")

    folds.go(2.0)

    assert folds.due_at is None


def test_a_worker_notices_the_end_of_a_batch(storage: Storage) -> None:
    """The job of the first one adds another, which the batch waits for."""
    told = QuickTask("told")

    def add(context: TaskContext) -> None:
        context.batch.add(NewJob("part"))

    registry = registry_of(QuickTask("first", add), QuickTask("part"), told)
    with running(storage, registry, threads=4):
        created = storage.batches.create(
            NewBatch("report", None, {BatchEvent.SUCCESS: TOLD}),
            [NewJob("first"), *(NewJob("part") for _ in range(20))],
        )
        wait_until(lambda: told.job_ids, "the end of the batch is told of")

    batch = storage.batches.get(created.id)
    assert (batch.total, batch.done) == (22, 22)
    assert batch.on_success is not None
    assert told.job_ids == [batch.on_success.job_id]


def test_the_upkeep_of_a_worker_finds_what_others_have_left(storage: Storage) -> None:
    """As a process that was killed between its commit and the fold."""
    told = QuickTask("told")
    storage.batches.create(NewBatch("empty", None, {BatchEvent.FINISHED: TOLD}))

    with running(storage, registry_of(told)):
        wait_until(lambda: told.job_ids, "the end of the batch is told of")


def test_a_burst_ends_after_the_ends_of_batches(storage: Storage) -> None:
    """The upkeep's first look may come after it."""
    told = QuickTask("told")
    follow_ups = {BatchEvent.FINISHED: TOLD}
    storage.batches.create(NewBatch("empty", None, follow_ups))
    runtime = QueueRuntime(storage, registry_of(told)).with_queues(["default"])

    assert run_in_foreground(runtime, grace_s=0.0, burst=True) == 0

    assert len(told.job_ids) == 1
