from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.payloads import dump

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_new_job_has_the_defaults_of_the_contract() -> None:
    job = NewJob("send")

    assert (job.payload, job.queue_name, job.queue, job.priority) == (
        "{}",
        None,
        "default",
        0,
    )
    assert (job.max_attempts, job.dedupe_key, job.run_at) == (5, None, None)
    assert job.timeout_s is None


def test_a_job_without_a_queue_takes_the_routers() -> None:
    payload = '{"a":1}'
    job = NewJob("send", payload, priority=7)
    named = NewJob("send", queue_name="mail")

    routed = job.routed(lambda kind: f"{kind}-queue")

    assert routed == NewJob("send", payload, priority=7, queue_name="send-queue")
    assert job.queue_name is None
    assert named.routed(lambda _: "other") is named
    with pytest.raises(InvalidInputError) as raised:
        job.routed(lambda _: "a,b")
    assert raised.value.field == "queue_name"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "x" * 128),
        ("queue_name", "x" * 128),
        ("priority", -(2**31)),
        ("priority", 2**31 - 1),
        ("max_attempts", 1),
        ("max_attempts", 1000),
        ("dedupe_key", "x" * 255),
        ("run_at", datetime(1970, 1, 1, tzinfo=UTC)),
        ("run_at", datetime.max.replace(tzinfo=UTC)),
        ("run_at", datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=UTC)),
        ("timeout_s", 0.001),
        ("timeout_s", 86_400 * 365),
        ("dedupe_for", timedelta(milliseconds=1)),
        ("dedupe_for", timedelta(days=365)),
        ("replace", ("payload",)),
        ("replace", ("payload", "run_at")),
        ("payload", dump("x" * (MAX_PAYLOAD_BYTES - 2))),
    ],
)
def test_new_job_takes_values_at_their_bounds(field: str, value: Any) -> None:
    values = {"kind": "send", "dedupe_key": "k", field: value}

    assert getattr(NewJob(**values), field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", ""),
        ("kind", "x" * 129),
        ("kind", 7),
        ("queue_name", ""),
        ("queue_name", "a,b"),
        ("queue_name", 7),
        ("priority", 2**31),
        ("priority", -(2**31) - 1),
        ("priority", True),
        ("priority", 1.0),
        ("max_attempts", 0),
        ("max_attempts", -1),
        ("max_attempts", 1001),
        ("max_attempts", "5"),
        ("dedupe_key", ""),
        ("dedupe_key", "x" * 256),
        ("dedupe_key", "a\x00"),
        ("run_at", NOON.replace(tzinfo=None)),
        ("run_at", date(2026, 6, 1)),
        ("run_at", "2026-06-01T12:00:00Z"),
        ("run_at", datetime(1969, 12, 31, tzinfo=UTC)),
        ("run_at", datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))),
        ("run_at", datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
        ("delay", -1),
        ("delay", True),
        ("delay", "1"),
        ("delay", math.nan),
        ("delay", 86_400 * 36_500 + 1),
        ("delay", timedelta.max),
        ("delay", timedelta(-1)),
        ("timeout_s", 0),
        ("timeout_s", -1),
        ("timeout_s", math.nan),
        ("timeout_s", math.inf),
        ("timeout_s", True),
        ("timeout_s", "10"),
        ("dedupe_for", timedelta(0)),
        ("dedupe_for", timedelta(microseconds=999)),
        ("dedupe_for", timedelta(days=365, microseconds=1)),
        ("dedupe_for", timedelta.max),
        ("dedupe_for", 60),
        ("replace", ("priority",)),
        ("replace", "pay"),
        ("replace", ("payload", None)),
        ("replace", ([],)),
        ("replace", None),
        ("replace", True),
        ("replace", 7),
        ("schedule_name", ""),
        ("schedule_name", "a/b"),
        ("schedule_name", "x" * 129),
        ("payload", dump("x" * (MAX_PAYLOAD_BYTES - 1))),
    ],
)
def test_new_job_refuses_values_beyond_and_names_the_field(
    field: str, value: Any
) -> None:
    values = {"kind": "send", "dedupe_key": "k", field: value}

    with pytest.raises(InvalidInputError) as caught:
        NewJob(**values)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"), [("dedupe_for", timedelta(hours=1)), ("replace", ("payload",))]
)
def test_what_goes_with_a_key_needs_one(field: str, value: Any) -> None:
    values = {"kind": "send", field: value}

    with pytest.raises(InvalidInputError, match="needs a dedupe_key") as caught:
        NewJob(**values)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("payload", ("payload",)),
        (["run_at", "payload"], ("payload", "run_at")),
        ({"run_at"}, ("run_at",)),
        ([], ()),
    ],
)
def test_names_to_replace_are_kept_in_one_form(
    given: Any, stored: tuple[str, ...]
) -> None:
    job = NewJob("send", dedupe_key="k", replace=given)

    assert job.replace == stored
    assert job == NewJob("send", dedupe_key="k", replace=stored)


