from __future__ import annotations

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.batches import BatchState
from flask_forge_jobs.runtime.duties.counts import Upkeep
from flask_forge_jobs.storage import batches
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.admin import FOLD_ROWS
from tests.contract.test_batches import create, youngest_cancelled
from tests.support.jobs import enqueue
from tests.support.sql import Sql
from tests.support.threads import run_together


def test_upkeep_keeps_the_counts_short_and_true(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    sql = Sql(database_settings)
    for _ in range(FOLD_ROWS + 1):
        enqueue(storage)

    Upkeep(storage.job_admin, storage.errors, storage.batches).tick()

    assert sql.value("SELECT COUNT(*) FROM forge_job_count") == 1
    sql.assert_counts_equal_rows()


def test_any_number_of_processes_may_run_upkeep(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    for _ in range(20):
        enqueue(storage)

    run_together(
        [
            Upkeep(storage.job_admin, storage.errors, storage.batches).tick
            for _ in range(4)
        ]
    )

    Sql(database_settings).assert_counts_equal_rows()


def test_cancelled_batches_whose_jobs_run_keep_no_younger_one_waiting(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tick looks at the oldest ones behind those of the last tick."""
    monkeypatch.setattr(batches, "TENDED_AT_ONCE", 2)
    upkeep = Upkeep(storage.job_admin, storage.errors, storage.batches)
    youngest = youngest_cancelled(storage)
    assert storage.batches.get(youngest).waiting == 1

    for _ in range(2):
        upkeep.tick()

    assert storage.batches.get(youngest).state is BatchState.DEAD


def test_upkeep_that_stops_begins_with_no_further_batch(storage: Storage) -> None:
    upkeep = Upkeep(storage.job_admin, storage.errors, storage.batches)
    batch_id = create(storage, 1)
    storage.batches.cancel(batch_id, lambda: True)

    upkeep.is_stopping = True
    upkeep.tick()
    assert storage.batches.get(batch_id).waiting == 1

    upkeep.is_stopping = False
    upkeep.tick()
    assert storage.batches.get(batch_id).waiting == 0
