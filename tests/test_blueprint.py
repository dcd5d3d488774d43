"""The blueprint as a whole: mounting, HEAD, what the host still does."""

from __future__ import annotations

import re

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount, mount_shared
from tests.support.backends import sqlite_first

UNASKED = faulty_storage(AssertionError("the storage was asked"))
GET_PATHS = [
    re.sub("<.*?>", "none", route.path)
    for route in all_routes(enable_demo=True)
    if route.method == "GET"
]


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return mount_shared(storage)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_hook_of_the_host_may_answer_before_ours(method: str) -> None:
    app = Flask("host")
    app.before_request(lambda: ("the host wants a login", 401))
    path = "/queue/overview" if method == "GET" else "/jobs/enqueue"
    client = mount(UNASKED, app=app)

    answer = client.open(f"{PREFIX}{path}", method=method)

    assert (answer.status_code, answer.text) == (401, "the host wants a login")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


class SignInError(Exception):
    """What an extension for logins raises."""


def _demanding_a_login() -> Flask:
    app = Flask("host")

    @app.before_request
    def demand_login() -> None:
        raise SignInError

    app.register_error_handler(Exception, lambda _: ("all", 500))
    return app


@pytest.mark.parametrize("path", ["/v1/jobs", "/health", "/none"])
def test_a_hook_of_the_host_may_raise_what_the_host_handles(path: str) -> None:
    app = _demanding_a_login()
    app.register_error_handler(SignInError, lambda _: ("sign in", 401))

    answer = mount(UNASKED, app=app).get(PREFIX + path)

    assert (answer.status_code, answer.text) == (401, "sign in")


def test_what_a_hook_of_the_host_raises_is_an_error_else() -> None:
    answer = mount(UNASKED, app=_demanding_a_login()).get(f"{PREFIX}/v1/jobs")

    assert answer.status_code == 500
    assert answer.json is not None
    assert answer.json["kind"] == "internal"


def test_an_error_of_ours_is_not_for_a_handler_of_the_host() -> None:
    app = Flask("host")
    app.register_error_handler(ValueError, lambda _: ("host", 418))
    client = mount(faulty_storage(ValueError("ours")), app=app)

    assert client.get(f"{PREFIX}/v1/queues").status_code == 500


