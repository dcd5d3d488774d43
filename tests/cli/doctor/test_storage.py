"""Databases and workers that are broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_forge_jobs.cli.doctor import storage as doctor
from flask_forge_jobs.cli.doctor.storage import findings_of
from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.postgres import listener
from tests.cli.console import Console
from tests.support.jobs import enqueue
from tests.support.sql import Sql

# The tests' server does not wait for its disk.
OF_TESTS = {"not_durable"}


def findings(console: Console) -> list[Finding]:
    with console.app.app_context():
        found = findings_of(state_of(console.app))
        return [each for each in found if each.code not in OF_TESTS]


def codes(console: Console) -> list[str]:
    return [each.code for each in findings(console)]


def test_a_sound_database(either_console: Console) -> None:
    either_console.storage.open()

    assert codes(either_console) == []


def test_a_database_that_is_away(tmp_path: Path) -> None:
    url = "postgresql://shop:s3cr3t@127.0.0.1:1/none?connect_timeout=1"

    (finding,) = findings(Console(tmp_path, url))

    assert finding.code == "database_away"
    assert "127.0.0.1:1/none" in finding.text
    assert "s3cr3t" not in finding.text
    assert finding.remedy.endswith("FORGE_JOBS_DATABASE_URL")


def test_no_tables(console: Console) -> None:
    (finding,) = findings(console)

    assert finding.code == "schema_missing"
    assert finding.remedy == "flask forge-jobs db migrate"


def test_a_newer_schema(either_console: Console) -> None:
    either_console.storage.open()
    with Sql(state_of(either_console.app).database.settings).newer_schema():
        (finding,) = findings(either_console)

    assert finding.code == "schema_too_new"
    assert finding.remedy == "install the newer package here"


def test_jobs_without_a_worker(either_console: Console) -> None:
    enqueue(either_console.storage, queue_name="mail")

    (finding,) = findings(either_console)

    assert finding.code == "no_worker"
    assert finding.remedy == "flask forge-jobs worker --queues mail"


def test_a_queue_that_no_worker_serves(either_console: Console) -> None:
    enqueue(either_console.storage, queue_name="mail")
    either_console.storage.workers.beat("W", "w", ["bank"], [])

    assert codes(either_console) == ["queue_unserved"]


def test_notifications_that_do_not_arrive(
    tmp_path: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener.PostgresListener, "_hears", lambda *_: False)
    monkeypatch.setattr(doctor, "NOTIFY_WITHIN_S", 0.2)
    console = Console(tmp_path, postgres_database)
    console.storage.open()

    (remedy,) = [
        each.remedy for each in findings(console) if each.code == "notify_missing"
    ]

    console.storage.close()
    assert "FORGE_JOBS_LISTEN_URL" in remedy
