from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo

from flask_forge_jobs.cli.doctor.command import doctor_command
from flask_forge_jobs.config import variables
from tests.cli.console import SOUND, Console


def test_a_sound_deployment_has_no_finding(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    console = Console(tmp_path, settings=SOUND)
    console.storage.open()

    assert console.text("doctor").startswith("no fault: ")
    assert console.documents("doctor") == []
    console.storage.close()


def test_each_finding_has_its_remedy_below(console: Console) -> None:
    result = console.run("doctor")

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[-1] == "3 findings"
    at = lines.index("- There are no tables of the jobs.")
    assert lines[at + 1] == "    flask forge-jobs db migrate"


def test_a_finding_is_not_logged_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setenv("FORGE_JOBS_SILENT", "1")
    monkeypatch.setattr(variables, "_warned", set())
    console = Console(tmp_path)
    console.storage.open()
    console.storage.close()
    assert len(caplog.messages) == 2
    caplog.clear()
    monkeypatch.setattr(variables, "_warned", set())

    def load() -> Flask:
        return Console(tmp_path).app

    result = CliRunner().invoke(doctor_command, obj=ScriptInfo(create_app=load))

    assert "FORGE_JOBS_SILENT" in result.stdout
    assert f"Everybody can write to {tmp_path}" in result.stdout
    assert caplog.messages == []
