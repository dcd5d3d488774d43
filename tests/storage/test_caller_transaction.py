"""Finding the driver's connection in what an application passes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy
from sqlalchemy import orm

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.caller_transaction import look_below


@pytest.fixture
def engine() -> Iterator[sqlalchemy.Engine]:
    """An engine of some application's."""
    engine = sqlalchemy.create_engine("sqlite://")
    yield engine
    engine.dispose()


def test_anything_else_is_returned_as_it_is() -> None:
    given = object()

    assert look_below(given).driver is given
    assert look_below(None).driver is None


def test_sqlalchemy_knows_of_the_transaction(engine: sqlalchemy.Engine) -> None:
    with engine.connect() as connection:
        found = look_below(connection)

        assert connection.in_transaction()
        assert found.driver is connection.connection.dbapi_connection
        assert found.wrapper is connection


def test_a_session_gives_the_connection_that_it_works_with(
    engine: sqlalchemy.Engine,
) -> None:
    with orm.Session(engine) as session:
        assert look_below(session).wrapper is session.connection()


def test_a_closed_connection_of_sqlalchemy_raises(engine: sqlalchemy.Engine) -> None:
    connection = engine.connect()
    connection.close()

    with pytest.raises(StorageError, match="ResourceClosedError"):
        look_below(connection)


def test_a_session_without_a_database_raises() -> None:
    with pytest.raises(StorageError, match="UnboundExecutionError"):
        look_below(orm.Session())


def test_the_package_does_not_import_sqlalchemy() -> None:
    script = (
        "import sys, sqlite3, flask_forge_jobs\n"
        "from flask_forge_jobs.storage.caller_transaction import look_below\n"
        "given = sqlite3.connect(':memory:')\n"
        "assert look_below(given).driver is given\n"
        "sys.exit('sqlalchemy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