@sqlite_first
@pytest.mark.parametrize("path", GET_PATHS)
def test_head_answers_as_get_without_a_body(
    client: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_us = SystemClock().now_us()
    # An instant without microseconds is three characters shorter.
    monkeypatch.setattr(SystemClock, "now_us", lambda _: now_us)

    expected = client.get(PREFIX + path)
    answer = client.head(PREFIX + path)

    assert answer.status_code == expected.status_code
    assert answer.data == b""
    assert answer.content_type == expected.content_type
    if not path.endswith(("/metrics", "/storage/info")):
        assert answer.content_length == expected.content_length


def test_error_handlers_of_the_host_do_not_answer_for_us() -> None:
    app = Flask("host")
    app.register_error_handler(404, lambda _: ("host", 404))
    app.register_error_handler(415, lambda _: ("host", 415))
    app.register_error_handler(Exception, lambda _: ("host", 500))
    client = mount(UNASKED, app=app)

    assert client.get("/none").text == "host"
    for answer in (
        client.get(f"{PREFIX}/none"),
        client.get(f"{PREFIX}/jobs/inspect/none"),
        client.post(f"{PREFIX}/jobs/list", data=b"{}"),
    ):
        assert answer.content_type == "application/json"


def test_blueprint_works_nested_and_under_two_names(storage: Storage) -> None:
    app = Flask("host")
    app.testing = True
    parent = Blueprint("parent", __name__)
    parent.register_blueprint(create_blueprint(storage), url_prefix="/inner")
    app.register_blueprint(parent, url_prefix="/outer")
    app.register_blueprint(create_blueprint(storage), url_prefix="/second")
    client = app.test_client()

    assert client.get("/outer/inner/health").text == "ok"
    assert client.get("/outer/inner/none").content_type == "application/json"
    assert client.get("/second/queue/overview").json == []


def test_demo_route_is_off_by_default() -> None:
    answer = mount(UNASKED).post(f"{PREFIX}/jobs/enqueue-demo", json={})

    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["kind"] == "not_found"


def test_every_view_has_the_name_that_extensions_look_up() -> None:
    # Flask-WTF and Flask-Limiter keep what they exempt by module and name.
    app = mount(UNASKED, BlueprintOptions(enable_demo=True)).application
    routes = all_routes(enable_demo=True)

    views = [app.view_functions[f"forge_jobs.{route.endpoint}"] for route in routes]

    assert [(view.__module__, view.__name__, view.__qualname__) for view in views] == [
        (route.view.__module__, route.view.__name__, route.view.__qualname__)
        for route in routes
    ]


def test_it_is_no_part_of_the_document_of_apiflask() -> None:
    # APIFlask reads this of each blueprint with a hook, and fails without it.
    assert vars(type(create_blueprint(UNASKED)))["enable_openapi"] is False


def test_hooks_of_the_host_still_run() -> None:
    app = Flask("host")
    app.after_request(lambda r: (r.headers.add("X-Host", "1"), r)[1])

    client = mount(UNASKED, BlueprintOptions(), app=app)

    assert client.get(f"{PREFIX}/health").headers["X-Host"] == "1"
    assert client.get(f"{PREFIX}/none").headers["X-Host"] == "1"


def test_every_route_of_the_reference_answers_below_v1_too(
    client: FlaskClient, storage: Storage
) -> None:
    storage.queues.ensure("mail")

    for path in ("/health", "/queue/overview", "/queue/processes"):
        answer = client.get(f"{PREFIX}/v1{path}")
        assert answer.data == client.get(PREFIX + path).data
        assert answer.status_code == 200


def test_every_answer_is_counted_by_route_and_status(storage: Storage) -> None:
    client = mount(storage)
    client.get(f"{PREFIX}/jobs/inspect/unknown")
    client.get(f"{PREFIX}/v1/jobs/unknown")
    client.post(f"{PREFIX}/jobs/enqueue", data="{", content_type="application/json")
    client.post(f"{PREFIX}/jobs/enqueue", json={"kind": "k", "payload": {}})
    client.get(f"{PREFIX}/health")

    lines = client.get(f"{PREFIX}/metrics").text.splitlines()

    found = [line for line in lines if line.startswith("forge_jobs_http_requests_")]
    name = "forge_jobs_http_requests_total"
    assert found == [
        f'{name}{{method="GET",route="{path}",status="{status}"}} 1'
        if method == "GET"
        else f'{name}{{method="POST",route="{path}",status="{status}"}} 1'
        for method, path, status in (
            ("GET", "/jobs/inspect/{job_id}", 404),
            ("GET", "/v1/jobs/{job_id}", 404),
            ("POST", "/jobs/enqueue", 400),
            ("POST", "/jobs/enqueue", 200),
            ("GET", "/health", 200),
        )
    ]
    count = 'forge_jobs_http_request_seconds_count{method="POST",route="/jobs/enqueue"}'
    assert f"{count} 2" in lines


def test_the_new_families_come_after_the_ten(storage: Storage) -> None:
    of_the_server = ["forge_jobs_oldest_snapshot_age_seconds"]
    # An application of its own: which families there are depends on the backend.
    lines = mount(storage).get(f"{PREFIX}/metrics").text.splitlines()

    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert all(name.startswith("queue_") for name in types[:10])
    assert types[10:] == [
        "forge_jobs_enqueued_total",
        "forge_jobs_completed_total",
        "forge_jobs_dead_total",
        "forge_jobs_cancelled_total",
        "forge_jobs_refused_total",
        "forge_jobs_run_seconds",
        "forge_jobs_wait_seconds",
        "forge_jobs_build_info",
        "forge_jobs_service_tick_age_seconds",
        "forge_jobs_batches_open",
        "forge_jobs_waiting",
        *(of_the_server if storage.backend == "postgres" else ()),
        "forge_jobs_http_requests_total",
        "forge_jobs_http_request_seconds",
    ]
