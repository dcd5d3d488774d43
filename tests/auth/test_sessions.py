"""A session names a token without holding it; see also test_sign_in.py."""

from __future__ import annotations

import pytest
from flask import Flask, request

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.auth.sessions import COOKIE, LENGTH_S, Sessions
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.auth.tokens import TokenSet, new_token
from tests.support.clocks import MovingClock

SECRET = "a secret of the tests, long enough"
TOKEN, DIGEST = new_token("ann")
TOKENS = TokenSet.from_config([{"id": "ann", "sha256": DIGEST, "role": "viewer"}])


def _owner(sessions: Sessions, value: str) -> Principal | None:
    app = Flask("host")
    with app.test_request_context("/", headers={"Cookie": f"{COOKIE}={value}"}):
        return sessions.principal(app, request)


def test_a_session_lasts_twelve_hours() -> None:
    clock = MovingClock()
    sessions = Sessions(TOKENS, Signer((SECRET,)), clock)
    value = sessions.begin(Flask("host"), TOKEN)
    assert value is not None

    clock.move(LENGTH_S - 1)
    owner = _owner(sessions, value)
    clock.move(1)

    assert owner is not None
    assert owner.id == "ann"
    assert _owner(sessions, value) is None
    assert TOKEN not in value


def test_only_a_known_token_and_a_secret_begin_one() -> None:
    app = Flask("host")
    sessions = Sessions(TOKENS, Signer((SECRET,)), MovingClock())

    assert sessions.may_begin(app)
    assert sessions.begin(app, "fj_ann_" + "x" * 43) is None
    assert sessions.begin(app, "") is None
    without = Sessions(TOKENS, Signer(()), MovingClock())
    assert not without.may_begin(app)
    with pytest.raises(LookupError):
        without.begin(app, TOKEN)
    value = sessions.begin(app, TOKEN)
    assert value is not None
    assert _owner(without, value) is None
    assert _owner(Sessions(None, Signer((SECRET,)), MovingClock()), value) is None
