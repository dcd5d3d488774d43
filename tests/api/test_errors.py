"""The table of errors: status, exact body, headers, and what is logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import TooManyRequests, Unauthorized

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.api import errors as errors_module
from flask_forge_jobs.api.errors import MAX_MESSAGE_LENGTH
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.errors import (
    ConfigurationError,
    DuplicateJobError,
    InvalidInputError,
    JobNotFoundError,
    MigrationError,
    QueueNotEmptyError,
    QueueNotFoundError,
    RateLimitedError,
    SchemaTooNewError,
    StaleSettingsError,
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.log_lines import PERIOD_S, LogThrottle
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount, mount_failing
from tests.support.clocks import MovingClock

UNASKED = faulty_storage(AssertionError("the storage was asked"))
SECRET = "SELECT secret FROM /srv/queue.sqlite"  # what must not get out
Case = tuple[Exception, int, list[str], str]
Route = tuple[str, str, object]
CASES: list[Case] = [
    (InvalidInputError("n", "is bad"), 400, ["kind", "field", "msg"], "validation"),
    (JobNotFoundError("x"), 404, ["kind", "msg"], "not_found"),
    (QueueNotFoundError("x"), 404, ["kind", "msg"], "not_found"),
    (DuplicateJobError("key", "id", "kind"), 409, ["kind", "msg"], "conflict"),
    (QueueNotEmptyError("x", 3), 409, ["kind", "msg"], "conflict"),
    (StaleSettingsError("x"), 412, ["kind", "msg"], "conflict"),
    (RateLimitedError(30), 429, ["kind", "retry_after_secs"], "rate_limited"),
    (StorageBusyError(SECRET), 409, ["kind", "msg"], "conflict"),
    (
        StorageUnavailableError(SECRET),
        503,
        ["kind", "msg", "retry_after_secs"],
        "unavailable",
    ),
    (StorageError(SECRET), 500, ["kind", "msg"], "storage"),
    (StorageCorruptError(SECRET), 500, ["kind", "msg"], "storage"),
    (MigrationError(3, SECRET), 500, ["kind", "msg"], "storage"),
    (
        SchemaTooNewError(14, 14, 13),
        503,
        ["kind", "msg", "retry_after_secs"],
        "unavailable",
    ),
    (ConfigurationError("KEY", SECRET), 500, ["kind", "msg"], "internal"),
    (RuntimeError(SECRET), 500, ["kind", "msg"], "internal"),
    (RecursionError(SECRET), 500, ["kind", "msg"], "internal"),
]
ROUTES: list[Route] = [
    ("GET", "/queue/overview", None),
    ("GET", "/queue/processes", None),
    ("GET", "/metrics", None),
    ("GET", "/storage/info", None),
    ("GET", "/jobs/inspect/x", None),
    ("POST", "/queue/mail/paused", {"paused": True}),
    ("POST", "/queue/mail/max-workers", {"n": 1}),
    (
        "POST",
        "/queue/mail/backoff",
        {"enabled": True, "base_seconds": 1, "max_seconds": 1},
    ),
    ("POST", "/jobs/list", {"limit": 1, "offset": 0}),
    ("POST", "/jobs/enqueue", {"kind": "k", "payload": {}}),
    ("POST", "/jobs/retry", {"ids": ["x"]}),
    ("POST", "/jobs/delete", {"ids": ["x"]}),
    ("POST", "/jobs/run-now/x", {}),
]


def _failing(error: Exception) -> FlaskClient:
    return mount_failing(error)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route[1])
@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case[0]).__name__)
def test_error_has_its_status_and_exact_keys(route: Route, case: Case) -> None:
    method, path, body = route
    error, status, keys, kind = case

    answer = _failing(error).open(PREFIX + path, method=method, json=body)

    document = json.loads(answer.data)
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert list(document) == keys
    assert document["kind"] == kind
    assert "secret" not in answer.text
    assert answer.headers["X-Request-Id"]


def test_busy_database_asks_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    answer = _failing(StorageBusyError("lock")).get(f"{PREFIX}/queue/overview")

    assert answer.headers["Retry-After"] == "1"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_unavailable_database_says_when_to_come_back() -> None:
    client = _failing(StorageUnavailableError("down"))

    answer = client.get(f"{PREFIX}/queue/overview")

    assert answer.json is not None
    assert answer.headers["Retry-After"] == str(answer.json["retry_after_secs"])


def test_who_asks_code_that_is_too_old_is_told_why() -> None:
    answer = _failing(SchemaTooNewError(14, 14, 13)).get(f"{PREFIX}/queue/overview")

    assert answer.json is not None
    assert answer.json["msg"] == (
        "schema version 14: this database needs code that knows schema 14 or newer, "
        "this package knows 13; upgrade flask-forge-jobs"
    )


def test_a_database_that_is_away_is_told_once_a_minute_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of refusals a minute, each with a traceback, fill a disk."""
    clock = MovingClock()
    monkeypatch.setattr(errors_module, "_AWAY", LogThrottle(clock.monotonic))
    client = _failing(StorageUnavailableError("down"))
    unsure = mount(faulty_storage(StorageOutcomeUnknownError(["01J"])))

    for _ in range(3):
        client.get(f"{PREFIX}/queue/overview")
    unsure.get(f"{PREFIX}/queue/overview")
    clock.move(PERIOD_S)
    client.get(f"{PREFIX}/queue/overview")

    lines = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert lines == [
        "database unavailable: down",
        f"database unavailable: {StorageOutcomeUnknownError(['01J'])}",
        "database unavailable: down (2 more since the last line)",
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_an_unknown_outcome_says_which_job_it_is() -> None:
    client = _failing(StorageOutcomeUnknownError(["01JD8000000000000000000000"]))

    answer = client.get(f"{PREFIX}/queue/overview")

    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["kind"] == "unavailable"
    assert "01JD8000000000000000000000 may or may not be stored" in answer.json["msg"]
    assert answer.headers["Retry-After"] == str(answer.json["retry_after_secs"])


def test_rate_limit_has_exactly_the_references_body() -> None:
    client = _failing(RateLimitedError(30))

    answer = client.get(f"{PREFIX}/queue/overview")

    assert answer.data == b'{"kind":"rate_limited","retry_after_secs":30}'
    assert answer.headers["Retry-After"] == "30"


def test_validation_error_has_exactly_the_references_body() -> None:
    client = _failing(InvalidInputError("n", "is bad"))

    answer = client.get(f"{PREFIX}/queue/overview")

    assert answer.data == b'{"kind":"validation","field":"n","msg":"is bad"}'


@pytest.mark.parametrize("testing", [True, False])
@pytest.mark.parametrize("error", [RuntimeError(SECRET), StorageError(SECRET)])
def test_fault_of_ours_is_logged_once_with_traceback_and_request_id(
    caplog: pytest.LogCaptureFixture, error: Exception, testing: bool
) -> None:
    options = BlueprintOptions(authenticator=lambda _: True)
    client = mount(faulty_storage(error), options, testing=testing)

    client.get(f"{PREFIX}/queue/overview", headers={"X-Request-Id": "r-17"})

    [record] = caplog.records
    assert "r-17" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_fault_of_the_caller_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    _failing(JobNotFoundError("x")).get(f"{PREFIX}/jobs/inspect/x")

    assert not caplog.records


@dataclass
class Account:
    """What its check raises quotes what nobody else may see."""

    iban: str

    def __post_init__(self) -> None:
        raise RuntimeError(f"{SECRET}\npassword=hunter2 iban: {self.iban}")


@pytest.mark.parametrize(
    ("path", "field", "wrap"),
    [
        ("/v1/jobs", "payload.account", lambda job: job),
        ("/jobs/enqueue", "payload.account", lambda job: job),
        ("/v1/jobs/bulk", "items[0].payload.account", lambda job: {"items": [job]}),
        (
            "/v1/cron",
            "payload.account",
            lambda job: {**job, "name": "pay", "cron_expr": "0 3 * * *"},
        ),
    ],
)
def test_sec_S39_what_the_checks_of_a_class_raise_reaches_the_log_only(
    path: str,
    field: str,
    wrap: Callable[[dict[str, Any]], dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(errors_module, "_CHECKS", LogThrottle(MovingClock().monotonic))
    app = Flask("host")
    app.config |= {"TESTING": True, "FORGE_JOBS_REDACT_KEYS": ["iban"]}
    forge = ForgeJobs(app)

    @forge.task
    def pay(account: Account) -> None: ...

    body = wrap({"kind": "pay", "payload": {"account": {"iban": "DE02120300"}}})
    answers = [app.test_client().post(f"/forge-jobs{path}", json=body) for _ in "ab"]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json == {
        "kind": "validation",
        "field": field,
        "msg": "is not a Account; the log has the reason",
    }
    [line] = [text for text in caplog.messages if "Account" in text]
    assert line.partition(": ")[2] == (
        "argument `account` of `pay`: is not a Account: "
        f"RuntimeError: {SECRET}\\npassword=[redacted] iban: [redacted]"
    )


def test_long_message_is_cut() -> None:
    client = _failing(InvalidInputError("n", "x" * 10_000))

    answer = client.get(f"{PREFIX}/queue/overview")

    assert answer.json is not None
    assert len(answer.json["msg"]) == MAX_MESSAGE_LENGTH


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "validation"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (406, "validation"),
        (409, "conflict"),
        (418, "validation"),
        (429, "rate_limited"),
        (500, "internal"),
        (501, "internal"),
        (503, "unavailable"),
    ],
)
def test_abort_in_an_authenticator_is_a_tagged_error(status: int, kind: str) -> None:
    client = mount(UNASKED, BlueprintOptions(authenticator=lambda _: abort(status)))

    answer = client.get(f"{PREFIX}/queue/overview")

    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json["kind"] == kind
    if kind in {"rate_limited", "unavailable"}:
        assert answer.headers["Retry-After"] == str(answer.json["retry_after_secs"])


def test_headers_of_an_http_error_are_kept() -> None:
    def slow_down(_: object) -> object:
        raise TooManyRequests(retry_after=7)

    def challenge(_: object) -> object:
        raise Unauthorized(www_authenticate=WWWAuthenticate("basic"))

    url = f"{PREFIX}/queue/overview"
    slowed = mount(UNASKED, BlueprintOptions(authenticator=slow_down)).get(url)
    challenged = mount(UNASKED, BlueprintOptions(authenticator=challenge)).get(url)

    assert slowed.data == b'{"kind":"rate_limited","retry_after_secs":7}'
    assert challenged.headers["WWW-Authenticate"].startswith("Basic")
