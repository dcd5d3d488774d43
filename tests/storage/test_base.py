"""The stores of a chosen database, and a process that exits without closing its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.masking import Masking
from flask_forge_jobs.storage.base import DatabaseConfig
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


def test_the_chosen_database_opens_its_own_stores(tmp_path: Path) -> None:
    config = DatabaseConfig(DatabaseSettings(path=tmp_path / "chosen.db"))
    masking = Masking(("pin",))

    with contextlib.closing(config.open_storage(masking=masking)) as storage:
        storage.jobs.enqueue(NewJob("noop"))

    assert storage.masking is masking
    assert (tmp_path / "chosen.db").exists()
