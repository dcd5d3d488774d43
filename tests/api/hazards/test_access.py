"""H25 to H28: who asks, for which queue, from which page, by which name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.hazards.inputs import ROUTES, cases, fault, label
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.conformance.requests import sample
from tests.conformance.seeding import JOB_ID

OVERVIEW = f"{PREFIX}/queue/overview"
PROTECTED = [route for route in ROUTES if route.permission is not None]
MUTATIONS = [route for route in PROTECTED if route.mutates]


def without_token(storage: Storage, **options: Any) -> tuple[FlaskClient, str]:
    """Return a client without a credential, and the one that is right."""
    client = client_with_token(storage, "admin", **options)
    return client, client.environ_base.pop("HTTP_AUTHORIZATION")


def wrong_credentials(right: str) -> list[str]:
    token = right.removeprefix("Bearer ")
    return [
        "", " ", "Bearer", "Bearer ", f"Basic {token}", f"Token {token}", token,
        f"Bearer  {token}", f"Bearer {token} ", f"Bearer {token}\x00",
        f"{right}, {right}",
        f"Bearer {token[:-1]}", f"Bearer {token}x", f"Bearer {token.upper()}",
        f"Bearer {token.split('_')[1]}", "Bearer fj_ci_", "Bearer " + "é" * 43,
        "Bearer " + "\u0661" * 43, "Bearer null", "Bearer undefined",
        "Bearer " + "a" * 1_000_000,
    ]  # fmt: skip


def test_H25_a_wrong_credential_is_401_and_all_look_alike(storage: Storage) -> None:
    client, right = without_token(storage)
    bodies = set()
    for number, credential in enumerate(wrong_credentials(right)):
        answer = client.get(
            OVERVIEW,
            environ_overrides={
                "HTTP_AUTHORIZATION": credential.encode().decode("latin-1"),
                "REMOTE_ADDR": f"10.0.0.{number}",
            },
        )
        assert answer.status_code == 401, credential[:40]
        # Werkzeug 3.0 writes a space behind it, which HTTP does not count.
        assert answer.headers["WWW-Authenticate"].strip().lower() == "bearer"
        bodies.add(answer.data)

    assert len(bodies) == 1
    assert client.get(OVERVIEW, headers={"Authorization": right}).status_code == 200


def test_H25_a_credential_elsewhere_does_not_count(storage: Storage) -> None:
    client, right = without_token(storage)
    token = right.removeprefix("Bearer ")

    for name in ("token", "access_token", "authorization", "api_key"):
        assert client.get(f"{OVERVIEW}?{name}={token}").status_code == 401
        client.set_cookie(name, token)
        assert client.get(OVERVIEW).status_code == 401
    for header in ("X-Api-Key", "X-Auth-Token", "Proxy-Authorization"):
        assert client.get(OVERVIEW, headers={header: right}).status_code == 401


def test_H26_jobs_of_other_queues_are_nowhere(storage: Storage) -> None:
    own = storage.jobs.enqueue(NewJob("mine", queue_name="reports")).id
    client = client_with_token(storage, "operator", ["reports"])

    def get(path: str) -> Any:
        return client.get(f"{PREFIX}{path}").json

    assert client.get(f"{PREFIX}/jobs/inspect/{JOB_ID}").status_code == 404
    assert client.get(f"{PREFIX}/v1/jobs/{JOB_ID}").status_code == 404
    assert client.get(f"{PREFIX}/jobs/inspect/{own}").status_code == 200
    assert [queue["name"] for queue in get("/queue/overview")] == ["reports"]
    assert [job["id"] for job in get("/v1/jobs")["rows"]] == [own]
    assert get("/jobs/kinds") == ["mine"]
    listed = client.post(f"{PREFIX}/jobs/list", json={"limit": 9, "offset": 0}).json
    assert listed is not None
    assert listed["total"] == 1
    searched = {"filter": {"payload_search": "4711"}, "limit": 9, "offset": 0}
    assert client.post(f"{PREFIX}/jobs/list", json=searched).status_code == 403
    deleted = client.post(f"{PREFIX}/jobs/delete", json={"ids": [JOB_ID]})
    assert deleted.json == 0
    assert storage.job_reader.get(JOB_ID).id == JOB_ID


@pytest.mark.parametrize("case", cases("csrf.json"), ids=str)
@pytest.mark.parametrize("is_token", [False, True])
def test_H27_a_page_of_another_site_writes_nothing(
    storage: Storage, case: dict[str, Any], *, is_token: bool
) -> None:
    """Without a token the host's own login vouches, as by a cookie."""
    client, right = without_token(storage, authenticator=lambda _: True)
    headers = {
        name: value
        for name, value in (
            ("Sec-Fetch-Site", case["site"]),
            ("Origin", case["origin"]),
            ("Authorization", right if is_token else None),
            ("Content-Type", "application/json" if case["json"] else None),
        )
        if value is not None
    }
    data = b"{}" if case["json"] else b""

    answer = client.post(f"{PREFIX}/jobs/run-now/{JOB_ID}", data=data, headers=headers)

    assert answer.status_code == (200 if case["passes"] or is_token else 403)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded"]
)
def test_H27_json_in_a_form_is_not_read(storage: Storage, media_type: str) -> None:
    client, _right = without_token(storage, authenticator=lambda _: True)
    body = json.dumps({"paused": True, "=": ""}).encode()

    answer = client.post(
        f"{PREFIX}/queue/mail/paused", data=body, content_type=media_type
    )

    assert answer.status_code in {403, 415}
    assert not storage.queues.get("mail").paused


@pytest.mark.parametrize("route", MUTATIONS, ids=label)
def test_H27_every_write_is_guarded(storage: Storage, route: Route) -> None:
    client, _right = without_token(storage, authenticator=lambda _: True)
    request = sample(route)

    answer = client.open(
        f"{PREFIX}{request.path}",
        method=request.method,
        json=request.body or {},
        headers={"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.test"},
    )

    assert fault(answer) == (403, "forbidden", None)


@pytest.mark.parametrize("case", cases("hosts.json"), ids=str)
def test_H28_only_known_names_are_answered(
    storage: Storage, case: dict[str, Any]
) -> None:
    client, right = without_token(
        storage, authenticator=lambda _: True, allowed_hosts=["jobs.example"]
    )
    environ = {"HTTP_HOST": case["host"]}

    assert status_of(client, environ) == (200 if case["answered"] else 403)
    # A rebound page cannot know a token.
    assert status_of(client, environ | {"HTTP_AUTHORIZATION": right}) == 200


def status_of(client: FlaskClient, environ: dict[str, str]) -> int:
    """Ask past the client: that of Werkzeug 3.0 takes the name of the host apart."""
    builder = EnvironBuilder(OVERVIEW, environ_overrides=environ)
    _, status, _ = run_wsgi_app(client.application, builder.get_environ())
    return int(status.partition(" ")[0])
