"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pytest_runs import OPTIONS, environ

CONFTEST = 'pytest_plugins = "flask_forge_jobs.testing.plugin"'
TESTS = """
import pytest


@pytest.fixture
def app():
    from flask import Flask

    from flask_forge_jobs import ForgeJobs

    app = Flask("shop")
    forge = ForgeJobs(app)

    @forge.task
    def send(user_id: int) -> None: ...

    @app.post("/<int:user_id>")
    def signup(user_id):
        return send.options(queue="mail").enqueue(user_id).id

    return app


def test_jobs_wait(app, forge_jobs):
    app.test_client().post("/7")
    forge_jobs.assert_enqueued("send", args={"user_id": 7}, queue="mail")
    assert [job.status for job in forge_jobs.enqueued()] == ["pending"]


@pytest.mark.forge_jobs("drain")
def test_jobs_run_after_the_request(app, forge_jobs):
    app.test_client().post("/7")
    assert [job.status for job in forge_jobs.enqueued()] == ["done"]


@pytest.mark.forge_jobs(mode="drain")
def test_the_mode_is_named(forge_jobs):
    assert forge_jobs.mode == "drain"


def test_the_message_is_at_the_call(forge_jobs):
    forge_jobs.assert_enqueued("other")  # FAILS HERE
"""
WITHOUT = "def test_without_app(forge_jobs): ..."


def run_pytest(folder: Path, *options: str) -> tuple[int, str]:
    """Run pytest in a folder, in a process that has loaded nothing of the package."""
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *options],
        cwd=folder,
        env=environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout + finished.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_shop.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "test_without.py").write_text(WITHOUT, encoding="utf-8")
    return tmp_path


def test_the_fixture_serves_the_application_of_the_fixture_app(folder: Path) -> None:
    status, text = run_pytest(folder)

    assert status == 1, text
    assert "1 failed, 3 passed, 1 error" in text
    assert "AssertionError: no job was enqueued for: other" in text
    assert "kit.py" not in text  # the place that is shown is the test's
    assert "needs a fixture named app that returns the Flask application" in text
    assert not (folder / "instance").exists()


@pytest.mark.long
def test_it_works_with_xdist(folder: Path) -> None:
    status, text = run_pytest(folder, "-p", "xdist", "-n", "1")

    assert status == 1, text
    assert "1 failed, 3 passed, 1 error" in text
