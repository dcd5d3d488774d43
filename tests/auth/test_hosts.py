"""Only the configured names are answered, unless a token was sent."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from flask_forge_jobs.auth.hosts import (
    is_debugged_from_afar,
    is_loopback,
    is_loopback_host,
    is_plainly_local,
)
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.hosts import answer_to

ALLOWED = ("jobs.example", "Ops.Example:8443")
URL = f"{PREFIX}/queue/overview"


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    """A client that the host's own login knows."""
    client = client_with_token(
        storage, "admin", allowed_hosts=ALLOWED, authenticator=lambda _: True
    )
    del client.environ_base["HTTP_AUTHORIZATION"]
    return client


def _status(client: FlaskClient, host: str, path: str = URL) -> int:
    return client.get(path, environ_overrides={"HTTP_HOST": host}).status_code


@pytest.mark.parametrize(
    "host",
    [
        "jobs.example", "JOBS.example", "jobs.example:80", "jobs.example:9999",
        "ops.example:8443", "localhost", "localhost:5000", "127.0.0.1:80", "[::1]:80",
        "[::1]", "[::ffff:127.0.0.1]",
    ],
)  # fmt: skip
def test_sec_S11_configured_names_and_this_machine_are_answered(
    client: FlaskClient, host: str
) -> None:
    assert _status(client, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.test", "evil.test:8443", "jobs.example.evil.test", "xjobs.example",
        "jobs.example.", "jobs.example:", "jobs.example:x", "jobs.example:80:80",
        "user@jobs.example", "ops.example", "ops.example:80", "127.1", "0x7f000001",
        "2130706433", "localhost.", "localhost.evil.test", "0.0.0.0", ":80",
        "evil-jobs.example", "sub.jobs.example", "jobs.example@evil.test",
        "jobs.example, evil.test", "jobs.example evil.test", "jobs.example/evil.test",
        "jobs.example#", "127.0.0.1.evil.test", "0177.0.0.1", "::1", "[::]", "[::1",
        "[::1%25lo]", "169.254.169.254",
    ],
)  # fmt: skip
def test_sec_S11_H28_other_names_are_refused(client: FlaskClient, host: str) -> None:
    """The design has 403 where the checklist (H28) has 421."""
    answer = answer_to(client, URL, host)

    assert answer.status_code == 403
    assert "FORGE_JOBS_ALLOWED_HOSTS" in answer.get_json()["msg"]


def test_sec_S11_reads_and_writes_are_refused_alike_but_not_health(
    client: FlaskClient,
) -> None:
    environ = {"HTTP_HOST": "evil.test:80", "HTTP_ORIGIN": "http://evil.test:80"}

    write = client.post(
        f"{PREFIX}/jobs/retry", json={"ids": []}, environ_overrides=environ
    )

    assert write.status_code == 403
    assert _status(client, "evil.test", f"{PREFIX}/health") == 200


@pytest.mark.parametrize("credential", ["Bearer x", "Bearer fj_ci_wrong", "Basic YTpi"])
def test_sec_S11_invented_token_does_not_get_around_the_names(
    client: FlaskClient, credential: str
) -> None:
    """A page whose name was rebound to ours can send any header."""
    answer = client.get(
        URL,
        headers={"Authorization": credential},
        environ_overrides={"HTTP_HOST": "evil.test"},
    )

    assert answer.status_code == 403


def test_bearer_token_needs_no_known_name(storage: Storage) -> None:
    """No page of a stranger's can send one."""
    client = client_with_token(storage, "viewer", allowed_hosts=ALLOWED)

    assert _status(client, "10.1.2.3:8080") == 200


def test_without_names_every_host_is_answered(storage: Storage) -> None:
    client = client_with_token(storage, "viewer", authenticator=lambda _: True)
    del client.environ_base["HTTP_AUTHORIZATION"]

    assert _status(client, "whatever.test") == 200


def _request(**environ: object) -> Request:
    local = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
    return Request(EnvironBuilder().get_environ() | local | environ)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
        ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("::ffff:10.0.0.1", False),
        ("", False), ("localhost", False), ("127.1", False),
    ],
)  # fmt: skip
def test_is_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("LOCALHOST:80", True), ("127.0.0.1:80", True),
        ("[::1]", True), ("[::1]:80", True), ("::1", False), ("localhost.", False),
        ("evil.test", False), ("", False), ("localhost:80:80", False),
    ],
)  # fmt: skip
def test_is_loopback_host(host: str, expected: bool) -> None:
    assert is_loopback_host(host) is expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, True),
        ({"REMOTE_ADDR": "10.0.0.1"}, False),
        ({"HTTP_HOST": "evil.test"}, False),
        ({"HTTP_VIA": "1.1 proxy"}, False),
        ({"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
    ],
)
def test_is_plainly_local(environ: dict[str, object], expected: bool) -> None:
    assert is_plainly_local(_request(**environ)) is expected


def test_is_debugged_from_afar() -> None:
    debugger = {"werkzeug.debug.preserve_context": print}

    assert is_debugged_from_afar(_request(REMOTE_ADDR="10.0.0.1", **debugger))
    assert not is_debugged_from_afar(_request(**debugger))
    assert not is_debugged_from_afar(_request(REMOTE_ADDR="10.0.0.1"))
