from __future__ import annotations

import copy
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.handlers.redaction import REDACTED, Redactor

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(["password", "apiToken"]), inner)
    ),
)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "db_password",
        "dbPassword",
        "user.password",
        "access_token",
        "accessToken",
        "X-Api-Token",
        "Authorization",
        "client-secret",
        "api_key",
        "apiKey",
        "apikey",
        "API_KEY",
        "api key",
        "Cookie",
        "stripe_api_key_live",
    ],
)
def test_redactor_hides_secret_keys(key: str) -> None:
    assert Redactor().hides(key)


@pytest.mark.parametrize(
    "key",
    ["", "user", "tokenizer", "max_tokens", "secretary", "api", "key", "passport"],
)
def test_redactor_shows_harmless_keys(key: str) -> None:
    assert not Redactor().hides(key)


def test_redactor_takes_wildcards() -> None:
    redactor = Redactor(["*_Ref", "iban?"])

    assert redactor.hides("bank_ref")
    assert redactor.hides("IBAN1")
    assert not redactor.hides("iban")
    assert not redactor.hides("password")


def test_redactor_without_patterns_hides_nothing() -> None:
    redactor = Redactor([])

    assert redactor.payload({"password": 1}) == {"password": 1}
    assert redactor.text("password=1") == "password=1"


def test_redactor_masks_whole_members_at_any_depth() -> None:
    value = {"a": [{"token": {"deep": 1}, "b": 2}], "secret": None, "c": "token"}

    assert Redactor().payload(value) == {
        "a": [{"token": REDACTED, "b": 2}],
        "secret": REDACTED,
        "c": "token",
    }


@given(JSON)
def test_redactor_is_idempotent_and_leaves_its_argument_alone(value: object) -> None:
    before = copy.deepcopy(value)
    redactor = Redactor()

    once = redactor.payload(value)

    assert redactor.payload(once) == once
    assert value == before


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("password=hunter2", "password=[redacted]"),
        ("Password: hunter2, user: ada", "Password: [redacted], user: ada"),
        ('{"api_key": "a \\" b", "n": 1}', '{"api_key": [redacted], "n": 1}'),
        ("apiKey='x y' rest", "apiKey=[redacted] rest"),
        ("Authorization: Bearer abc.def rest", "Authorization: [redacted] rest"),
        ("Authorization: Basic YWRhOng=", "Authorization: [redacted]"),
        ("?a=1&access_token=abc&b=2", "?a=1&access_token=[redacted]&b=2"),
        ("postgresql://ada:pw@db/x", "postgresql://ada:[redacted]@db/x"),
        ("redis://:pw@db/0", "redis://:[redacted]@db/0"),
        ("bad password", "bad password"),
        ("the token expired: retry", "the token expired: retry"),
        ("https://example.com:80/a@b", "https://example.com:80/a@b"),
    ],
)
def test_redactor_masks_text(text: str, masked: str) -> None:
    assert Redactor().text(text) == masked


@given(st.text())
def test_redactor_takes_any_text(text: str) -> None:
    redactor = Redactor()

    assert redactor.text(redactor.text(text)) == redactor.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "password" * 1000,
        "password=" * 900,
        "password " * 900,
        "password" + " " * 8000,
        'password="' + "\\" * 8000,
        "://" * 2700,
        "://" + "a" * 8000,
        "://a:" * 1600,
    ],
    ids=range(8),
)
def test_redactor_is_fast_on_hostile_text(text: str) -> None:
    redactor = Redactor()
    start = time.perf_counter()

    redactor.text(text)

    assert time.perf_counter() - start < 0.25
