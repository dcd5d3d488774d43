"""Real worker processes fire the schedules of an application's code."""

from __future__ import annotations

from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import sqlite_first
from tests.support.commands import Application
from tests.support.sql import Sql

BEAT = """

@forge.cron("* * * * * *", timezone="Europe/Madrid")
@forge.task
def beat() -> None:
    say("BEAT", os.getpid())
"""


def add_code(application: Application, code: str) -> None:
    with (application.folder / "shop.py").open("a", encoding="utf-8") as module:
        module.write(code)


@sqlite_first
def test_code_declares_and_workers_fire(
    storage: Storage, sql: Sql, application: Application
) -> None:
    """Three processes; then one without the schedule in its code."""
    declared = application.folder / "shop.py"
    before = declared.read_text("utf-8")
    add_code(application, BEAT)
    with application.worker("--processes", "3") as worker:
        worker.wait_for("BEAT", 3)
        assert worker.stop() == 0

    instants = [at for (at,) in sql.run("SELECT fire_at FROM forge_job ORDER BY 1")]
    assert len(instants) >= 3
    assert instants == [instants[0] + n * SECOND_US for n in range(len(instants))]
    schedule = storage.cron.get("beat")
    assert (schedule.declared_by, schedule.definition.timezone) == (
        "shop", "Europe/Madrid",
    )  # fmt: skip

    declared.write_text(before, "utf-8")
    with application.worker() as worker:
        worker.wait_for("cron schedules removed: beat")
        worker.stop()
    assert storage.cron.all() == []
