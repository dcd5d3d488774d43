"""What a browser sees at a signed link, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs, JobHandle
from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.support.clocks import MovingClock
from tests.support.jobs import OWNER, claim_one, enqueue, finish

SECRET = "of the links, and long enough to stay secret"
LinkTo = Callable[[str], str]


@pytest.fixture
def stranger(storage: Storage, clock: MovingClock) -> FlaskClient:
    """Somebody without a credential, where everything else needs one."""
    options = BlueprintOptions(
        tokens=TokenSet([], clock), link_secrets=[SECRET], clock=clock
    )
    return mount(storage, options, testing=False)


@pytest.fixture
def link_to(clock: MovingClock) -> LinkTo:
    links = StatusLinks(Signer((SECRET,)), clock)
    return lambda job_id: (
        f"{PREFIX}/v1/job-status/" + links.token(Flask("x"), job_id, 60)
    )


def read(client: FlaskClient, url: str) -> dict[str, Any]:
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = json.loads(answer.data)
    return document


def test_a_link_shows_state_progress_and_result_and_nothing_else(
    stranger: FlaskClient, storage: Storage, link_to: LinkTo
) -> None:
    url = link_to(enqueue(storage))
    waiting = read(stranger, url)
    job = claim_one(storage)
    storage.jobs.heartbeat(OWNER, {job.id: '{"done":3,"password":"x"}'})
    running = read(stranger, url)
    result = dump({"file": "a.csv", "token": "x"})
    storage.jobs.finish(OWNER, [JobUpdate(job, JobStatus.DONE, result=result)])

    done = read(stranger, url)

    assert waiting == {
        "status": "pending",
        "is_ready": False,
        "is_successful": False,
        "progress": None,
        "result": None,
        "result_error": None,
        "ending": None,
    }
    assert running["status"] == "in_progress"
    assert running["progress"] == {
        "at": None,
        "done": 3,
        "message": None,
        "password": "[redacted]",
        "rate": None,
        "total": None,
    }
    assert (done["is_ready"], done["is_successful"]) == (True, True)
    assert done["result"] == {"file": "a.csv", "token": "[redacted]"}


def test_a_job_that_failed_for_good_is_ready_and_keeps_its_error(
    stranger: FlaskClient, storage: Storage, link_to: LinkTo
) -> None:
    url = link_to(enqueue(storage))
    finish(storage, claim_one(storage), Dead("no connection to db.internal"))

    answer = stranger.get(url)

    assert (answer.json or {})["is_ready"] is True
    assert (answer.json or {})["is_successful"] is False
    assert b"internal" not in answer.data


def test_a_link_is_kept_by_nobody_and_told_to_nobody(
    stranger: FlaskClient, storage: Storage, link_to: LinkTo
) -> None:
    answer = stranger.get(link_to(enqueue(storage)))

    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_link_gives_no_other_right(
    stranger: FlaskClient, storage: Storage, link_to: LinkTo
) -> None:
    url = link_to(enqueue(storage))
    token = url.rpartition("/")[2]
    other = enqueue(storage)

    assert stranger.get(url).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert stranger.open(url, method=method).status_code == 405
    assert stranger.get(f"{PREFIX}/v1/jobs/{other}").status_code == 401
    assert stranger.get(f"{PREFIX}/v1/job-status/{other}").status_code == 404
    bearer = {"Authorization": f"Bearer {token}"}
    assert stranger.get(f"{PREFIX}/v1/jobs", headers=bearer).status_code == 401


def test_an_expired_link_and_one_to_a_deleted_job_are_not_found(
    stranger: FlaskClient, storage: Storage, link_to: LinkTo, clock: MovingClock
) -> None:
    job_id = enqueue(storage)
    url = link_to(job_id)
    storage.job_admin.delete(job_id)
    deleted = stranger.get(url)
    clock.move(60)
    expired = stranger.get(url)

    for answer in (deleted, expired):
        assert answer.status_code == 404
        assert (answer.json or {})["kind"] == "not_found"


def test_a_handle_makes_the_link_of_its_job() -> None:
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    app.secret_key = "the application's"
    forge = ForgeJobs(app)

    @app.post("/export")
    def export() -> str:
        job: JobHandle = forge.enqueue("export")
        return job.status_url(expires_in_s=30)

    client = app.test_client()
    url = client.post("/export").text

    assert url.startswith("/forge-jobs/v1/job-status/")
    assert read(client, url)["status"] == "pending"
