"""The database of every release works with this code, and with later code.

Until the first release there is but one snapshot, of today: made, dumped and restored
in each run, so that the schema may still change.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import BACKENDS
from tests.support.databases import sqlite_url
from tests.support.jobs import (
    RETRY_DELAY_S,
    enqueue,
    enqueued,
    having,
    rescue_all,
    run,
)  # fmt: skip
from tests.support.later_steps import ADDITIVE, BREAKING, migrated
from tests.support.postgres import fresh_database
from tests.support.sql import Sql
from tests.upgrade import snapshots

ROOT = Path(__file__).resolve().parents[2]
TODAY = "today"
RELEASES = sorted(path.name for path in snapshots.FOLDER.glob("*"))
SHAPES = {
    "sqlite": {
        "columns": """
            SELECT m.name, c.name, c.type, c."notnull", c.dflt_value, c.pk
            FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'
        """,
        "others": """
            SELECT type, name, sql FROM sqlite_master
            WHERE type IN ('index', 'trigger')
        """,
    },
    "postgres": {
        "columns": """
            SELECT table_name, column_name, data_type, is_nullable, column_default
            FROM information_schema.columns WHERE table_schema = 'public'
        """,
        "indexes": """
            SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        """,
        "functions": """
            SELECT proname, pg_get_function_arguments(oid), prosrc FROM pg_proc
            WHERE proname LIKE 'forge_%'
        """,
        "triggers": """
            SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger
            WHERE NOT tgisinternal
        """,
        "constraints": """
            SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        """,
    },
}


@pytest.fixture
def fresh(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], str]]:
    """Makes empty databases; returns the URL of each."""
    with contextlib.ExitStack() as stack:

        def make(name: str) -> str:
            if backend == "sqlite":
                return sqlite_url(tmp_path / f"{name}.sqlite")
            server: str = request.getfixturevalue("postgres_server")
            return stack.enter_context(fresh_database(server))

        yield make


def shape(sql: Sql) -> dict[str, set[tuple[Any, ...]]]:
    """Return the parts of the schema, in whichever order they came to be."""
    parts = SHAPES[sql.backend]
    shape = {part: set(sql.run(statement)) for part, statement in parts.items()}
    assert all(shape.values())
    return shape


@pytest.mark.parametrize("steps", [(), (ADDITIVE, BREAKING)], ids=["now", "later"])
@pytest.mark.parametrize("release", [*RELEASES, TODAY])
def test_database_of_a_release_is_migrated_and_used(
    backend: str, release: str, steps: tuple[str, ...], fresh: Callable[[str], str]
) -> None:
    if release == TODAY:
        text = snapshots.snapshot(fresh("today"))
    else:
        text = (snapshots.FOLDER / release / f"{backend}.sql").read_text("utf-8")
    old, new = fresh("old"), fresh("new")
    snapshots.restore(old, text)
    settings = DatabaseSettings.from_url(old)
    sql = Sql(settings)

    with migrated(settings, *steps) as storage:
        look(storage)
        work(storage, sql)
        with migrated(DatabaseSettings.from_url(new), *steps):
            assert shape(sql) == shape(Sql(DatabaseSettings.from_url(new)))


def look(storage: Storage) -> None:
    """Find everything that the release has stored."""
    for status in JobStatus:
        page = storage.job_reader.page(having(queue_name=status.value), 10)
        assert [job.status for job in page.rows] == [status]
    (held,) = storage.job_reader.page(having(queue_name=snapshots.HELD_QUEUE), 10).rows
    job = storage.job_reader.get(held.id)
    assert (job.kind, job.payload, job.priority) == ("send", snapshots.PAYLOAD, -5)
    again = enqueued(
        storage, "send", queue_name=snapshots.HELD_QUEUE, key=snapshots.HELD_KEY
    )
    assert again.id == held.id
    settings = storage.queues.get(snapshots.HELD_QUEUE)
    assert (settings.paused, settings.max_workers) == (True, 3)
    assert storage.jobs.claim(snapshots.HELD_QUEUE, "nobody") == []
    assert storage.jobs.claim(snapshots.LATER_QUEUE, "nobody") == []
    assert [each.definition for each in storage.cron.all()] == [snapshots.SCHEDULE]
    trail = storage.audit.page(AuditFilter(), 10)
    assert [entry.record for entry in trail] == [snapshots.RECORD]


def work(storage: Storage, sql: Sql) -> None:
    """Run what is due, and store more."""
    run(storage, Done("1"), queue_name=JobStatus.PENDING.value)
    sql.age(RETRY_DELAY_S)
    run(storage, Done("1"), queue_name=JobStatus.FAILED.value)
    assert rescue_all(storage) == 1
    for status in (JobStatus.PENDING, JobStatus.FAILED):
        page = storage.job_reader.page(having(queue_name=status.value), 10)
        assert [job.status for job in page.rows] == [JobStatus.DONE]
    added = enqueue(storage, queue_name="new")
    assert run(storage, Done("1"), queue_name="new").id == added
    storage.queues.change(snapshots.HELD_QUEUE, {"paused": False})
    run(storage, Done("1"), queue_name=snapshots.HELD_QUEUE)
    storage.audit.append(snapshots.RECORD)
    with pytest.raises(Exception, match="audit"):
        sql.run("DELETE FROM forge_audit")
    sql.assert_counts_equal_rows()


def test_every_release_has_its_snapshots() -> None:
    released = {name for name, when in versions() if when != "Unreleased"}

    assert set(RELEASES) == released, "run python -m tests.upgrade.snapshots"
    for release in RELEASES:
        files = {path.name for path in (snapshots.FOLDER / release).iterdir()}
        assert files == {f"{backend}.sql" for backend in BACKENDS}


def test_every_version_has_notes_for_upgrading() -> None:
    page = (ROOT / "docs" / "howto" / "upgrade.rst").read_text("utf-8")
    notes = page.partition("\nNotes by version\n---")[2]

    named = [name for name, _ in versions()]
    assert named
    assert re.findall(r"^(\S+)\n~+$", notes, re.MULTILINE) == named


def versions() -> list[tuple[str, str]]:
    """Return each version of the changelog, newest first, and its date."""
    changes = (ROOT / "CHANGES.rst").read_text("utf-8")
    return re.findall(r"^Version (\S+)\n-+\n\n(\S+)", changes, re.MULTILINE)
