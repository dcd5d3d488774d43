"""What the drivers read from a database in the end, and that they would notice."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import psycopg2
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from tests.acceptance.evidence import damage, idlers
from tests.support.sql import Sql

_CONSTANT = (
    "CREATE OR REPLACE FUNCTION forge_constant(n INTEGER) RETURNS INTEGER "
    "LANGUAGE SQL IMMUTABLE AS 'SELECT {}'"
)


@pytest.fixture
def _damaged(database_settings: DatabaseSettings) -> Iterator[None]:
    """Damage a table of its own: the next test needs the others."""
    sql = Sql(database_settings)
    sql.run("CREATE TABLE forge_bent (n INTEGER CHECK (n > 0))")
    if database_settings.path is not None:
        with contextlib.closing(sqlite3.connect(database_settings.path)) as file:
            file.execute("PRAGMA ignore_check_constraints = ON")
            file.execute("INSERT INTO forge_bent VALUES (0)")
            file.commit()
    else:
        sql.run("INSERT INTO forge_bent VALUES (1)")
        sql.run(_CONSTANT.format(1))
        sql.run("CREATE INDEX forge_bent_index ON forge_bent (forge_constant(n))")
        # The index keeps what the function said before.
        sql.run(_CONSTANT.format(2))
    try:
        yield
    finally:
        sql.run("DROP TABLE forge_bent")
        if database_settings.path is None:
            sql.run("DROP FUNCTION forge_constant; DROP EXTENSION IF EXISTS amcheck")


def test_a_sound_database_has_no_damage(database_settings: DatabaseSettings) -> None:
    assert damage(Sql(database_settings), database_settings) == []


@pytest.mark.usefixtures("_damaged")
def test_damage_is_told(database_settings: DatabaseSettings) -> None:
    sql = Sql(database_settings)
    if database_settings.backend == "sqlite":
        assert damage(sql, database_settings) == [
            "CHECK constraint failed in forge_bent"
        ]
    else:
        with pytest.raises(psycopg2.Error, match="forge_bent_index"):
            damage(sql, database_settings)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_no_check_is_no_soundness(
    database_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without the extension says so; nobody takes that for a sound one."""
    sql = Sql(database_settings)
    real = sql.run

    def run(statement: str, *values: object) -> list[tuple[object, ...]]:
        return real(statement.replace("amcheck", "no_such_check"), *values)

    monkeypatch.setattr(sql, "run", run)

    with pytest.raises(psycopg2.Error, match="no_such_check"):
        damage(sql, database_settings)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_transaction_that_is_left_alone_is_told(
    database_settings: DatabaseSettings,
) -> None:
    sql = Sql(database_settings)
    with contextlib.closing(
        psycopg2.connect(**database_settings.connect_parameters())
    ) as session:
        with session.cursor() as cursor:
            cursor.execute("SELECT 'left alone'")
        pid = session.info.backend_pid

        assert idlers(sql, 0.0) == [
            f"session {pid} was idle in a transaction after SELECT 'left alone'"
        ]
        assert idlers(sql, 60.0) == []
        session.commit()
        assert idlers(sql, 0.0) == []
