"""What the edge refuses or hides, whatever the route; see the security checklist."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_with_token
from tests.conformance.requests import sample
from tests.conformance.seeding import seed, seed_schedule
from tests.conftest import TABLES
from tests.support.backends import on_sqlite
from tests.support.sql import Sql

ROUTES = all_routes(enable_demo=True)
MUTATIONS = [route for route in ROUTES if route.mutates]
GETS = [route for route in ROUTES if route.method == "GET"]


def _path(route: Route) -> str:
    return PREFIX + re.sub("<.*?>", "none", route.path)


def _rows(sql: Sql) -> dict[str, list[str]]:
    """Return every row of every table, but for what the process counts by itself."""
    return {
        table: sorted(map(repr, sql.run(f"SELECT * FROM {table}")))
        # Of batches, PostgreSQL alone has changes that are counted later.
        for table in {*TABLES, "forge_audit"}
        - {"forge_metric", "forge_metric_source", "forge_batch_change"}
    }


# -- S1, S15, S18, S21 -------------------------------------------------------------


@on_sqlite
def test_sec_S01_every_route_but_health_is_closed_without_an_authenticator(
    storage: Storage,
) -> None:
    """The design has 403 where the checklist has 503; a status link is a right."""
    client = mount(storage, BlueprintOptions(enable_demo=True), testing=False)

    for route in ROUTES:
        answer = client.open(_path(route), method=route.method)
        expected = {"health": 200, "job_status": 404}
        name = route.endpoint.removeprefix("v1_")
        assert answer.status_code == expected.get(name, 403), route.endpoint


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_sec_S15_reading_changes_nothing(
    storage: Storage, sql: Sql, method: str
) -> None:
    client = client_with_token(storage, "admin")
    seed(storage, sql)
    seed_schedule(client)
    before = _rows(sql)

    for route in GETS * 3:
        answer = replace(sample(route), method=method).send(client)
        # Its view was asked, and found what it looked for.
        expected = 204 if method == "OPTIONS" else route.status
        assert answer.status_code == expected, route.endpoint

    assert _rows(sql) == before


PROTECTIVE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/queue/overview", 200),
        ("GET", "/metrics", 200),
        ("GET", "/none", 404),
        ("DELETE", "/health", 405),
        ("OPTIONS", "/health", 204),
        ("GET", "/jobs/inspect/none", 404),
        ("POST", "/jobs/list", 415),
        ("POST", "/jobs/enqueue", 413),
    ],
)
def test_sec_S18_protective_headers_are_on_every_answer(
    storage: Storage, method: str, path: str, status: int
) -> None:
    client = client_with_token(storage, "admin", max_body_bytes=1024)
    data = b"x" * 2000 if status in {413, 415} else None
    media_type = "application/json" if status == 413 else None

    answer = client.open(
        PREFIX + path, method=method, data=data, content_type=media_type
    )

    assert answer.status_code == status
    assert {name: answer.headers.getlist(name) for name in PROTECTIVE} == {
        name: [value] for name, value in PROTECTIVE.items()
    }
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("is_known", [True, False])
def test_sec_S18_protective_headers_are_on_every_route(
    storage: Storage, *, is_known: bool
) -> None:
    """Whoever asks, and however it goes."""
    client = client_with_token(storage, "admin")
    if not is_known:
        del client.environ_base["HTTP_AUTHORIZATION"]

    for route in ROUTES:
        answer = client.open(_path(route), method=route.method, json={})
        found = {name: answer.headers.get(name) for name in PROTECTIVE}
        assert found == PROTECTIVE, (route.path, answer.status_code)


# Addresses at which browsers get a page.
PAGES_TOO = {"/cron", "/v1/job-status/<token>"}


@pytest.mark.parametrize("prefers", ["text/html", "*/*", "image/png, text/html;q=0.9"])
def test_sec_S17_no_answer_is_a_document_for_a_browser(
    storage: Storage, prefers: str
) -> None:
    """Whatever a browser asks for, it gets text that it shows and does not run."""
    storage.jobs.enqueue(NewJob("<script>alert(1)</script>"))
    client = client_with_token(storage, "admin")

    for route in GETS:
        answer = client.get(_path(route), headers={"Accept": prefers})
        if route.path in PAGES_TOO and "html" in prefers:
            continue
        assert answer.mimetype in {"application/json", "text/plain"}, route.path
        policy = answer.headers["Content-Security-Policy"]
        assert policy == PROTECTIVE["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_sec_S20_no_answer_sets_a_cookie(storage: Storage) -> None:
    """Even where the application has a session: there is nothing of ours in it."""
    app = Flask("host")
    app.secret_key = "x" * 32
    options = BlueprintOptions(enable_demo=True)
    client = mount(storage, options, app=app)

    for route in ROUTES:
        answer = client.open(_path(route), method=route.method, json={})
        assert "Set-Cookie" not in answer.headers, route.path
        assert "Cookie" not in answer.headers.get("Vary", ""), route.path


@pytest.mark.parametrize(
    "path",
    ["//evil.test", "/%2f%2fevil.test", "/\\evil.test", "/queue/overview/", "//health"],
)
def test_sec_S21_there_is_no_redirect(storage: Storage, path: str) -> None:
    client = client_with_token(storage, "admin")

    answer = client.get(
        f"{PREFIX}{path}?next=//evil.test", headers={"Host": "evil.test"}
    )

    assert answer.status_code == 404
    assert "Location" not in answer.headers


# -- read-only, metrics ------------------------------------------------------------


@on_sqlite
def test_read_only_refuses_every_mutation_whatever_the_role(storage: Storage) -> None:
    client = client_with_token(storage, "admin", read_only=True)

    for route in MUTATIONS:
        answer = client.open(_path(route), method=route.method, json={})
        assert answer.status_code == 403, route.endpoint
        assert "FORGE_JOBS_READ_ONLY" in answer.get_json()["msg"]
    assert client.get(f"{PREFIX}/queue/overview").status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/v1/metrics"])
@pytest.mark.parametrize(
    ("metrics_auth", "by_token", "by_login", "by_nobody"),
    [("same", 200, 200, 401), ("token", 200, 401, 401), ("none", 200, 200, 200)],
)
def test_sec_S40_metrics_have_a_switch_of_their_own(
    storage: Storage,
    *,
    path: str,
    metrics_auth: str,
    by_token: int,
    by_login: int,
    by_nobody: int,
) -> None:
    client = client_with_token(
        storage,
        "metrics",
        metrics_auth=metrics_auth,
        authenticator=lambda request: request.headers.get("X-User") == "ada",
    )
    token = client.environ_base.pop("HTTP_AUTHORIZATION")

    def status(**headers: str) -> int:
        return client.get(PREFIX + path, headers=headers).status_code

    assert status(Authorization=token) == by_token
    assert client.get(PREFIX + path, headers={"X-User": "ada"}).status_code == by_login
    assert status() == by_nobody
    # A probe may add what it likes to what anybody may read.
    assert client.get(f"{PREFIX}{path}?probe=1").status_code == by_nobody
    assert client.get(f"{PREFIX}/queue/overview").status_code == 401


def test_metrics_by_token_without_a_token_stops_the_start(storage: Storage) -> None:
    with pytest.raises(ConfigurationError, match="FORGE_JOBS_METRICS_AUTH"):
        create_blueprint(storage, options=BlueprintOptions(metrics_auth="token"))


def test_sec_S40_strangers_learn_nothing_from_health(storage: Storage) -> None:
    client = client_with_token(storage, "admin")
    del client.environ_base["HTTP_AUTHORIZATION"]

    assert client.get(f"{PREFIX}/health").data == b"ok"
    for path in ("/metrics", "/v1/openapi.json", "/storage/info"):
        assert client.get(PREFIX + path).status_code == 401


# -- reveal ------------------------------------------------------------------------


@pytest.fixture
def job_id(storage: Storage) -> str:
    return storage.jobs.enqueue(NewJob("k", '{"password":"canary"}')).id


@pytest.mark.parametrize(
    ("role", "query", "status", "is_shown"),
    [
        ("admin", "", 200, False),
        ("admin", "?reveal=0", 200, False),
        ("admin", "?reveal=true", 200, False),
        ("admin", "?reveal=1", 200, True),
        ("operator", "", 200, False),
        ("operator", "?reveal=1", 403, False),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_reveal_needs_its_permission(
    storage: Storage,
    *,
    job_id: str,
    prefix: str,
    role: str,
    query: str,
    status: int,
    is_shown: bool,
) -> None:
    client = client_with_token(storage, role)

    answer = client.get(f"{PREFIX}{prefix}/jobs/inspect/{job_id}{query}")

    assert answer.status_code == status
    assert ("canary" in answer.text) is is_shown


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("operator", 403)])
def test_reveal_is_audited_done_or_refused(
    storage: Storage, job_id: str, role: str, status: int
) -> None:
    client = client_with_token(storage, role, token_id="ada")

    client.get(f"{PREFIX}/jobs/inspect/{job_id}?reveal=1")

    [entry] = storage.audit.page(AuditFilter(), 9)
    record = entry.record
    assert (record.actor, record.action, record.target) == (
        "ada",
        "job_inspect",
        job_id,
    )
    assert (record.status, record.changed) == (status, 0)
    assert "canary" not in record.arguments


@pytest.mark.parametrize("path", ["jobs/inspect", "v1/jobs", "jobs"])
def test_nothing_is_revealed_without_its_entry(
    storage: Storage, sql: Sql, job_id: str, path: str
) -> None:
    client = client_with_token(storage, "admin")
    url, page = f"{PREFIX}/{path}/{job_id}", {"Accept": "text/html"}

    with sql.full_trail():
        refused = client.get(f"{url}?reveal=1", headers=page)
        masked = client.get(url, headers=page)

    assert (refused.status_code, masked.status_code) == (500, 200)
    assert "canary" not in refused.text
    assert storage.audit.page(AuditFilter(), 9) == []

    assert "canary" in client.get(f"{url}?reveal=1", headers=page).text
    assert len(storage.audit.page(AuditFilter(), 9)) == 1


def test_hook_shapes_what_is_shown(storage: Storage, job_id: str) -> None:
    client = client_with_token(
        storage, "viewer", redact=lambda job, _payload: f"payload of {job.kind}"
    )

    document = client.get(f"{PREFIX}/jobs/inspect/{job_id}").get_json()

    assert document["payload"] == "payload of k"


# -- S39, S41 ----------------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True])
def test_sec_S39_error_of_ours_tells_a_client_nothing(debug: bool) -> None:
    def broken() -> Storage:
        raise RuntimeError("SELECT secret FROM /srv/app.py")

    app = Flask("host")
    app.debug = debug
    app.register_blueprint(
        create_blueprint(broken, options=BlueprintOptions(authenticator=lambda _: True))
    )
    client = app.test_client()

    answer = client.get("/queue/overview")

    assert answer.status_code == 500
    assert answer.get_json() == {
        "kind": "internal",
        "msg": "internal error; the log has the details under this request id",
    }


def test_sec_S41_request_id_of_an_odd_form_does_not_reach_the_log(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    client: FlaskClient = client_with_token(storage, "viewer")
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer wrong"

    client.post(
        f"{PREFIX}/jobs/retry",
        json={"ids": []},
        headers={"X-Request-Id": "a b\x1b[31mINFO fake"},
    )

    assert "fake" not in caplog.text
