"""A job whose kind is only named is a job of its task, however it comes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs, InvalidInputError
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import Job, JobFilter
from flask_forge_jobs.state import state_of

URL = "/forge-jobs"
# By way in: the URL of a request, and a body for a job.
HTTP: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "unversioned": ("/jobs/enqueue", lambda job: job),
    "v1": ("/v1/jobs", lambda job: job),
    "bulk": ("/v1/jobs/bulk", lambda job: {"items": [job]}),
}
FITTING = {"kind": "send", "payload": {"user_id": 7}}


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("shop")
    app.config.update(FORGE_JOBS_DATABASE_URL="sqlite:///:memory:")
    app.debug = True
    forge = ForgeJobs(app)

    @forge.task(queue="mail", max_attempts=1, timeout_s=30, priority=-5)
    def send(user_id: int, subject: str = "") -> None: ...

    @forge.task(dedupe_by_args=True)
    def refresh(user_id: int) -> None: ...

    yield app
    state_of(app).storage.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    return client


def stored(app: Flask) -> list[Job]:
    reader = state_of(app).storage.job_reader
    return [reader.get(row.id) for row in reader.page(JobFilter(), 10).rows]


@pytest.mark.parametrize("way", HTTP)
def test_a_request_takes_the_options_of_the_task(
    app: Flask, client: FlaskClient, way: str
) -> None:
    path, body_of = HTTP[way]

    answer = client.post(URL + path, json=body_of(FITTING))

    assert answer.status_code in (200, 201), answer.text
    (job,) = stored(app)
    assert (job.queue_name, job.priority) == ("mail", -5)
    assert (job.max_attempts, job.timeout_s) == (1, 30)


@pytest.mark.parametrize("way", HTTP)
def test_what_a_request_says_comes_before_the_task(
    app: Flask, client: FlaskClient, way: str
) -> None:
    path, body_of = HTTP[way]
    body = FITTING | {"queue_name": "slow", "priority": 0, "max_attempts": 9}

    client.post(URL + path, json=body_of(body))

    (job,) = stored(app)
    assert (job.queue_name, job.priority, job.max_attempts) == ("slow", 0, 9)


@pytest.mark.parametrize("way", HTTP)
@pytest.mark.parametrize(
    ("payload", "words"),
    [({}, "user_id"), ({"user_id": 7, "other": 1}, "other"), ([7], "object")],
)
def test_a_payload_that_does_not_fit_the_task_is_refused(
    app: Flask, client: FlaskClient, way: str, payload: object, words: str
) -> None:
    path, body_of = HTTP[way]

    answer = client.post(URL + path, json=body_of({"kind": "send", "payload": payload}))

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["kind"] == "validation"
    assert "payload" in answer.json["field"]
    assert words in answer.json["msg"]
    assert stored(app) == []


def test_arguments_make_the_key_where_the_task_says_so(
    app: Flask, client: FlaskClient
) -> None:
    body = {"kind": "refresh", "payload": {"user_id": 7}}

    answers = [client.post(f"{URL}/v1/jobs", json=body) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 200]
    assert len(stored(app)) == 1


def test_a_kind_of_somebody_else_takes_any_payload(
    app: Flask, client: FlaskClient
) -> None:
    client.post(f"{URL}/v1/jobs", json={"kind": "elsewhere", "payload": None})

    (job,) = stored(app)
    assert (job.payload, job.max_attempts, job.queue_name) == ("null", 5, "default")


SCHEDULE = {"name": "nightly", "cron_expr": "0 3 * * *", **FITTING}


def test_a_schedule_takes_the_options_of_the_task(
    app: Flask, client: FlaskClient
) -> None:
    created = client.post(f"{URL}/v1/cron", json=SCHEDULE)
    client.post(f"{URL}/cron/nightly/trigger")

    assert created.status_code == 201, created.text
    assert created.json is not None
    # None is named, so that each job takes what its task says then.
    assert (created.json["queue_name"], created.json["max_attempts"]) == (None, None)
    (job,) = stored(app)
    assert (job.queue_name, job.max_attempts) == ("mail", 1)


def test_what_a_schedule_says_comes_before_the_task(client: FlaskClient) -> None:
    own = {"queue_name": "slow", "max_attempts": 9}
    client.post(f"{URL}/v1/cron", json=SCHEDULE | own)
    kept = client.patch(f"{URL}/v1/cron/nightly", json={"timezone": "Europe/Madrid"})
    back = client.patch(f"{URL}/v1/cron/nightly", json={"max_attempts": None})

    for answer, attempts in ((kept, 9), (back, None)):
        assert answer.json is not None
        assert answer.json["queue_name"] == "slow"
        assert answer.json["max_attempts"] == attempts


@pytest.mark.parametrize("change", [{"payload": {}}, {"kind": "refresh"}])
def test_a_schedule_whose_payload_does_not_fit_is_refused(
    app: Flask, client: FlaskClient, change: dict[str, object]
) -> None:
    wrong = SCHEDULE | {"payload": {"user_id": 7, "other": 1}}
    created = client.post(f"{URL}/v1/cron", json=wrong)
    payload = {"subject": "hello", "user_id": 7}
    client.post(f"{URL}/v1/cron", json=SCHEDULE | {"payload": payload})
    changed = client.patch(f"{URL}/v1/cron/nightly", json=change)

    for answer in (created, changed):
        assert answer.status_code == 400
        assert answer.json is not None
        assert (answer.json["kind"], answer.json["field"]) == ("validation", "payload")
    (schedule,) = state_of(app).storage.cron.all()
    assert schedule.definition.kind == "send"
    assert schedule.definition.payload == '{"subject":"hello","user_id":7}'


def test_a_schedule_that_fits_no_more_is_not_triggered_but_can_be_disabled(
    app: Flask, client: FlaskClient
) -> None:
    """An older version of the application made it."""
    definition = ScheduleDefinition("nightly", "send", "0 3 * * *", payload="[]")
    state_of(app).storage.cron.create(definition)

    triggered = client.post(f"{URL}/cron/nightly/trigger")
    disabled = client.patch(f"{URL}/v1/cron/nightly", json={"enabled": False})

    assert (triggered.status_code, disabled.status_code) == (400, 200)
    assert stored(app) == []


def test_python_by_name_takes_them_too() -> None:
    forge = ForgeJobs()

    @forge.task(max_attempts=2)
    def send(user_id: int) -> None: ...

    other = Flask("other")
    other.config.update(FORGE_JOBS_DATABASE_URL="sqlite:///:memory:")
    forge.init_app(other)
    with other.app_context():
        job = forge.enqueue("send", {"user_id": 7})
        assert forge.storage.job_reader.get(job.id).max_attempts == 2
        with pytest.raises(InvalidInputError, match="user_id"):
            forge.enqueue("send")
        forge.storage.close()
