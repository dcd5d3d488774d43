"""Autogenerate leaves the tables of the jobs alone, with Flask-Migrate and without.

The installed version is asked, and for older ones there are stand-ins;
``tests.acceptance.migrations`` runs several versions in environments of their own.
"""

from __future__ import annotations

import importlib
import subprocess
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
from flask import Flask, appcontext_pushed

from flask_forge_jobs import ForgeJobs, alembic
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.administration import contents
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import tables_of
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


PROGRAM, ENVIRONMENT = python_blocks()


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


@pytest.fixture(autouse=True)
def _alembic_has_the_filters() -> None:
    """As in each program with jobs; versions that load plug-ins have them anyway."""
    alembic.protect_tables()


needs_plugins = pytest.mark.skipif(
    alembic.old_version() is not None, reason="this Alembic loads no plug-ins"
)

# -- the filters -------------------------------------------------------------------


def differences(
    connection: sqlalchemy.Connection, metadata: sqlalchemy.MetaData, **filters: Any
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
    assert set(found.tables) == tables_of(storage.backend)


FILTERS: list[dict[str, Any]] = [
    {},
    {"include_name": alembic.include_name},
    {"include_object": alembic.include_object},
    {"include_name": alembic.include_name, "include_object": alembic.include_object},
]


@pytest.mark.parametrize("filters", FILTERS, ids=["none", "name", "object", "both"])
def test_our_tables_are_left_out_and_no_other(
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


def test_without_the_filters_they_would_be_dropped(
    connection: sqlalchemy.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("include_name", "include_object"):
        monkeypatch.setattr(alembic, name, lambda *_: True)

    found = differences(connection, sqlalchemy.MetaData())

    dropped = {name for deed, name in found if deed == "remove_table"}
    assert dropped == tables_of(connection.dialect.name)
    assert ("remove_index", "forge_job_claim") in found


@pytest.mark.parametrize("schema", [True, False], ids=["schemas", "default"])
def test_they_are_left_out_in_every_schema(
    connection: sqlalchemy.Connection, *, schema: bool
) -> None:
    assert (
        differences(connection, sqlalchemy.MetaData(), include_schemas=schema) == set()
    )


def test_a_model_may_map_a_table_of_ours(connection: sqlalchemy.Connection) -> None:
    """With some of its columns and none of its indexes."""
    metadata = sqlalchemy.MetaData()
    sqlalchemy.Table(
        "forge_job", metadata, sqlalchemy.Column("id", sqlalchemy.Text, index=True)
    )

    for filters in FILTERS:
        assert differences(connection, metadata, **filters) == set()


def test_filters_of_the_application_stay_in_force(
    connection: sqlalchemy.Connection,
) -> None:
    for name in ("receipt", "spatial_ref_sys", "bill"):
        connection.execute(sqlalchemy.text(f"CREATE TABLE {name} (id INTEGER)"))
    connection.commit()

    found = differences(
        connection,
        sqlalchemy.MetaData(),
        include_name=lambda name, *_: name != "spatial_ref_sys",
        include_object=lambda _object, name, *_: name != "receipt",
    )

    assert found == {("remove_table", "bill")}


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


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_routines_are_those_that_the_migrations_make(sql: Sql) -> None:
    found = sql.run(
        "SELECT proname FROM pg_proc WHERE starts_with(proname, 'forge_') UNION "
        "SELECT tgname FROM pg_trigger WHERE starts_with(tgname, 'forge_')"
    )

    assert {name for (name,) in found} == alembic.ROUTINES


@pytest.mark.parametrize(
    ("name", "type_", "expected"),
    [
        ("public.forge_claim(from_queue text, row_limit integer)", "function", False),
        ("public.forge_job_count_insert", "trigger", False),
        ("public.forge_claim_refund(id integer)", "function", True),
        ("public.forge_job", "view", True),
    ],
)
def test_routines_are_left_out_as_alembic_utils_names_them(
    name: str, type_: str, *, expected: bool
) -> None:
    parents = {"schema_name": "public", "table_name": "Not applicable"}

    assert alembic.include_name(name, type_, parents) is expected
    assert alembic.include_object(object(), name, type_, True, None) is expected


def test_the_page_passes_the_filter() -> None:
    passed: list[dict[str, Any]] = []
    names = {
        "context": SimpleNamespace(configure=lambda **given: passed.append(given)),
        **dict.fromkeys(("connection", "metadata")),
    }

    exec(ENVIRONMENT, dict(names))

    assert passed[0]["include_name"] is alembic.include_name


# -- how Alembic comes to the filters ------------------------------------------------


@needs_plugins
def test_alembic_loads_the_plug_in_by_itself() -> None:
    """From 1.18 on by iteration over the entry point, from 1.20.1 on as a module."""
    script = (
        "import sys, alembic.autogenerate\n"
        "from alembic.runtime import plugins\n"
        f"sys.exit({alembic.PLUGIN_NAME!r} not in plugins._all_plugins)"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert list(alembic.PLUGIN) == [alembic.PLUGIN]


def test_the_plug_in_costs_no_import() -> None:
    script = (
        "import sys\n"
        "from flask_forge_jobs import alembic\n"
        "assert not alembic.protect_tables()\n"
        "heavy = {'alembic', 'sqlalchemy', 'flask', 'flask_forge_jobs.exports'}\n"
        "sys.exit(bool(heavy.intersection(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@needs_plugins
def test_an_application_installs_the_plug_in_where_no_entry_point_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = sys.modules["alembic.runtime.plugins"]._all_plugins
    monkeypatch.delitem(installed, alembic.PLUGIN_NAME)

    ForgeJobs()
    ForgeJobs()

    assert alembic.PLUGIN_NAME in installed


class OldComparators:
    """``comparators`` of Alembic 1.17, which calls functions in this order."""

    def __init__(self) -> None:
        self._registry = {("schema", "default"): ["compare the tables"]}


@pytest.fixture
def old_alembic(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The functions that an old Alembic would call, which is not imported yet."""
    monkeypatch.delitem(sys.modules, "alembic.runtime.plugins", raising=False)
    monkeypatch.delitem(sys.modules, "alembic.autogenerate.compare")
    return OldComparators()._registry["schema", "default"]


def import_old(monkeypatch: pytest.MonkeyPatch, functions: list[Any]) -> None:
    comparators = OldComparators()
    comparators._registry["schema", "default"] = functions
    module = SimpleNamespace(comparators=comparators)
    monkeypatch.setitem(sys.modules, "alembic.autogenerate.compare", module)


def test_an_old_alembic_gets_the_filters_before_it_compares(
    old_alembic: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import_old(monkeypatch, old_alembic)

    ForgeJobs()
    ForgeJobs()

    assert old_alembic == [alembic.use_filters, "compare the tables"]


def test_an_old_alembic_may_be_imported_after_the_application(
    old_alembic: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Flask("shop")
    ForgeJobs(app)
    import_old(monkeypatch, old_alembic)

    with app.app_context():
        pass

    assert old_alembic == [alembic.use_filters, "compare the tables"]
    assert not list(appcontext_pushed.receivers_for(app))  # later contexts are free


# -- Flask-Migrate -----------------------------------------------------------------


@pytest.fixture
def app(
    jobs: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """The application of the page, on the database of the test."""
    del jobs
    program = PROGRAM
    address = for_sqlalchemy(URL)
    assert f'"{address}"' in program
    program = program.replace(f'"{address}"', repr(for_sqlalchemy(database_url)))
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


# Flask-Migrate asks for the engine in the way of old versions first.
@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")
def test_flask_migrate_goes_up_and_down_beside_our_tables(
    app: Flask, jobs: str, sql: Sql, tmp_path: Path, database_settings: DatabaseSettings
) -> None:
    folder = tmp_path / "migrations"

    def flask_db(*arguments: str) -> None:
        result = app.test_cli_runner().invoke(
            args=["db", *arguments, "--directory", str(folder)], catch_exceptions=False
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
    assert tables() == tables_of(database_settings.backend) | {
        "alembic_version",
        "invoice",
    }
    flask_db("migrate")
    assert list((folder / "versions").glob("*.py")) == [script]  # nothing was left

    flask_db("downgrade")
    assert tables() == tables_of(database_settings.backend) | {"alembic_version"}
    assert sql.run("SELECT id FROM forge_job") == [(jobs,)]
