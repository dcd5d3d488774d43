"""The factory of the manual: its migrations, as a user types them, spare the jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.administration import contents
from tests.examples.pages import write_files
from tests.support.backends import sqlite_first, tables_of
from tests.support.postgres import fresh_database

MAX_LINES = 45
ENQUEUE = """
from app import create_app, send_receipt
with create_app().app_context():
    send_receipt.enqueue(1)
"""


@pytest.fixture
def url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database, in the spelling of SQLAlchemy."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.sqlite'}"
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as address:
        yield address.replace("postgresql:", "postgresql+psycopg2:")


def test_the_program_is_short(tmp_path: Path) -> None:
    text = write_files("factory.rst", tmp_path)["app.py"]

    assert len(text.strip().splitlines()) <= MAX_LINES


@pytest.mark.long
@sqlite_first
def test_its_migrations_leave_the_jobs_alone(url: str, tmp_path: Path) -> None:
    """``flask db init``, ``migrate``, ``upgrade`` and ``migrate``, without a filter."""
    write_files("factory.rst", tmp_path)
    environ = {**os.environ, "FLASK_SQLALCHEMY_DATABASE_URI": url, "FLASK_APP": "app"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def flask_db(*arguments: str) -> str:
        return run("-m", "flask", "db", *arguments)

    run("-c", ENQUEUE)
    flask_db("init")
    flask_db("migrate")
    (script,) = (tmp_path / "migrations" / "versions").glob("*.py")
    assert "create_table('order'" in script.read_text("utf-8")
    assert "forge_" not in script.read_text("utf-8")
    flask_db("upgrade")
    assert "No changes in schema detected" in flask_db("migrate")

    settings = DatabaseSettings.from_url(url)
    found = contents(settings)
    assert found is not None
    assert set(found.tables) == tables_of(settings.backend)
    assert set(found.others) == {"alembic_version", "order"}
    assert found.jobs == {"pending": 1}
