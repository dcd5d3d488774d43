"""Wrong credentials are slowed down, right ones never."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask, abort, redirect
from flask.testing import FlaskClient
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.wrappers import Request, Response

from flask_forge_jobs.auth.access import Authenticator
from flask_forge_jobs.auth.limits import OVERALL, PER_ADDRESS, network
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.auth.tokens import TokenSet, new_token
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import MovingClock

TOKEN, DIGEST = new_token("ci")


@pytest.fixture
def client(storage: Storage, clock: MovingClock) -> FlaskClient:
    entry = {"id": "ci", "sha256": DIGEST, "role": "viewer"}
    options = BlueprintOptions(tokens=TokenSet.from_config([entry]), clock=clock)
    app = Flask("host")
    app.register_blueprint(create_blueprint(storage, options=options))
    return app.test_client()


def _mounted(
    storage: Storage, authenticator: Authenticator, clock: MovingClock
) -> FlaskClient:
    options = BlueprintOptions(authenticator=authenticator, clock=clock)
    app = Flask("host")
    app.register_blueprint(create_blueprint(storage, options=options))
    # The cookies are those that a test sends, none is kept.
    return app.test_client(use_cookies=False)


def _try(
    client: FlaskClient, token: str = "wrong", peer: str = "192.0.2.1", **headers: str
) -> int:
    return client.get(
        "/queue/overview",
        headers={"Authorization": f"Bearer {token}", **headers},
        environ_overrides={"REMOTE_ADDR": peer},
    ).status_code


def test_sec_S08_eleventh_failure_of_a_minute_is_429(
    client: FlaskClient, clock: MovingClock
) -> None:
    statuses = [_try(client) for _ in range(PER_ADDRESS + 1)]

    assert statuses == [401] * PER_ADDRESS + [429]
    clock.move(60)
    assert _try(client) == 401


def test_sec_S08_refusal_says_when_to_come_back(
    client: FlaskClient, clock: MovingClock
) -> None:
    for _ in range(PER_ADDRESS):
        _try(client)
    clock.move(12.5)

    answer = client.get(
        "/queue/overview",
        headers={"Authorization": "Bearer wrong"},
        environ_overrides={"REMOTE_ADDR": "192.0.2.1"},
    )

    assert answer.data == b'{"kind":"rate_limited","retry_after_secs":48}'
    assert answer.headers["Retry-After"] == "48"


def test_sec_S08_valid_token_is_never_locked_out(client: FlaskClient) -> None:
    for _ in range(3 * PER_ADDRESS):
        _try(client)

    assert _try(client, TOKEN) == 200
    assert _try(client) == 429


def test_sec_S08_success_does_not_reset_the_count(client: FlaskClient) -> None:
    for _ in range(PER_ADDRESS):
        _try(client)
        _try(client, TOKEN)

    assert _try(client) == 429


def test_sec_S08_everybody_together_has_a_limit(client: FlaskClient) -> None:
    statuses = [_try(client, peer=f"192.0.2.{n}") for n in range(OVERALL + 1)]

    assert statuses == [401] * OVERALL + [429]
    assert _try(client, TOKEN) == 200


def test_sec_S08_who_sends_no_credential_has_not_failed(client: FlaskClient) -> None:
    statuses = {client.get("/queue/overview").status_code for _ in range(OVERALL + 9)}

    assert statuses == {401}


def _refuse(_: Request) -> object:
    return None


def _abort(_: Request) -> object:
    raise Unauthorized("sign in first")


def _forbid(_: Request) -> object:
    raise Forbidden(response=Response("no", 403))


def _fail(_: Request) -> object:
    raise ValueError("no session of ours")


@pytest.mark.parametrize("refusal", [_refuse, _abort, _forbid, _fail])
def test_sec_S08_what_a_callable_refuses_counts_and_what_it_lets_in_passes(
    storage: Storage, clock: MovingClock, refusal: Callable[[Request], object]
) -> None:
    """Only the callable knows where a credential is: here in a cookie."""

    def authenticate(request: Request) -> object:
        if request.cookies.get("session") == "good":
            return Principal.with_role("ann", "viewer")
        return refusal(request)

    client = _mounted(storage, authenticate, clock)
    statuses = [
        client.get("/queue/overview", headers={"Cookie": f"session={n}"}).status_code
        for n in range(PER_ADDRESS + 1)
    ]
    good = client.get("/queue/overview", headers={"Cookie": "session=good"})

    assert set(statuses[:-1]) <= {401, 403}
    assert statuses[-1] == 429
    assert good.status_code == 200


def test_sec_S08_a_way_to_sign_in_is_no_failure(
    storage: Storage, clock: MovingClock
) -> None:
    def authenticate(_: Request) -> object:
        abort(redirect("/sign-in"))

    client = _mounted(storage, authenticate, clock)

    statuses = {client.get("/queue/overview").status_code for _ in range(OVERALL + 1)}

    assert statuses == {302}


def test_sec_S09_forwarding_headers_make_no_new_client(client: FlaskClient) -> None:
    statuses = [
        _try(client, **{"X-Forwarded-For": f"198.51.100.{n}", "Forwarded": f"for={n}"})
        for n in range(PER_ADDRESS + 1)
    ]

    assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("", ""),
        ("@", ""),
    ],
)
def test_network_is_an_address_or_a_64(address: str, expected: str) -> None:
    assert network(address) == expected
