"""Other origins are told nothing unless they are configured, then just enough."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token

ORIGIN = "https://ops.example.org"
PATHS = ["/queue/overview", "/health", "/none", "/jobs/inspect/none"]


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return client_with_token(storage, "admin", cors_origins=[ORIGIN])


def _about_origins(answer: TestResponse) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers
        if name.startswith("Access-Control")
    }


def _preflight(client: FlaskClient, path: str, origin: str = ORIGIN) -> TestResponse:
    return client.options(
        PREFIX + path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    )


@pytest.mark.parametrize("path", PATHS)
def test_sec_S16_without_configuration_there_is_no_cors_header(
    storage: Storage, path: str
) -> None:
    client = client_with_token(storage, "admin")

    read = client.get(PREFIX + path, headers={"Origin": ORIGIN})

    assert _about_origins(read) == {}
    assert _about_origins(_preflight(client, path)) == {}


@pytest.mark.parametrize("path", PATHS)
def test_sec_S16_configured_origin_may_read_every_answer(
    client: FlaskClient, path: str
) -> None:
    answer = client.get(PREFIX + path, headers={"Origin": ORIGIN})

    assert _about_origins(answer) == {
        "Access-Control-Allow-Origin": ORIGIN,
        "Access-Control-Expose-Headers": "*",
    }
    assert "Origin" in answer.vary


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test", "https://ops.example.org.evil.test", "http://ops.example.org",
        "https://ops.example.org:8443", "https://OPS.example.org", "null", "*", "",
    ],
)  # fmt: skip
def test_sec_S16_no_other_origin_is_reflected(client: FlaskClient, origin: str) -> None:
    read = client.get(f"{PREFIX}/queue/overview", headers={"Origin": origin})

    assert _about_origins(read) == {}
    assert _about_origins(_preflight(client, "/queue/overview", origin)) == {}
    assert "Origin" in read.vary


def test_preflight_allows_the_route_s_methods_and_a_token(client: FlaskClient) -> None:
    answer = _preflight(client, "/queue/overview")

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_sec_S16_write_from_there_needs_a_token(
    client: FlaskClient, storage: Storage
) -> None:
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}
    by_login = client_with_token(
        storage, "admin", cors_origins=[ORIGIN], authenticator=lambda _: True
    )
    del by_login.environ_base["HTTP_AUTHORIZATION"]

    statuses = [
        each.post(f"{PREFIX}/jobs/retry", json={"ids": []}, headers=headers).status_code
        for each in (client, by_login)
    ]

    assert statuses == [200, 403]
