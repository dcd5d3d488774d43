"""A process that exits without closing its storage."""

from __future__ import annotations

from flask_forge_jobs.config.database import DatabaseSettings
from tests.support.processes import output_of, start_python
from tests.support.sql import Sql

# The flusher's thread has stored figures before, so that it has a connection.
SCRIPT = """
import logging, time
from flask_forge_jobs.storage import flusher
logging.basicConfig()
flusher.PERIOD_S = 0.01
flusher.LAST_WRITE_S = 30.0
storage.jobs.enqueue(NewJob("noop"))
while not storage.metrics.counters().jobs:
    time.sleep(0.01)
flusher.PERIOD_S = 60
storage.jobs.enqueue(NewJob("noop"))
"""


def test_connections_close_after_the_last_figures_are_stored(
    database_settings: DatabaseSettings, sql: Sql
) -> None:
    assert output_of(start_python(database_settings, SCRIPT)) == ""

    stored = sql.value(
        "SELECT SUM(enqueued) FROM forge_metric WHERE level = 10 AND queue_name = ''"
    )
    assert stored == 2
