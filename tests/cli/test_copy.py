"""``flask forge-jobs copy``: all rows, both ways, also after it was killed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage import transfer
from flask_forge_jobs.storage.administration import contents
from flask_forge_jobs.storage.postgres.side import PostgresSide
from flask_forge_jobs.storage.sides import TABLES, Row, Side, Table
from tests.cli.console import Console
from tests.support.figures import PastProcess
from tests.support.jobs import enqueue, job_with, run
from tests.support.postgres import fresh_database
from tests.support.sql import Sql


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a new, empty database."""
    with fresh_database(postgres_server) as url:
        yield url


def fill(console: Console) -> None:
    """Make rows in every table that is copied."""
    storage = console.storage
    for status in JobStatus:
        job_with(storage, status, queue_name=f"q-{status}")
    storage.jobs.enqueue_many(
        [
            NewJob("send", {"n": n, "text": "ü€😀\\"}, queue_name="mail")
            for n in range(50)
        ]
    )
    enqueue(storage, "late", key="k-1")
    run(storage, Failed("CardError: card 17 was declined"))
    PastProcess(storage).runs("mail", "send", [10, 20], dead=1)
    console.text("queues", "pause", "mail", "--reason", "moves")
    console.text("limits", "set", "card", "--capacity", "5", "--refill", "0.3")
    console.text("cron", "create", "nightly", "--kind", "noop", "--cron", "0 3 * * *")


def rows_of(console: Console, table: Table) -> list[Row]:
    side = transfer.open_side(state_of(console.app).database.settings)
    try:
        return list(side.rows(table, None))
    finally:
        side.close()


def test_all_rows_move_to_postgresql_and_back(
    console: Console, tmp_path: Path, postgres_url: str
) -> None:
    fill(console)
    console.storage.close()
    back = Console(tmp_path / "back")
    back_url = f"sqlite:///{tmp_path}/back.sqlite"

    there = console.text("copy", "--to", postgres_url)
    home = console.text("copy", "--from", postgres_url, "--to", back_url)

    assert there.startswith("copy: ")
    assert ", the same in postgresql://" in there
    assert ", the same in sqlite" in home
    back.storage.close()
    moved = Console(tmp_path, back_url)
    for table in TABLES:
        before, after = rows_of(console, table), rows_of(moved, table)
        if table.name == "forge_audit":  # each copy adds an entry
            assert [row[0] for row in after[len(before) :]] == ["copy", "copy"]
            after = after[: len(before)]
        assert before == after, table.name
    moved.storage.close()


def test_the_counts_and_ids_of_the_new_database_go_on(
    console: Console, tmp_path: Path, postgres_url: str
) -> None:
    fill(console)
    counted = console.text("jobs", "list", "--count")
    console.text("copy", "--to", postgres_url)
    moved = Console(tmp_path / "moved", postgres_url)

    assert moved.text("jobs", "list", "--count") == counted
    moved.text("queues", "resume", "--all")
    run(moved.storage, Failed("again"), queue_name="mail")
    assert [entry.action for entry in moved.entries()][:2] == ["queue_actions", "copy"]
    moved.storage.close()


class KilledError(Exception):
    """Stands for a process that dies between two batches."""


@pytest.mark.parametrize("batches", [1, 3, 7])
def test_an_interrupted_copy_goes_on(
    console: Console, postgres_url: str, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BATCH_ROWS", 20)
    fill(console)
    console.storage.close()  # a later flush would change the figures
    done = 0

    def die(_table: Table, _rows: Sequence[Row]) -> None:
        nonlocal done
        if done == batches:
            raise KilledError
        done += 1

    with monkeypatch.context() as patch:
        _before_each_write(patch, die)
        result = console.run("copy", "--to", postgres_url)
    refused = console.refusal("copy", "--to", postgres_url)
    resumed = console.text("copy", "--to", postgres_url, "--resume")

    assert isinstance(result.exception, KilledError)
    assert "the new database is not empty" in refused
    assert "--resume" in refused
    assert ", the same in " in resumed


def test_a_database_that_the_command_has_emptied_takes_a_copy(
    console: Console, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/new.sqlite"
    console.storage.jobs.enqueue(NewJob("send"))
    console.text("copy", "--to", url)

    refused = console.refusal("copy", "--to", url)
    *_, command, _ = refused.split("`")
    there = Console(tmp_path / "there", url)
    there.text(*command.removeprefix("flask forge-jobs ").split())
    there.storage.close()

    assert ", the same in " in console.text("copy", "--to", url)


def test_a_copy_that_has_ended_is_not_resumed(console: Console, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.sqlite"
    console.storage.jobs.enqueue(NewJob("send"))
    console.text("copy", "--to", url)

    refused = console.refusal("copy", "--to", url, "--resume")

    assert "nothing to resume: the copy has ended" in refused
    assert "copy again" not in refused


def _before_each_write(patch: pytest.MonkeyPatch, call: object) -> None:
    write = PostgresSide.write

    def watched(self: PostgresSide, table: Table, rows: Sequence[Row]) -> None:
        assert callable(call)
        call(table, rows)
        write(self, table, rows)

    patch.setattr(PostgresSide, "write", watched)


def test_a_row_that_differs_is_found(
    console: Console, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(console)
    moved = Console(tmp_path / "moved", postgres_url)
    moved.storage.open()
    copy_rows = transfer.copy_rows

    def copy_and_change(old: Side, new: Side) -> None:
        copy_rows(old, new)
        Sql(state_of(moved.app).database.settings).run(
            "UPDATE forge_job SET priority = 9 WHERE kind = 'late'"
        )

    monkeypatch.setattr(
        transfer, "copy_rows", lambda old, new, _: copy_and_change(old, new)
    )

    refused = console.refusal("copy", "--to", postgres_url)

    moved.storage.close()
    assert "the rows differ in forge_job; " in refused


def test_workers_must_be_stopped(console: Console, postgres_url: str) -> None:
    console.storage.workers.beat("W", "w", ["mail"], [])

    refused = console.refusal("copy", "--to", postgres_url)

    assert "1 worker of " in refused
    assert "is live; stop them first" in refused


def test_a_source_without_tables(console: Console, postgres_url: str) -> None:
    refused = console.refusal("copy", "--from", postgres_url, "--to", "sqlite:///x.db")

    assert "has no tables of the jobs" in refused


def test_every_table_is_copied_or_named(either_console: Console) -> None:
    either_console.storage.open()
    settings = state_of(either_console.app).database.settings
    existing = contents(settings)
    assert existing is not None
    named = {table.name for table in TABLES} | {
        # Of a running system, or kept by triggers.
        "forge_schema", "forge_job_count", "forge_lease", "forge_metric_source",
        "forge_slot", "forge_worker", "forge_batch_change",
    }  # fmt: skip
    # Only PostgreSQL appends changes of batches, to fold them later.
    assert named - set(existing.tables) <= {"forge_batch_change"}
    assert set(existing.tables) <= named
