"""Settings and environments that are broken on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Request, abort

from flask_forge_jobs.cli.doctor import application
from flask_forge_jobs.cli.doctor.application import findings_of
from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.state import state_of
from tests.cli.console import SOUND, Console


def findings(folder: Path, **settings: object) -> list[Finding]:
    app = Console(folder, settings={**SOUND, **settings}).app
    with app.app_context():
        return list(findings_of(app, state_of(app)))


def codes(folder: Path, **settings: object) -> list[str]:
    return [each.code for each in findings(folder, **settings)]


def test_a_sound_application(tmp_path: Path) -> None:
    assert codes(tmp_path) == []


def test_a_variable_that_nothing_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGE_JOBS_POOL_SIZE", "5")

    (finding,) = findings(tmp_path)

    assert finding.code == "variable_ignored"
    assert finding.text.startswith("FORGE_JOBS_POOL_SIZE is set in the environment")
    assert "from_prefixed_env()" in finding.remedy


def test_debug_mode(tmp_path: Path) -> None:
    console = Console(tmp_path, settings=SOUND)

    result = console.run("doctor", "--json", FLASK_DEBUG="1")

    console.storage.close()
    found = {each["code"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert (
        found["debug_mode"]["text"]
        == "Debug mode is on: FLASK_DEBUG in the environment."
    )


def test_nobody_gets_in(tmp_path: Path) -> None:
    assert codes(tmp_path, FORGE_JOBS_TOKENS=[]) == ["no_access"]


def refuses(_: Request) -> None:
    return None


def redirects(_: Request) -> None:
    abort(401)


def fails(_: Request) -> None:
    raise KeyError("session")


@pytest.mark.parametrize("login", [refuses, redirects, fails])
def test_a_login_that_refuses_strangers(tmp_path: Path, login: object) -> None:
    assert codes(tmp_path, FORGE_JOBS_AUTH=login) == []


def test_a_login_that_lets_in_everybody(tmp_path: Path) -> None:
    assert codes(tmp_path, FORGE_JOBS_AUTH=lambda _: True) == ["open_to_everybody"]


def test_no_secret(tmp_path: Path) -> None:
    assert codes(tmp_path, SECRET_KEY=None) == ["secret_missing"]


def test_a_pool_that_is_smaller_than_a_worker(tmp_path: Path) -> None:
    small = {
        "FORGE_JOBS_DATABASE_URL": "postgresql://shop@127.0.0.1:1/none",
        "FORGE_JOBS_POOL_SIZE": 5,
    }

    (finding,) = findings(tmp_path, **small)

    assert finding.code == "pool_too_small"
    assert finding.remedy.startswith("set it to 13 or more")


def test_tables_that_a_migration_would_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hazard = "Alembic 1.13.0 drops the tables of the jobs; install Alembic 1.18"
    monkeypatch.setattr(application, "alembic_hazard", lambda *_: hazard)

    (finding,) = findings(tmp_path)

    assert finding == Finding(
        "alembic_drops_tables",
        "Alembic 1.13.0 drops the tables of the jobs.",
        "install Alembic 1.18",
    )
