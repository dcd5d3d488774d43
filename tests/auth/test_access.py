"""Closed by default: who is answered without and with an authenticator."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.wrappers import Request

from flask_forge_jobs.auth.access import Authenticator
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.auth.tokens import TokenSet, new_token
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.bounds import with_article
from flask_forge_jobs.storage.base import Storage
from tests.support.hosts import answer_to

LOCAL = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
LOOPBACK_PEERS = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
LOOPBACK_HOSTS = [
    "localhost",
    "LOCALHOST:5000",
    "127.0.0.1:8787",
    "127.0.0.2",
    "[::1]",
    "[::1]:8787",
    "[::ffff:127.0.0.1]",
]
OTHER_PEERS = ["10.0.0.1", "192.168.1.2", "::2", "", "@", "unix:", "127.1", "localhost"]
OTHER_HOSTS = [
    "",
    "evil.test",
    "evil.test:8787",
    "localhost.evil.test",
    "localhost.",
    "127.1",
    "0x7f000001",
    "2130706433",
    "0.0.0.0",
    "10.0.0.1",
    "[::2]",
    "user@localhost",
    "localhost:port",
    "localhost:5000:1",
    "::1",
    "127.0.0.1.nip.io",
]
FORWARDING = [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Anything",
    "Via",
    "X-Real-IP",
]


def _client(
    storage: Storage,
    authenticator: Authenticator | None = None,
    *,
    testing: bool = True,
    debug: bool = False,
    open_to_loopback: bool = False,
) -> FlaskClient:
    app = Flask("host")
    app.testing = testing
    app.debug = debug
    options = BlueprintOptions(
        authenticator=authenticator, open_to_loopback=open_to_loopback
    )
    app.register_blueprint(create_blueprint(storage, options=options))
    return app.test_client()


def _status(client: FlaskClient, **environ: str) -> int:
    return client.get(
        "/queue/overview", environ_overrides={**LOCAL, **environ}
    ).status_code


def test_closed_without_authenticator_in_production(storage: Storage) -> None:
    answer = _client(storage, testing=False).get("/queue/overview")

    assert answer.status_code == 403
    assert answer.json is not None
    assert list(answer.json) == ["kind", "msg"]
    assert answer.json["kind"] == "forbidden"
    assert "set FORGE_JOBS_TOKENS or FORGE_JOBS_AUTH" in answer.json["msg"]


@pytest.mark.parametrize("flag", ["testing", "debug", "open_to_loopback"])
def test_flags_open_it_to_loopback_only(storage: Storage, flag: str) -> None:
    client = _client(storage, **{"testing": False, flag: True})  # type: ignore[arg-type]  # the keys are its flags

    assert _status(client) == 200
    assert _status(client, REMOTE_ADDR="10.0.0.1") == 403
    assert _status(client, HTTP_HOST="evil.test") == 403


@pytest.mark.parametrize("peer", LOOPBACK_PEERS)
@pytest.mark.parametrize("host", LOOPBACK_HOSTS)
def test_sec_S10_loopback_peer_and_host_are_answered(
    storage: Storage, peer: str, host: str
) -> None:
    assert _status(_client(storage), REMOTE_ADDR=peer, HTTP_HOST=host) == 200


@pytest.mark.parametrize("peer", OTHER_PEERS)
def test_sec_S10_other_peers_are_refused(storage: Storage, peer: str) -> None:
    assert _status(_client(storage), REMOTE_ADDR=peer) == 403


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_sec_S10_other_hosts_are_refused(storage: Storage, host: str) -> None:
    answer = answer_to(_client(storage), "/queue/overview", host)

    assert answer.status_code == 403


@pytest.mark.parametrize("header", FORWARDING)
def test_sec_S10_each_forwarding_header_alone_closes_it(
    storage: Storage, header: str
) -> None:
    answer = _client(storage).get("/queue/overview", headers={header: "127.0.0.1"})

    assert answer.status_code == 403


def test_mutations_are_closed_too(storage: Storage) -> None:
    answer = _client(storage, testing=False).post(
        "/jobs/enqueue", json={"kind": "k", "payload": {}}
    )

    assert answer.status_code == 403
    assert storage.job_reader.statistics() == {}


@pytest.mark.parametrize("authenticator", [None, lambda _: None])
def test_health_is_always_open(
    storage: Storage, authenticator: Authenticator | None
) -> None:
    client = _client(storage, authenticator, testing=False)

    assert client.get("/health", environ_overrides={"REMOTE_ADDR": ""}).text == "ok"


def _token(request: Request) -> object:
    return True if request.headers.get("Authorization") == "Bearer t" else None


def test_authenticator_decides(storage: Storage) -> None:
    client = _client(storage, _token, testing=False)
    remote = {"REMOTE_ADDR": "10.0.0.1", "HTTP_HOST": "jobs.example"}

    known = client.get(
        "/queue/overview",
        headers={"Authorization": "Bearer t"},
        environ_overrides=remote,
    )
    unknown = client.get("/queue/overview", environ_overrides=remote)

    assert known.status_code == 200
    assert unknown.status_code == 401
    assert unknown.json is not None
    assert list(unknown.json) == ["kind", "msg"]
    assert unknown.json["kind"] == "unauthorized"
    assert unknown.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("nobody", [None, False, 0, ""])
def test_false_principal_is_refused(storage: Storage, nobody: object) -> None:
    """A callable that compares a header returns False, not None."""
    assert _status(_client(storage, lambda _: nobody)) == 401


@pytest.mark.parametrize("odd", ["ada", 1, object(), ["ada"], {"id": "ada"}])
def test_sec_S12_other_truthy_answers_let_nobody_in(
    storage: Storage, caplog: pytest.LogCaptureFixture, odd: object
) -> None:
    assert _status(_client(storage, lambda _: odd)) == 403
    noun = with_article(type(odd).__name__)  # "a str", but "an int"
    assert f"it returned {noun} instead of a Principal" in caplog.text


@pytest.mark.parametrize("answer", [True, Principal.with_role("ada", "viewer")])
def test_sec_S12_true_and_a_principal_are_let_in(
    storage: Storage, answer: object
) -> None:
    assert _status(_client(storage, lambda _: answer)) == 200


def test_sec_S12_authenticator_that_raises_lets_nobody_in(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Request) -> object:
        raise RuntimeError("no directory server")

    answer = _client(storage, broken).post(
        "/jobs/enqueue", json={"kind": "k", "payload": {}}
    )

    assert answer.status_code == 403
    assert "directory" not in answer.text
    failed, not_audited = caplog.records
    assert failed.exc_info is not None
    assert answer.headers["X-Request-Id"] in failed.getMessage()
    assert answer.headers["X-Request-Id"] in not_audited.getMessage()
    assert storage.job_reader.statistics() == {}


def test_sec_a_user_named_as_a_token_is_not_taken_for_it(storage: Storage) -> None:
    """Neither in the audit trail nor by an idempotency key."""
    token, digest = new_token("ci")
    entry = {"id": "ci", "sha256": digest, "role": "operator"}
    options = BlueprintOptions(
        tokens=TokenSet.from_config([entry]),
        authenticator=lambda _: Principal.with_role("ci", "operator"),
    )
    app = Flask("host")
    app.register_blueprint(create_blueprint(storage, options=options))
    bearer = {"Authorization": f"Bearer {token}"}

    answers = [
        app.test_client().post(
            "/jobs/enqueue",
            json={"kind": "k", "payload": {}},
            headers={"Idempotency-Key": "order-1", **credential},
        )
        for credential in (bearer, {})
    ]

    assert len({answer.json for answer in answers}) == 2
    actors = [entry.record.actor for entry in storage.audit.page(AuditFilter(), 9)]
    assert actors == ["user:ci", "ci"]


def test_tokens_are_asked_before_the_authenticator(storage: Storage) -> None:
    token, digest = new_token("ci")
    entry = {"id": "ci", "sha256": digest, "role": "viewer"}
    options = BlueprintOptions(
        tokens=TokenSet.from_config([entry]),
        authenticator=lambda request: request.headers.get("X-User") == "ada",
    )
    app = Flask("host")
    app.register_blueprint(create_blueprint(storage, options=options))
    client = app.test_client()

    def status(name: str, value: str) -> int:
        return client.get("/queue/overview", headers={name: value}).status_code

    assert status("Authorization", f"Bearer {token}") == 200
    assert status("X-User", "ada") == 200
    assert status("X-User", "eve") == 401
    assert status("Authorization", f"Bearer {token}x") == 401


@pytest.mark.parametrize(("peer", "status"), [("192.0.2.1", 403), ("127.0.0.1", 200)])
def test_sec_S50_debugger_takes_changes_from_this_machine_only(
    storage: Storage, peer: str, status: int
) -> None:
    client = _client(storage, lambda _: True, testing=False, debug=True)
    environ = {"REMOTE_ADDR": peer, "werkzeug.debug.preserve_context": print}

    written = client.post(
        "/jobs/enqueue", json={"kind": "k", "payload": {}}, environ_overrides=environ
    )
    read = client.get("/queue/overview", environ_overrides=environ)

    assert written.status_code == status
    assert read.status_code == 200
