"""``flask forge-jobs db`` on databases that are there, missing, new or damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from click.testing import Result
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.administration import contents, drop_database
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.catalogue import load_migrations
from tests.support.backends import sqlite_first
from tests.support.jobs import enqueue
from tests.support.sql import Sql

# Several processes may test against one server.
MISSING_NAME = f"forge_test_missing_{os.getpid()}"
NEWEST = load_migrations("sqlite")[-1].version


class Shop:
    """An application over a database that does not exist yet."""

    def __init__(self, url: str, instance: Path) -> None:
        self.app = Flask("shop", instance_path=str(instance))
        self.app.config["FORGE_JOBS_DATABASE_URL"] = url
        ForgeJobs(self.app)

    def db(self, *arguments: str) -> Result:
        """Run ``flask forge-jobs db``."""
        return self.app.test_cli_runner().invoke(args=["forge-jobs", "db", *arguments])

    @property
    def settings(self) -> DatabaseSettings:
        return state_of(self.app).database.settings

    @property
    def storage(self) -> Storage:
        return state_of(self.app).storage

    @property
    def sql(self) -> Sql:
        return Sql(self.settings)


@pytest.fixture
def shop(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Shop]:
    if backend == "sqlite":
        url = f"sqlite:///{tmp_path}/data/queue.sqlite"
    else:
        server = urlsplit(request.getfixturevalue("postgres_server"))
        url = urlunsplit(server._replace(path=f"/{MISSING_NAME}"))
    made = Shop(url, tmp_path / "instance")
    drop_database(made.settings)
    yield made
    made.storage.close()
    drop_database(made.settings)


def test_status_of_a_missing_database_changes_nothing(
    shop: Shop, tmp_path: Path
) -> None:
    """Neither a file nor a directory."""
    result = shop.db("status")

    assert result.exit_code == 1
    assert "database: " in result.stdout
    assert result.stderr.startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


@sqlite_first
def test_create_migrate_and_status(shop: Shop) -> None:
    created = shop.db("create")
    migrated = shop.db("migrate")
    status = shop.db("status")

    assert [each.exit_code for each in (created, migrated, status)] == [0, 0, 0]
    assert (created.stdout, migrated.stdout) == ("create: ok\n", "migrate: ok\n")
    assert f"ok: adapter={shop.settings.backend}" in status.stdout
    assert f"schema: {NEWEST} of {NEWEST}" in status.stdout
    assert "chosen by: " in status.stdout


@sqlite_first
def test_create_and_migrate_of_what_is_there_are_fine(shop: Shop) -> None:
    shop.db("create")
    shop.db("migrate")
    enqueue(shop.storage)

    results = [shop.db("create"), shop.db("migrate")]

    assert [each.exit_code for each in results] == [0, 0]
    assert shop.sql.value("SELECT COUNT(*) FROM forge_job") == 1


@pytest.mark.parametrize("backend", ["postgres"])
def test_status_tells_that_the_schema_is_missing(shop: Shop) -> None:
    """``create`` makes a PostgreSQL database without one."""
    shop.db("create")

    result = shop.db("status")

    assert result.exit_code == 1
    assert "there is no schema; run `flask forge-jobs db migrate`" in result.stderr


@sqlite_first
def test_status_tells_of_a_newer_schema(shop: Shop) -> None:
    shop.db("create")
    shop.db("migrate")

    with shop.sql.newer_schema():
        result = shop.db("status")

    assert result.exit_code == 1
    assert f"schema: 99 of {NEWEST}" in result.stdout
    assert "upgrade flask-forge-jobs" in result.stderr


@sqlite_first
def test_status_is_fine_with_a_newer_schema_that_this_code_can_read(shop: Shop) -> None:
    """A rolling deploy is under way."""
    shop.db("create")
    shop.db("migrate")
    shop.sql.run(
        "INSERT INTO forge_schema (version, oldest_reader, name, applied_at) "
        "VALUES (99, 1, 'addition', 0)"
    )

    assert shop.db("status").exit_code == 0


def test_status_never_shows_the_password(tmp_path: Path) -> None:
    shop = Shop("postgresql://nobody:secret@127.0.0.1:1/nothing", tmp_path)

    result = shop.db("status")

    assert result.exit_code == 1
    assert "127.0.0.1" in result.output
    assert "secret" not in result.output


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("command", ["create", "migrate", "status"])
def test_a_damaged_file_is_named_and_left(shop: Shop, command: str) -> None:
    path = shop.settings.path
    assert path is not None
    path.parent.mkdir()
    content = b"no database at all" * 500
    path.write_bytes(content)

    result = shop.db(command)

    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert path.read_bytes() == content


@sqlite_first
@pytest.mark.parametrize("command", ["drop", "reset"])
def test_nothing_is_removed_without_force(shop: Shop, command: str) -> None:
    """What would go is named, and the exit status is that of a refusal."""
    shop.db("create")
    shop.db("migrate")
    for _ in range(2):
        enqueue(shop.storage)
    shop.sql.run(
        "UPDATE forge_job SET status = 'dead' "
        "WHERE id = (SELECT MAX(id) FROM forge_job)"
    )

    there = contents(shop.settings)
    assert there is not None

    result = shop.db(command)

    assert result.exit_code == 2
    names = ", ".join(sorted(there.tables))
    text = f"would remove {len(there.tables)} tables ({names})"
    assert f"Error: {command} {text}" in result.stderr
    assert "with 2 jobs (1 dead, 1 pending) from " in result.stderr
    assert shop.settings.dsn_for_display in result.stderr
    assert shop.sql.value("SELECT COUNT(*) FROM forge_job") == 2


def test_the_refusal_counts_live_workers(shop: Shop) -> None:
    shop.db("create")
    shop.db("migrate")
    for host in ("one", "two"):
        shop.storage.workers.beat(host, None, ["default"], [])

    result = shop.db("drop")

    assert result.exit_code == 2
    assert "while 2 workers are live; add --force to do it" in result.stderr


@pytest.mark.parametrize("flag", ["--force", "-f"])
def test_drop_removes_everything(shop: Shop, tmp_path: Path, flag: str) -> None:
    shop.db("create")
    shop.db("migrate")
    enqueue(shop.storage)
    shop.storage.close()

    result = shop.db("drop", "--database", flag)

    assert (result.exit_code, result.stdout) == (0, "drop: ok\n")
    assert shop.db("status").exit_code == 1
    if shop.settings.backend == "sqlite":
        assert list((tmp_path / "data").iterdir()) == []


OURS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE name LIKE 'forge%'",
    "postgres": "SELECT relname FROM pg_class WHERE relname LIKE 'forge%' "
    "UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE 'forge%' "
    "UNION ALL SELECT typname FROM pg_type WHERE typname LIKE 'forge%'",
}


@pytest.mark.parametrize("command", ["drop", "reset"])
def test_tables_of_the_application_survive(shop: Shop, command: str) -> None:
    """Those of Flask-SQLAlchemy, in the same database."""
    shop.db("create")
    shop.db("migrate")
    enqueue(shop.storage)
    shop.storage.close()
    db = SQLAlchemy()

    class Customer(db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String, unique=True)

    url = shop.app.config["FORGE_JOBS_DATABASE_URL"].replace("sql:", "sql+psycopg2:")
    shop.app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(shop.app)
    with shop.app.app_context():
        db.create_all()
        db.session.add(Customer(name="ada"))
        db.session.commit()

        refused = shop.db(command, "--force", "--database")
        result = shop.db(command, "--force")

        assert db.session.execute(db.select(Customer.name)).scalars().all() == ["ada"]
        db.session.remove()
        db.engine.dispose()
    assert (refused.exit_code, result.exit_code) == (2, 0)
    told = "also contains customer; leave out --database"
    assert told in refused.stderr
    assert bool(shop.sql.run(OURS[shop.sql.backend])) is (command == "reset")
    assert shop.sql.run("SELECT name FROM customer") == [("ada",)]


def test_a_reference_to_a_table_of_ours_keeps_everything(shop: Shop) -> None:
    """A cascade would change a table that is not ours."""
    shop.db("create")
    shop.db("migrate")
    enqueue(shop.storage)
    shop.storage.close()
    shop.sql.run("CREATE TABLE receipt (job TEXT REFERENCES forge_job (id))")

    result = shop.db("drop", "--force")

    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert shop.sql.value("SELECT COUNT(*) FROM forge_job") == 1


@sqlite_first
def test_drop_of_what_is_missing_is_fine(shop: Shop) -> None:
    assert shop.db("drop", "--force").exit_code == 0
    assert shop.db("drop", "--force", "--database").exit_code == 0


@sqlite_first
def test_sec_S42_reset_begins_the_new_trail_with_an_entry(shop: Shop) -> None:
    shop.db("create")
    enqueue(shop.storage)
    enqueue(shop.storage)
    shop.storage.close()

    assert shop.db("reset", "--force").exit_code == 0

    [entry] = shop.storage.audit.page(AuditFilter(), 9)
    assert entry.record.actor.startswith("command:")
    assert (entry.record.action, entry.record.changed) == ("db_reset", 2)
    assert entry.detail["arguments"] == {"jobs": {"pending": 2}, "database": False}


@sqlite_first
def test_sec_S42_drop_takes_the_trail_and_leaves_a_line(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.db("create")
    enqueue(shop.storage)
    shop.storage.close()

    assert shop.db("drop", "--force").exit_code == 0
    assert shop.db("drop", "--force").exit_code == 0

    [line] = [each for each in caplog.messages if each.startswith("db drop by")]
    assert "with 1 jobs (1 pending)" in line
    assert len(line.splitlines()) == 1


def test_reset_of_what_is_missing_makes_it(shop: Shop) -> None:
    assert shop.db("reset", "--force").exit_code == 0
    assert shop.db("status").exit_code == 0


@pytest.mark.parametrize("options", [(), ("--database",)])
def test_reset_leaves_an_empty_database(shop: Shop, options: tuple[str, ...]) -> None:
    shop.db("create")
    shop.db("migrate")
    enqueue(shop.storage)
    shop.storage.close()

    result = shop.db("reset", "--force", *options)

    assert (result.exit_code, result.stdout) == (0, "reset: ok\n")
    assert shop.sql.value("SELECT COUNT(*) FROM forge_job") == 0
    assert shop.db("status").exit_code == 0


@pytest.mark.parametrize("arguments", [("nonsense",), ("status", "--nonsense")])
@pytest.mark.parametrize("backend", ["sqlite"])
def test_unknown_arguments_are_usage_errors(
    shop: Shop, arguments: tuple[str, ...]
) -> None:
    assert shop.db(*arguments).exit_code == 2
