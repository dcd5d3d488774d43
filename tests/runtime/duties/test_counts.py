from __future__ import annotations

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.runtime.duties.counts import Upkeep
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.admin import FOLD_ROWS
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
