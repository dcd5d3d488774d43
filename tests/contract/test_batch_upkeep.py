"""The upkeep of batches beside producers and operators that change them meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_forge_jobs.errors import BatchUnfinishedError
from flask_forge_jobs.model.batches import BatchState
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.ordering import FROM_THE_OLDEST
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage import batches
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.batches import OPEN_S, BatchStore
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.ties.settlement import Settlement
from tests.contract.test_batches import create, end, settled, youngest_cancelled
from tests.support.jobs import claim_one
from tests.support.sql import Sql

# Additions are noted once in so many seconds.
NOTED_S = 61


def before(
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    then: Callable[[], object],
    owner: type = BatchStore,
) -> None:
    """Do something before the first call of a method, such as another process does."""
    original = getattr(owner, method)

    def late(self: object, *args: object, **more: object) -> object:
        monkeypatch.setattr(owner, method, original)
        then()
        return original(self, *args, **more)

    monkeypatch.setattr(owner, method, late)


@pytest.mark.parametrize("change", ["seal", "add"])
def test_a_batch_whose_producer_comes_back_is_not_cancelled(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The worker has listed it by then, with an older one."""
    left, other = (create(storage, 1, is_sealed=False) for _ in range(2))
    sql.age(OPEN_S + NOTED_S)

    def come_back() -> None:
        if change == "seal":
            storage.batches.seal(other)
        else:
            storage.batches.add(other, [NewJob("part")])

    before(monkeypatch, "_cancel_jobs", come_back)
    storage.batches.tend()

    assert storage.batches.get(left).cancel_requested_at is not None
    batch = storage.batches.get(other)
    assert batch.cancel_requested_at is None
    assert batch.state is (BatchState.RUNNING if change == "seal" else BatchState.OPEN)


@pytest.mark.parametrize("addition", ["jobs", "batch"])
def test_a_batch_with_a_recent_addition_stays_open(
    storage: Storage, sql: Sql, addition: str
) -> None:
    batch_id = create(storage, 1, is_sealed=False)
    sql.age(NOTED_S - 2)
    storage.batches.add(batch_id, [NewJob("part")])
    sql.age(OPEN_S - 1)
    storage.batches.tend()
    if addition == "jobs":
        storage.batches.add(batch_id, [NewJob("part")])
    else:
        create(storage, 1, within=batch_id)
    sql.age(OPEN_S - 1)
    storage.batches.tend()
    assert storage.batches.get(batch_id).state is BatchState.OPEN

    sql.age(NOTED_S)
    storage.batches.tend()

    assert storage.batches.get(batch_id).state is BatchState.DEAD


def test_a_batch_that_is_retried_beside_its_cancellation_goes_on(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = create(storage, 2)
    claim_one(storage)
    storage.batches.cancel(batch_id)

    before(monkeypatch, "_cancel_jobs", lambda: storage.batches.retry(batch_id))
    storage.batches.tend()

    batch = storage.batches.get(batch_id)
    assert (batch.dead, batch.cancel_requested_at) == (0, None)


def test_a_batch_that_is_cancelled_beside_its_retry_ends(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = create(storage, 2)
    end(storage, Dead("no"))

    before(monkeypatch, "change", lambda: storage.batches.cancel(batch_id), JobAdmin)
    storage.batches.retry(batch_id)

    assert settled(storage, batch_id).state is BatchState.DEAD


def test_batches_within_go_on_with_the_retried_one_around_them(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = create(storage, 1, is_sealed=False)
    inner = create(storage, 1, within=outer)

    def retry() -> None:
        before(monkeypatch, "run", lambda: storage.batches.retry(outer), Settlement)

    before(monkeypatch, "_cancel_jobs", retry)
    storage.batches.cancel(outer)

    assert {storage.batches.get(each).dead for each in (outer, inner)} == {0}


@pytest.mark.parametrize("of_batch", [True, False])
def test_a_retry_within_a_cancelled_batch_is_not_undone(
    storage: Storage, of_batch: bool
) -> None:
    """A worker would go on to cancel the outer batch, which is open again."""
    outer = create(storage, 0, is_sealed=False)
    inner = create(storage, 1, within=outer)
    storage.batches.cancel(outer)
    assert settled(storage, outer).state is BatchState.DEAD

    if of_batch:
        storage.batches.retry(inner)
    else:
        [job] = storage.batches.jobs(inner)
        storage.job_admin.requeue(job.id)
    for _ in range(2):
        storage.batches.tend()

    assert storage.batches.get(inner).dead == 0


def test_a_batch_that_ends_with_a_dead_job_needs_no_producer(
    storage: Storage,
) -> None:
    batch_id = create(storage, 1, is_sealed=False, cancel_on_dead=True)
    end(storage, Dead("no"))
    for _ in range(2):
        storage.batches.tend()

    assert storage.batches.get(batch_id).state is BatchState.DEAD


def test_upkeep_goes_on_behind_the_batches_of_its_last_call(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest ones may have jobs that run for hours."""
    monkeypatch.setattr(batches, "TENDED_AT_ONCE", 2)
    youngest = youngest_cancelled(storage)

    place = storage.batches.tend()
    assert storage.batches.get(youngest).dead == 0
    assert storage.batches.tend(after=place) == FROM_THE_OLDEST
    assert storage.batches.get(youngest).dead == 1


def test_upkeep_cancels_a_running_job_once(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take hours to stop, and was cancelled again at each tick."""
    batch_id = create(storage, 2)
    claim_one(storage)
    storage.batches.cancel(batch_id)
    changes: list[None] = []
    before(monkeypatch, "change", lambda: changes.append(None), JobAdmin)

    storage.batches.tend()

    batch = storage.batches.get(batch_id)
    assert (batch.dead, batch.running, changes) == (1, 1, [])


def test_a_batch_that_is_retried_beside_its_deletion_stays(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = create(storage, 2)
    end(storage, Dead("no"), Dead("no"))

    def retry() -> None:
        storage.batches.retry(batch_id)
        claim_one(storage)

    before(monkeypatch, "change", retry, JobAdmin)
    with pytest.raises(BatchUnfinishedError, match="2 unfinished"):
        storage.batches.delete(batch_id)

    [running] = storage.batches.jobs(batch_id, status=JobStatus.IN_PROGRESS)
    assert running.cancel_requested_at is None
    assert storage.batches.get(batch_id).waiting == 1
