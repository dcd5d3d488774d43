"""Bearer tokens: what is accepted at the start and what at the door."""

from __future__ import annotations

import ast
import hmac
import inspect
import math
import re
import sys
import textwrap
import time
from datetime import UTC, datetime
from hashlib import sha256
from types import FrameType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.auth.tokens import WEAK_TOKENS, TokenSet, new_token, parse_expiry
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.errors import ConfigurationError, InvalidInputError
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import MovingClock

TOKEN, DIGEST = new_token("ci")
ENTRY: dict[str, object] = {"id": "ci", "sha256": DIGEST, "role": "viewer"}


def _client(storage: Storage, *entries: object, clock: MovingClock) -> FlaskClient:
    app = Flask("host")
    options = BlueprintOptions(tokens=TokenSet.from_config(entries, clock), clock=clock)
    app.register_blueprint(create_blueprint(storage, options=options))
    return app.test_client()


def test_sec_S03_new_token_has_256_random_bits_and_its_id() -> None:
    tokens = [new_token("ci")[0] for _ in range(200)]
    secrets = [token.removeprefix("fj_ci_") for token in tokens]

    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in secrets)
    assert len(set(secrets)) == len(secrets)
    assert math.log2(64) * 43 >= 256
    assert new_token("ci")[1] != DIGEST


@pytest.mark.parametrize("token_id", ["", "a_b", "-a", "a b", "é", "a" * 65, "a\n"])
def test_id_of_another_form_is_refused(token_id: str) -> None:
    with pytest.raises(InvalidInputError, match="letters, digits"):
        new_token(token_id)


def test_sec_S03_only_the_hash_is_kept() -> None:
    tokens = TokenSet.from_config([ENTRY])

    assert sha256(TOKEN.encode()).hexdigest() == DIGEST
    assert TOKEN not in repr(vars(tokens))
    found = tokens.principal(TOKEN)
    assert found is not None
    assert found.id == "ci"


@pytest.mark.parametrize("word", WEAK_TOKENS)
def test_sec_S03_hash_of_a_weak_token_stops_the_start(word: str) -> None:
    digest = sha256(word.encode()).hexdigest()

    with pytest.raises(ConfigurationError, match="FORGE_JOBS_TOKENS") as caught:
        TokenSet.from_config([ENTRY | {"sha256": digest}])

    assert digest not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"sha256": None}, "sha256: must be 64"),
        ({"sha256": "changeme"}, "sha256: must be 64"),
        ({"sha256": DIGEST[:40]}, "sha256: must be 64"),
        ({"sha256": "0" * 64}, "sha256: is the hash"),
        ({"id": None}, "id: must be"),
        ({"id": "a_b"}, "id: must be"),
        ({"role": "root"}, "role: must be one of metrics, viewer"),
        ({"role": None}, "role: must be one of"),
        ({"role": ["viewer"]}, "role: must be one of"),
        ({"queues": []}, "queues: must be a list of at least one"),
        ({"queues": "mail"}, "queues: must be a list"),
        ({"queues": ["a,b"]}, r"queues\[0\]: is not a valid queue name"),
        ({"queues": ["mail", 1]}, r"queues\[1\]: is not a valid queue name"),
        ({"expires_at": "soon"}, "expires_at: must be a date"),
        ({"expires_at": 5}, "expires_at: must be a date"),
        ({"expires_at": "2027-01-01T00:00:00"}, "expires_at: has no time zone"),
        ({"rôle": "x"}, "unknown key"),
        ({"roles": ["viewer"]}, "unknown key; did you mean 'role'"),
    ],
)
def test_wrong_entry_stops_the_start_and_names_the_place(
    wrong: dict[str, object], why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        TokenSet.from_config([ENTRY | wrong])

    assert str(caught.value).startswith("FORGE_JOBS_TOKENS: [0]")
    assert DIGEST[:20] not in str(caught.value)
    assert "changeme" not in str(caught.value)


def test_two_entries_may_not_share_id_or_hash() -> None:
    other = new_token("ci")[1]

    with pytest.raises(ConfigurationError, match="the same id"):
        TokenSet.from_config([ENTRY, ENTRY | {"sha256": other}])
    with pytest.raises(ConfigurationError, match="the same sha256"):
        TokenSet.from_config([ENTRY, ENTRY | {"id": "other"}])


WRONG_CREDENTIALS = [
    "",
    "Bearer",
    "Bearer ",
    f"Basic {TOKEN}",
    f"Token {TOKEN}",
    TOKEN,
    f"Bearer  {TOKEN}",
    f"Bearer {TOKEN} ",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}, Bearer {TOKEN}",
    f"Bearer {new_token('ci')[0]}",
    f"Bearer {new_token('unknown')[0]}",
    f"Bearer {TOKEN.upper()}",
    "Bearer fj_ci_",
    "Bearer fj_",
    f"Bearer {DIGEST}",
    "Bearer \xe9\xff",
    "Bearer " + "x" * 1_000_000,
    f"Bearer fj_ci_{'x' * 1_000_000}",
]


