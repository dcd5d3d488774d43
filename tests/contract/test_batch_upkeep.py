"""The upkeep of batches beside producers and operators that change them meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_forge_jobs.model.batches import BatchState
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.batches import OPEN_S, BatchStore
from tests.contract.test_batches import create
from tests.support.sql import Sql


def before(
    monkeypatch: pytest.MonkeyPatch, method: str, then: Callable[[], object]
) -> None:
    """Do something before the first call of a method, such as another process does."""
    original = getattr(BatchStore, method)

    def late(self: BatchStore, *args: object, **more: object) -> object:
        monkeypatch.setattr(BatchStore, method, original)
        then()
        return original(self, *args, **more)

    monkeypatch.setattr(BatchStore, method, late)


@pytest.mark.parametrize("change", ["seal", "add"])
def test_a_batch_whose_producer_comes_back_is_not_cancelled(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The worker has listed it by then, with an older one."""
    left, other = (create(storage, 1, is_sealed=False) for _ in range(2))
    sql.age(OPEN_S + 1)

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