@pytest.mark.parametrize("delay", [90, 90.0, timedelta(seconds=90)])
def test_a_delay_is_a_start_that_counts_from_the_storing(delay: Any) -> None:
    job = NewJob("send", delay=delay)

    assert job.start_us == -90_000_000
    assert job.run_at is None
    assert NewJob("send", run_at=NOON).start_us == to_micros(NOON)
    assert NewJob("send").start_us is None


def test_a_delay_and_an_instant_are_one_too_many() -> None:
    with pytest.raises(
        InvalidInputError, match="delay: cannot be combined with run_at"
    ):
        NewJob("send", delay=1, run_at=NOON)


def test_a_copy_differs_in_what_is_said_only() -> None:
    job = NewJob(
        "send", queue_name="mail", priority=-1, dedupe_key="k", timeout_s=2.0,
        dedupe_for=timedelta(hours=1), replace=("run_at",),
    )  # fmt: skip

    assert job.with_checked(payload='{"a":1}') == replace(job, payload='{"a":1}')
    assert job.payload == "{}"


def test_the_size_of_a_canonical_payload_is_checked() -> None:
    with pytest.raises(InvalidInputError, match="payload"):
        NewJob.of_canonical(" " * (MAX_PAYLOAD_BYTES + 1), kind="send")


GOOD = [
    ({"a": [1, 2.5, None, True, "é"]}, '{"a":[1,2.5,null,true,"\\u00e9"]}'),
    (("x", 1), '["x",1]'),
    (None, "null"),
    (7, "7"),
    ({}, "{}"),
    (' { "b" : 1 ,\n"a": "é" } ', '{"b":1,"a":"\\u00e9"}'),
    ('"hello"', '"hello"'),
    ("1e2", "100.0"),
]
BAD = [
    "{bad", "", "hello", "NaN", '{"a":NaN}', "-Infinity", '{"a":1e999}',
    '{"a":1,"a":2}', '"a\x00b"', '"a\\u0000b"', '"\\ud800"', "\ud800",
    "[" * 65 + "]" * 65,
    "{} {}", "\ufeff{}", float("nan"), {"a": float("inf")}, {"a": "\x00"}, {1: 2},
    {"a": object()}, b"{}", ["\ud800"],
]  # fmt: skip


@pytest.mark.parametrize(("given", "stored"), GOOD)
def test_a_payload_is_a_json_value_or_its_text(given: object, stored: str) -> None:
    assert NewJob("send", given).payload == stored
    assert replace(NewJob("send"), payload=given).payload == stored


@pytest.mark.parametrize("given", BAD, ids=range(len(BAD)))
def test_what_is_not_strict_json_is_no_payload(given: object) -> None:
    job = NewJob("send")

    with pytest.raises(InvalidInputError, match="payload"):
        NewJob("send", given)
    with pytest.raises(InvalidInputError, match="payload"):
        replace(job, payload=given)


@pytest.mark.parametrize("text", ["pending", "in_progress", "done", "failed", "dead"])
def test_status_parses_its_five_texts(text: str) -> None:
    assert JobStatus.parse(text, "status") == text


@pytest.mark.parametrize("value", ["DONE", "", None, 3, [], "running"])
def test_unknown_status_is_an_error_that_lists_the_five(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        JobStatus.parse(value, "statuses[0]")

    assert caught.value.field == "statuses[0]"
    assert "pending, in_progress, done, failed, dead" in caught.value.message
