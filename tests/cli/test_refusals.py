"""What the real ``flask`` program says when a command cannot do its work."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from tests.support.backends import long, sqlite_first
from tests.support.commands import Application
from tests.support.sql import Sql

EX_CONFIG = 78
USAGE = 2
# The full tier runs every command; each of them is a process that takes a second.
USES_THE_SCHEMA = ["worker", *map(long, (
    "db status", "worker --processes 2", "db migrate", "audit prune --days 100",
))]  # fmt: skip
USES_THE_DATABASE = [*USES_THE_SCHEMA, long("db create")]
COMMANDS = [*USES_THE_DATABASE, *map(long, ("db drop --force", "db reset --force"))]


def assert_refused(
    finished: subprocess.CompletedProcess[str], status: int, *parts: str
) -> None:
    """The last line, and no other, is the error; it holds these texts."""
    assert finished.returncode == status, finished.stderr
    lines = finished.stderr.splitlines()
    assert [line.startswith("Error: ") for line in lines].count(True) == 1
    for part in ("Error: ", *parts):
        assert part in lines[-1]
    assert "Traceback" not in finished.stderr + finished.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_key_that_is_no_setting_is_named(tmp_path: Path, command: str) -> None:
    """The application itself does not load."""
    application = Application(tmp_path, "sqlite:///queue.sqlite", lease=5)

    finished = application.run(*command.split())

    assert_refused(finished, EX_CONFIG, "FORGE_JOBS_LEASE: unknown setting")
    assert not (tmp_path / "instance").exists()


def test_a_value_that_is_wrong_is_named(tmp_path: Path) -> None:
    application = Application(tmp_path, "sqlite:///queue.sqlite", lease_s="soon")

    finished = application.run("db", "status")

    assert_refused(finished, EX_CONFIG, "FORGE_JOBS_LEASE_S: must be a number")


@pytest.mark.parametrize(
    "command", ["worker", "enqueue quick", *map(long, ("worker --processes 2",))]
)
def test_jobs_in_memory_are_refused(tmp_path: Path, command: str) -> None:
    """D14: another process would not see them, and they would end with this one."""
    finished = Application(tmp_path, "sqlite:///:memory:").run(*command.split())

    assert_refused(
        finished, EX_CONFIG, "FORGE_JOBS_DATABASE_URL: ", "in the memory", "name a file"
    )
    assert finished.stdout == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_out_of_reach_is_named(tmp_path: Path, command: str) -> None:
    url = "postgresql://nobody:secret@127.0.0.1:1/nothing"

    finished = Application(tmp_path, url).run(*command.split())

    assert_refused(finished, 1, "127.0.0.1:1", "refused")
    assert "secret" not in finished.stderr + finished.stdout


@sqlite_first
@pytest.mark.parametrize("command", USES_THE_SCHEMA)
def test_a_schema_of_a_newer_package_is_told(
    sql: Sql, application: Application, command: str
) -> None:
    """E11: both versions are named and nothing is changed."""
    with sql.newer_schema():
        finished = application.run(*command.split())

    assert_refused(finished, 1, "99", "upgrade flask-forge-jobs")


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("command", USES_THE_DATABASE)
def test_a_damaged_file_is_named_and_left(
    database_settings: DatabaseSettings, application: Application, command: str
) -> None:
    """Never re-created over what may still be rescued."""
    path = database_settings.path
    assert path is not None
    content = b"this is no database" * 1000
    path.write_bytes(content)

    finished = application.run(*command.split())

    assert_refused(finished, 1, str(path), "not a sound SQLite database")
    assert path.read_bytes() == content


def test_an_application_without_the_extension_is_told(tmp_path: Path) -> None:
    application = Application(tmp_path, "sqlite:///queue.sqlite")
    (tmp_path / "shop.py").write_text("import flask\napp = flask.Flask('shop')\n")

    finished = application.run("worker")

    assert finished.returncode == USAGE
    assert finished.stderr.splitlines()[-1] == (
        "Error: this application has no ForgeJobs; call forge.init_app(app) first"
    )
    assert "Traceback" not in finished.stderr


def test_an_error_of_the_application_itself_keeps_its_traceback(tmp_path: Path) -> None:
    application = Application(tmp_path, "sqlite:///queue.sqlite")
    (tmp_path / "shop.py").write_text("1 / 0\n")

    finished = application.run("worker")

    assert finished.returncode == 1
    assert "Traceback" in finished.stderr
    assert finished.stderr.splitlines()[-1].startswith("ZeroDivisionError")


def test_a_token_is_made_without_an_application(tmp_path: Path) -> None:
    application = Application(tmp_path, "sqlite:///queue.sqlite")
    (tmp_path / "shop.py").unlink()

    finished = application.run("token", "new", "--role", "viewer")

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("fj")