@pytest.mark.parametrize("credential", WRONG_CREDENTIALS, ids=range(20))
def test_sec_S04_H25_wrong_credential_is_the_same_401(
    storage: Storage, credential: str
) -> None:
    client = _client(storage, ENTRY, clock=MovingClock())
    expected = client.get("/queue/overview")

    answer = client.get("/queue/overview", headers={"Authorization": credential})

    assert answer.status_code == 401
    assert answer.data == expected.data
    assert answer.headers["WWW-Authenticate"] == expected.headers["WWW-Authenticate"]


def _steps(tokens: TokenSet, token: str) -> list[str]:
    """Return the names of all functions that a look at a token calls, in order."""
    called: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_qualname)
        elif event == "c_call":
            called.append(argument.__name__)

    sys.setprofile(note)
    try:
        assert tokens.principal(token) is None
    finally:
        sys.setprofile(None)
    return called[:-1]  # not the one that ends it


def test_sec_S04_S13_a_refusal_takes_as_long_whatever_is_wrong() -> None:
    """What a look at the clock could tell: an id that exists, a digest that is near."""
    old, old_digest = new_token("old")
    expired = {"id": "old", "sha256": old_digest, "role": "viewer"}
    tokens = TokenSet.from_config([ENTRY, expired | {"expires_at": "2001-01-01"}])
    wrong = {
        "known id": f"{TOKEN[:-4]}AAAA",
        "known id, nothing right": f"fj_ci_{'A' * 43}",
        "unknown id": f"fj_co_{TOKEN.removeprefix('fj_ci_')}",
        "expired id": f"{old[:-4]}AAAA",
    }

    steps = {name: _steps(tokens, token) for name, token in wrong.items()}

    # Each takes the same steps, and the one that compares takes as long for all.
    assert len({tuple(each) for each in steps.values()}) == 1, steps
    assert [name for name in steps["known id"] if "compare" in name] == [
        hmac.compare_digest.__name__
    ]


def test_sec_S05_token_counts_in_the_header_only(storage: Storage) -> None:
    client = _client(storage, ENTRY, clock=MovingClock())
    for name in ("token", "access_token", "authorization"):
        client.set_cookie(name, TOKEN)

    for answer in (
        client.get(f"/queue/overview?token={TOKEN}&access_token={TOKEN}"),
        client.get("/queue/overview", headers={"X-Token": TOKEN}),
        client.get(
            "/queue/overview", headers={"Proxy-Authorization": f"Bearer {TOKEN}"}
        ),
        client.post("/jobs/list", json={"token": TOKEN, "limit": 1, "offset": 0}),
    ):
        assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_right_token_is_let_in(storage: Storage, scheme: str) -> None:
    client = _client(storage, ENTRY, clock=MovingClock())

    answer = client.get(
        "/queue/overview", headers={"Authorization": f"{scheme} {TOKEN}"}
    )

    assert answer.status_code == 200


def test_sec_S07_two_tokens_are_valid_until_one_expires(storage: Storage) -> None:
    clock = MovingClock()
    newer, digest = new_token("ci-2")
    expiry = datetime.fromtimestamp(clock.now_us() / 1e6 + 60, UTC)
    client = _client(
        storage,
        ENTRY | {"expires_at": expiry.isoformat()},
        {"id": "ci-2", "sha256": digest.upper(), "role": "viewer"},
        clock=clock,
    )

    def statuses() -> list[int]:
        return [
            client.get(
                "/queue/overview", headers={"Authorization": f"Bearer {token}"}
            ).status_code
            for token in (TOKEN, newer)
        ]

    assert statuses() == [200, 200]
    clock.move(60)
    assert statuses() == [401, 200]


def test_sec_S13_expired_token_answers_like_an_unknown_one(storage: Storage) -> None:
    client = _client(storage, ENTRY | {"expires_at": "2001-01-01"}, clock=MovingClock())
    unknown = new_token("nobody")[0]

    answers = [
        client.get("/queue/overview", headers={"Authorization": f"Bearer {token}"})
        for token in (TOKEN, unknown)
    ]

    assert answers[0].data == answers[1].data
    assert answers[0].status_code == answers[1].status_code == 401
    assert answers[0].headers["WWW-Authenticate"].strip() == "Bearer"


def test_a_date_of_expiry_begins_in_utc_wherever_the_server_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        expiry = parse_expiry("2027-01-31")
    time.tzset()

    assert expiry == datetime(2027, 1, 31, tzinfo=UTC)


def test_parse_expiry_takes_a_date_or_an_instant() -> None:
    assert parse_expiry("2027-01-31") == datetime(2027, 1, 31, tzinfo=UTC)
    assert parse_expiry("2027-01-31T12:00:00Z") == datetime(2027, 1, 31, 12, tzinfo=UTC)
    with pytest.raises(InvalidInputError, match="has no time zone"):
        parse_expiry("2027-01-31T12:00:00")


def test_sec_S04_digests_are_compared_in_constant_time_only() -> None:
    """No ``==`` or ``in`` ever meets a digest on the way of a request."""
    source = inspect.getsource(TokenSet.principal)
    compared = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(textwrap.dedent(source)))
        if isinstance(node, ast.Compare)
    ]

    assert "hmac.compare_digest" in source
    assert not [text for text in compared if "digest" in text or "token" in text]
