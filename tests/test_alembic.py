"""Autogenerate leaves the tables of the jobs alone, with Flask-Migrate and without."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask import Flask
from flask_migrate import Migrate

from flask_forge_jobs import alembic
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.administration import contents
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import enqueue
from tests.support.sql import Sql

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "migrate.rst"
URL = "postgresql://app@localhost/app"
MODULE = "migrated_shop"


def python_blocks() -> Iterator[str]:
    """Yield the Python that the page shows, block by block."""
    for part in PAGE.read_text("utf-8").split(".. code-block:: python\n")[1:]:
        lines = part.splitlines()
        end = next(n for n, line in enumerate(lines) if line[:1].strip())
        yield textwrap.dedent(
            "\n".join(line for line in lines[:end] if not line.startswith("   :"))
        )


PROGRAM, FACTORY, ENVIRONMENT, OWN_FILTER, MAPPED = python_blocks()


def for_sqlalchemy(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg2:")


def drop_others(url: str) -> None:
    """Drop what other tests, or this one, have put beside our tables."""
    engine = sqlalchemy.create_engine(for_sqlalchemy(url))
    with engine.begin() as opened:
        for table in sqlalchemy.inspect(opened).get_table_names():
            if table not in alembic.TABLES:
                opened.exec_driver_sql(f"DROP TABLE {table}")
    engine.dispose()


@pytest.fixture
def jobs(storage: Storage, database_url: str) -> Iterator[str]:
    """The id of a job in a database that holds the tables of the jobs only."""
    job_id = enqueue(storage)
    drop_others(database_url)
    yield job_id
    drop_others(database_url)


@pytest.fixture
def connection(database_url: str, jobs: str) -> Iterator[sqlalchemy.Connection]:
    del jobs
    engine = sqlalchemy.create_engine(for_sqlalchemy(database_url))
    with engine.connect() as opened:
        yield opened
    engine.dispose()


# -- the filters -------------------------------------------------------------------


def differences(
    connection: sqlalchemy.Connection,
    metadata: sqlalchemy.MetaData,
    **filters: Any,
) -> set[tuple[str, str]]:
    """Return what autogenerate would do, and to which table or index."""
    context = MigrationContext.configure(connection, opts=filters)
    return {(deed, item.name) for deed, item in compare_metadata(context, metadata)}


def test_the_names_are_those_that_the_migrations_make(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    storage.open()
    found = contents(database_settings)

    assert found is not None
    assert set(found.tables) == alembic.TABLES


FILTERS: list[dict[str, Any]] = [
    {"include_name": alembic.include_name},
    {"include_object": alembic.include_object},
    {"include_name": alembic.include_name, "include_object": alembic.include_object},
]


@pytest.mark.parametrize("filters", FILTERS, ids=["name", "object", "both"])
def test_a_filter_leaves_out_our_tables_and_no_other(
    connection: sqlalchemy.Connection, filters: dict[str, Any]
) -> None:
    """A table of the application may begin with our prefix and refer to a job."""
    for statement in (
        "CREATE TABLE forge_customer (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE INDEX forge_customer_name ON forge_customer (name)",
        "CREATE TABLE receipt (job TEXT REFERENCES forge_job (id))",
    ):
        connection.execute(sqlalchemy.text(statement))
    connection.commit()

    assert differences(connection, sqlalchemy.MetaData(), **filters) == {
        ("remove_index", "forge_customer_name"),
        ("remove_table", "forge_customer"),
        ("remove_table", "receipt"),
    }


def test_without_a_filter_they_would_be_dropped(
    connection: sqlalchemy.Connection,
) -> None:
    found = differences(connection, sqlalchemy.MetaData())

    dropped = {name for deed, name in found if deed == "remove_table"}
    assert dropped == alembic.TABLES
    assert ("remove_index", "forge_job_claim") in found


def test_a_model_may_map_a_table_of_ours(connection: sqlalchemy.Connection) -> None:
    """With some of its columns and none of its indexes."""
    metadata = sqlalchemy.MetaData()
    sqlalchemy.Table(
        "forge_job", metadata, sqlalchemy.Column("id", sqlalchemy.Text, index=True)
    )

    for filters in FILTERS[1:]:
        assert differences(connection, metadata, **filters) == set()
    assert differences(connection, metadata, **FILTERS[0]) != set()


def test_parts_of_our_tables_are_left_out_too() -> None:
    metadata = sqlalchemy.MetaData()
    for name, expected in (("forge_job", False), ("forge_customer", True)):
        column = sqlalchemy.Column("id", sqlalchemy.Text)
        index = sqlalchemy.Index("by_id", column)
        sqlalchemy.Table(name, metadata, column)
        parents = {"schema_name": None, "table_name": name}

        assert alembic.include_name("id", "column", parents) is expected
        assert alembic.include_name("by_id", "index", parents) is expected
        assert alembic.include_object(column, "id", "column", True, None) is expected
        assert alembic.include_object(index, "by_id", "index", True, None) is expected
    assert alembic.include_name(None, "schema", {}) is True


def test_the_page_composes_filters(connection: sqlalchemy.Connection) -> None:
    connection.execute(sqlalchemy.text("CREATE TABLE receipt (id INTEGER)"))
    connection.commit()
    given: dict[str, Any] = {}
    exec(OWN_FILTER.replace("spatial_ref_sys", "receipt"), given)

    found = differences(
        connection, sqlalchemy.MetaData(), include_name=given["include_name"]
    )

    assert found == set()


def test_the_page_passes_the_filters() -> None:
    passed: list[dict[str, Any]] = []
    names = {
        "context": SimpleNamespace(configure=lambda **given: passed.append(given)),
        "Migrate": lambda *_args, **given: passed.append(given),
        **dict.fromkeys(("app", "connection", "db", "metadata")),
        "alembic": alembic,
    }

    exec(ENVIRONMENT, dict(names))
    exec(MAPPED, dict(names))

    assert passed[0]["include_name"] is alembic.include_name
    assert passed[1] == {"include_object": alembic.include_object}


# -- Flask-Migrate -----------------------------------------------------------------


@pytest.fixture
def app(
    jobs: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """The application of the page, on the database of the test."""
    del jobs
    program = PROGRAM
    for address in (str, for_sqlalchemy):
        assert f'"{address(URL)}"' in program
        program = program.replace(f'"{address(URL)}"', repr(address(database_url)))
    (tmp_path / f"{MODULE}.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    # It would turn off the logs of the tests that come after.
    monkeypatch.setattr("logging.config.fileConfig", lambda *_args: None)
    module = importlib.import_module(MODULE)
    yield module.app
    with module.app.app_context():
        module.db.engine.dispose()
    state_of(module.app).storage.close()
    del sys.modules[MODULE]


def test_the_filter_reaches_flask_migrate_from_a_factory() -> None:
    app = Flask("shop")

    exec(FACTORY, {"app": app, "db": None, "alembic": alembic, "Migrate": Migrate})

    passed = app.extensions["migrate"].configure_args
    assert passed["include_name"] is alembic.include_name


# Flask-Migrate asks for the engine in the way of old versions first.
@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")
def test_flask_migrate_goes_up_and_down_beside_our_tables(
    app: Flask, jobs: str, sql: Sql, tmp_path: Path, database_settings: DatabaseSettings
) -> None:
    folder = tmp_path / "migrations"

    def flask_db(*arguments: str) -> None:
        result = app.test_cli_runner().invoke(
            args=["db", *arguments, "--directory", str(folder)],
            catch_exceptions=False,
        )
        assert result.exit_code == 0, result.output

    def tables() -> set[str]:
        found = contents(database_settings)
        assert found is not None
        return {*found.tables, *found.others}

    flask_db("init")
    flask_db("migrate")
    (script,) = (folder / "versions").glob("*.py")
    text = script.read_text("utf-8")
    assert "create_table('invoice'" in text
    assert "drop_table('invoice'" in text
    assert "forge_" not in text

    flask_db("upgrade")
    assert tables() == alembic.TABLES | {"alembic_version", "invoice"}
    flask_db("migrate")
    assert list((folder / "versions").glob("*.py")) == [script]  # nothing was left

    flask_db("downgrade")
    assert tables() == alembic.TABLES | {"alembic_version"}
    assert sql.run("SELECT id FROM forge_job") == [(jobs,)]
