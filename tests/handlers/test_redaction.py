from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.handlers.redaction import Redactor, Unmasked
from flask_forge_jobs.model.jobs import Job, NewJob
from flask_forge_jobs.model.masking import REDACTED
from flask_forge_jobs.storage.base import open_storage
from tests.support.costs import no_hang

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
        "dbpassword",
        "passwordHash",
        "tokens",
        "max_tokens",
        "authtoken",
        "session_id",
        "sessionid",
        "private_key",
        "dsn",
        "SENTRY_DSN",
        "card_number",
        "cardNumber",
        "db_pass",
        "basicAuth",
        "credentials",
        "DATABASE_URL",
    ],
)
def test_redactor_hides_secret_keys(key: str) -> None:
    assert Redactor().hides(key)


@pytest.mark.parametrize(
    "key",
    ["", "user", "tokenizer", "author", "api", "key", "passport", "compass", "card"],
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
        ('{"api_key": "a \\" b", "n": 1}', '{"api_key": "[redacted]", "n": 1}'),
        ("dbpassword=x session_id: y", "dbpassword=[redacted] session_id: [redacted]"),
        ("db_pass=x compass=y", "db_pass=[redacted] compass=y"),
        ("private key: abc", "private key: [redacted]"),
        ("a 'token': ['x', 'y'] b", "a 'token': [redacted] b"),
        ("{'token': {'a': 'x'}, 'b': 1}", "{'token': [redacted], 'b': 1}"),
        (
            'bad {"a": [{"tokens": {"b": {"c": "x"}, "d": "y"}}], "e": 1} sent',
            'bad {"a": [{"tokens": [redacted]}], "e": 1} sent',
        ),
        ('{"a":1} {"note":"pwd=x"}', '{"a":1} {"note":"pwd=[redacted]"}'),
        ('secret={"a": {"b": 1}, "c": "x"} end', "secret=[redacted] end"),
        (
            r'"{\"password\": \"x y\", \"b\": 1}"',
            r'"{\"password\": \"[redacted]\", \"b\": 1}"',
        ),
        ('{"password": "cut off in the', '{"password": "[redacted]'),
        ("postgresql://ada:p@ss@db/x", "postgresql://ada:[redacted]@db/x"),
        ("https://0123456789abcdef@db/x", "https://[redacted]@db/x"),
        ("https://git@example.com/x", "https://git@example.com/x"),
        ("apiKey='x y' rest", "apiKey='[redacted]' rest"),
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


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ada:pw@db/x", "postgresql://ada:[redacted]@db/x"),
        (
            "https://a.example/?b=1&auth_token=x&c=2",
            "https://a.example/?b=1&auth_token=[redacted]&c=2",
        ),
        (
            "https://a.example/?X-Amz-Signature=x#y",
            "https://a.example/?X-Amz-Signature=[redacted]#y",
        ),
        ("password=x", "password=x"),
    ],
)
def test_credentials_in_the_urls_of_payloads_are_masked(text: str, masked: str) -> None:
    """Of other texts there a word like ``password=`` is data."""
    assert Redactor().payload({"note": [text]}) == {"note": [masked]}


@given(st.text())
def test_redactor_takes_any_text(text: str) -> None:
    redactor = Redactor()

    assert redactor.text(redactor.text(text)) == redactor.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "password" * 40_000,
        "password=" * 36_000,
        "password " * 36_000,
        "password" + " " * 320_000,
        'password="' + "\\" * 320_000,
        "://" * 108_000,
        "://" + "a" * 320_000,
        "://a:" * 64_000,
        "[[" * 160_000,
        '{"a":' * 64_000,
        r"token=\'" * 36_000,
        "token=[" * 36_000,
        "session" * 40_000,
        "?" * 320_000,
    ],
    ids=range(14),
)
def test_redactor_is_fast_on_hostile_text(text: str) -> None:
    """Minutes if each start were followed to the end."""
    with no_hang():
        Redactor().text(text)


TOKENS = [
    "fj_ci_" + "A" * 43,
    "ghp_" + "a1" * 18,
    "github_pat_" + "A" * 30,
    "glpat-" + "x" * 20,
    "xoxb-1234567890-abc",
    "sk-" + "a" * 30,
    "sk_live_" + "a" * 24,
    "AKIAIOSFODNN7EXAMPLE",
    "AIza" + "b" * 35,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n",
]


@pytest.mark.parametrize("token", TOKENS)
def test_sec_S37_what_looks_like_a_token_is_masked(token: str) -> None:
    redactor = Redactor()

    shown = [redactor.text(f"refused: {token}"), redactor.payload({"note": [token]})]

    assert shown == [f"refused: {REDACTED}", {"note": [REDACTED]}]


@pytest.mark.parametrize(
    "text", ["task-force", "sketch", "fj_ci_short", "eyJ.eyJ.x", "AKIA", "ask-me-later"]
)
def test_what_only_begins_like_a_token_is_shown(text: str) -> None:
    assert Redactor().payload(text) == text


@pytest.mark.parametrize("part", ["-eyJ", "eyJaaaaaaaa.", "sk-", "gh", "-----BEGIN "])
def test_search_for_tokens_stays_fast_on_hostile_text(part: str) -> None:
    """Hundreds of seconds if each start were followed to the end."""
    text = part * (1_000_000 // len(part))

    with no_hang():
        Redactor().text(text)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        yield storage.job_reader.get(storage.jobs.enqueue(NewJob("k")).id)


def test_hook_has_the_last_word_on_payloads(job: Job) -> None:
    redactor = Redactor(
        hook=lambda found, payload: {"kind": found and found.kind, "was": payload}
    )

    shown = redactor.job_payload(job, {"password": "canary"})

    assert shown == {"kind": "k", "was": {"password": REDACTED}}
    assert Redactor().job_payload(job, {"a": 1}) == {"a": 1}


@pytest.mark.parametrize("result", [object(), {"a": {1}}, float("nan")])
def test_hook_that_returns_no_json_hides_the_payload(
    job: Job, result: object, caplog: pytest.LogCaptureFixture
) -> None:
    redactor = Redactor(hook=lambda _job, _payload: result)

    assert redactor.job_payload(job, {"a": "canary"}) == REDACTED
    assert "FORGE_JOBS_REDACT" in caplog.text


def test_sec_S37_hook_that_fails_hides_the_payload(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_job: object, _payload: object) -> object:
        raise RuntimeError("bug")

    assert Redactor(hook=broken).job_payload(job, "canary") == REDACTED
    assert "canary" not in caplog.text


def test_with_a_hook_payloads_in_requests_are_masked_whole() -> None:
    request = {"body": {"kind": "k", "items": [{"payload": {"a": "canary"}}]}}

    assert Redactor().request(request) == request
    assert Redactor(hook=lambda _job, payload: payload).request(request) == {
        "body": {"kind": "k", "items": [{"payload": REDACTED}]}
    }


def test_unmasked_masks_nothing(job: Job) -> None:
    value = {"password": "x", "note": TOKENS[0]}

    assert Unmasked().payload(value) == value
    assert Unmasked().text(f"token={TOKENS[0]}") == f"token={TOKENS[0]}"
    assert Unmasked().job_payload(job, value) == value


def test_the_signature_of_an_error_stays_in_the_filter_of_a_request() -> None:
    cause = "ValueError: password=hunter2 <n>"
    sent = {"body": {"filter": {"signature": cause}, "signature": "c2lnbmVk"}}

    assert Redactor().request(sent) == {
        "body": {
            "filter": {"signature": "ValueError: password=[redacted] <n>"},
            "signature": "[redacted]",
        }
    }
