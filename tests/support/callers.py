"""An application's own connections to the database of the jobs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg2
import sqlalchemy

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.sqlite import disable_autocheckpoint

TABLE = "CREATE TABLE IF NOT EXISTS signup (name TEXT)"


class Caller:
    """An application with a table of its own beside ours.

    Args:
        settings: The database.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self.settings = settings
        self._engines: list[sqlalchemy.Engine] = []

    def connect(self, **options: Any) -> Any:
        """Return a connection of the driver, not in autocommit mode."""
        if self.settings.backend == "sqlite":
            assert self.settings.path is not None
            connection = sqlite3.connect(
                self.settings.path, **({"timeout": 0.2} | options)
            )
            disable_autocheckpoint(connection)
            return connection
        return psycopg2.connect(**self.settings.connect_parameters(), **options)

    @contextlib.contextmanager
    def connected(self, **options: Any) -> Iterator[Any]:
        """Close the connection at the end of a block."""
        with contextlib.closing(self.connect(**options)) as connection:
            yield connection

    def engine(self, **options: Any) -> sqlalchemy.Engine:
        """Return an engine of SQLAlchemy."""
        scheme = {"sqlite": "sqlite", "postgres": "postgresql+psycopg2"}
        engine = sqlalchemy.create_engine(
            f"{scheme[self.settings.backend]}://", creator=self.connect, **options
        )
        self._engines.append(engine)
        return engine

    def close(self) -> None:
        """Close what the engines keep open."""
        for engine in self._engines:
            engine.dispose()


def sign_up(connection: Any, name: str) -> None:
    """Do some work of the application's through a driver's connection."""
    cursor = connection.cursor()
    # The name is a word of the test's.
    cursor.execute(f"INSERT INTO signup (name) VALUES ('{name}')")
    cursor.close()
