"""The edge comes with the first request; the application has its addresses before."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from flask import Flask

from flask_forge_jobs import blueprint as blueprint_module
from flask_forge_jobs import server_detection
from flask_forge_jobs.blueprint import BlueprintOptions, LateEdge, create_blueprint
from flask_forge_jobs.edge import Edge
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount
from tests.support.threads import run_together

UNASKED = faulty_storage(AssertionError("the storage was asked"))
MODULE = "flask_forge_jobs.edge"


@pytest.fixture(autouse=True)
def _without_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests import gunicorn."""
    monkeypatch.setattr(blueprint_module, "has_server", lambda: False)


def test_threads_that_come_first_share_one_edge() -> None:
    late = LateEdge(UNASKED, BlueprintOptions())

    edges = run_together([late] * 8)

    assert len(set(map(id, edges))) == 1
    assert isinstance(edges[0], Edge)


def test_an_import_that_fails_fails_the_request_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = mount(UNASKED, testing=False)

    with monkeypatch.context() as broken, caplog.at_level(logging.ERROR):
        broken.setitem(sys.modules, MODULE, None)
        failed = client.get(f"{PREFIX}/health")
    answered = client.get(f"{PREFIX}/health")

    assert failed.status_code == 500
    assert f"import of {MODULE} halted" in caplog.text
    assert answered.text == "ok"


def test_other_requests_of_the_application_need_no_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Flask("host")
    app.add_url_rule("/own", view_func=lambda: "own", endpoint="own")
    client = mount(UNASKED, app=app)

    with monkeypatch.context() as broken:
        broken.setitem(sys.modules, MODULE, None)

        assert client.get("/own").text == "own"
        assert client.get("/none").status_code == 404


def test_a_server_has_the_edge_before_it_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(LateEdge, "__call__", lambda _: made.append("edge"))

    create_blueprint(UNASKED)
    monkeypatch.setattr(blueprint_module, "has_server", server_detection.has_server)
    monkeypatch.setitem(sys.modules, "waitress", sys)
    create_blueprint(UNASKED)

    assert made == ["edge"]


WORKER = """
import json, sys
def loaded():
    return sorted(sys.modules)
import flask
flasks = set(loaded())
from flask_forge_jobs import ForgeJobs
steps = {"import": loaded()}
app = flask.Flask("app", instance_path=sys.argv[1])
app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///jobs.sqlite"
forge = ForgeJobs(app)
@forge.task
def send(user_id: int) -> None: ...
steps["application"] = loaded()
import flask_forge_jobs.cli.worker
from flask_forge_jobs.state import state_of
with app.app_context():
    job = send.enqueue(user_id=7)
    handle = state_of(app).runtime(threads=1).with_queues(["default"]).start()
    assert job.wait(timeout_s=30)
    handle.shutdown_graceful(30)
steps["worker"] = loaded()
print(json.dumps({name: sorted(set(step) - flasks) for name, step in steps.items()}))
"""
# Packages that a worker does without, and parts of ours.
UNNEEDED = (
    "marshmallow", "apispec", "prometheus_client", "psycopg2", "gunicorn", "asyncio",
    "flask_forge_jobs.edge", "flask_forge_jobs.api.schemas",
    "flask_forge_jobs.api.v1", "flask_forge_jobs.api.unversioned",
    "flask_forge_jobs.api.openapi", "flask_forge_jobs.handlers",
    "flask_forge_jobs.dashboard.page", "flask_forge_jobs.prometheus",
)  # fmt: skip


# Modules beyond Flask's own. To import the class takes 1.3 times as long as Flask, and
# each module 0.4 ms.
MAX_MODULES = {"import": 75, "application": 240, "worker": 360}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The modules, Flask's own aside, after each step of a worker's start."""
    folder = tmp_path_factory.mktemp("instance")
    finished = subprocess.run(
        [sys.executable, "-c", WORKER, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return dict(json.loads(finished.stdout))


@pytest.mark.parametrize("step", ["import", "application", "worker"])
def test_a_worker_imports_no_api(steps: dict[str, list[str]], step: str) -> None:
    unneeded = [
        name
        for name in steps[step]
        if any(name == each or name.startswith(f"{each}.") for each in UNNEEDED)
    ]

    assert unneeded == []


@pytest.mark.parametrize("step", MAX_MODULES)
def test_a_start_imports_few_modules(steps: dict[str, list[str]], step: str) -> None:
    assert len(steps[step]) <= MAX_MODULES[step]
