"""The words of findings on settings; :mod:`.deployments` has each fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Request, abort

from flask_forge_jobs.cli.doctor.application import findings_of
from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.state import state_of
from tests.cli.console import SOUND, Console


def findings(folder: Path, **settings: object) -> list[Finding]:
    app = Console(folder, settings={**SOUND, **settings}).app
    with app.app_context():
        return list(findings_of(app, state_of(app)))


def test_a_variable_is_named_with_the_way_to_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGE_JOBS_POOL_SIZE", "5")

    (finding,) = findings(tmp_path)

    assert finding.text.startswith("FORGE_JOBS_POOL_SIZE is set in the environment")
    assert "from_prefixed_env()" in finding.remedy


def test_the_place_that_turns_debug_mode_on_is_named(tmp_path: Path) -> None:
    console = Console(tmp_path, settings=SOUND)

    result = console.run("doctor", "--json", FLASK_DEBUG="1")

    console.storage.close()
    texts = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert "Debug mode is on: FLASK_DEBUG in the environment." in texts


def refuses(_: Request) -> None:
    return None


def redirects(_: Request) -> None:
    abort(401)


def fails(_: Request) -> None:
    raise KeyError("session")


@pytest.mark.parametrize("login", [refuses, redirects, fails])
def test_a_login_that_refuses_strangers_is_none(tmp_path: Path, login: object) -> None:
    assert findings(tmp_path, FORGE_JOBS_AUTH=login) == []
