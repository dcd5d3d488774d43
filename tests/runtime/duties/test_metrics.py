from __future__ import annotations

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.model.metrics import MetricKey, Tally
from flask_forge_jobs.runtime.duties.metrics import MetricsUpkeep
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import SECOND_US, START_US, MovingClock
from tests.support.figures import PastProcess, add_figures
from tests.support.sql import Sql

MOMENT_US = START_US - START_US % (1800 * SECOND_US)


def test_upkeep_merges_and_drops(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    past = PastProcess(storage, MOMENT_US)
    past.runs("mail", "send", [1])
    PastProcess(storage, MOMENT_US).runs("mail", "send", [1])
    sql = Sql(database_settings)
    count = "SELECT COUNT(*) FROM forge_metric WHERE level = "

    MetricsUpkeep(
        storage.metrics, storage.samples, MovingClock(MOMENT_US + DAY_US // 6)
    ).tick()
    assert sql.run(f"{count} 10") == [(3,)]
    assert sql.run(f"{count} 86400") == [(3,)]

    MetricsUpkeep(
        storage.metrics, storage.samples, MovingClock(MOMENT_US + 40 * DAY_US)
    ).tick()
    assert sql.run(f"{count} 10") == [(0,)]
    assert sql.run(f"{count} 0") == [(3,)]
    assert storage.metrics.counters().jobs["mail", "send"].completed == 2


def test_a_host_whose_clock_is_ahead_folds_nothing_too_early(
    storage: Storage, sql: Sql
) -> None:
    """Its owner would begin the row anew each time."""
    now_us = sql.now_us()
    key = MetricKey(10, now_us - now_us % (10 * SECOND_US), "mail", "send")
    add_figures(storage, "writer", {key: Tally(enqueued=1)})
    ahead = MovingClock(now_us + 1200 * SECOND_US)

    MetricsUpkeep(storage.metrics, storage.samples, ahead).tick()
    add_figures(storage, "writer", {key: Tally(enqueued=1)})

    assert sql.run("SELECT source, enqueued FROM forge_metric") == [("writer", 2)]
