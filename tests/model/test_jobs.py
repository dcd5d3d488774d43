from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.jobs import (
    MAX_PAYLOAD_BYTES,
    JobStatus,
    NewJob,
)
from flask_forge_jobs.model.payloads import dump

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_new_job_has_the_defaults_of_the_contract() -> None:
    job = NewJob("send")

    assert (job.payload, job.queue_name, job.priority) == ("{}", "default", 0)
    assert (job.max_attempts, job.dedupe_key, job.run_at) == (5, None, None)
    assert job.timeout_s is None


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
        ("payload", dump("x" * (MAX_PAYLOAD_BYTES - 2))),
    ],
)
def test_new_job_takes_values_at_their_bounds(field: str, value: Any) -> None:
    """D27 and D28."""
    values = {"kind": "send", field: value}

    assert getattr(NewJob(**values), field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", ""),
        ("kind", "x" * 129),
        ("kind", 7),
        ("queue_name", ""),
        ("queue_name", "a,b"),
        ("queue_name", None),
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
        ("timeout_s", 0),
        ("timeout_s", -1),
        ("timeout_s", math.nan),
        ("timeout_s", math.inf),
        ("timeout_s", True),
        ("timeout_s", "10"),
        ("schedule_name", ""),
        ("schedule_name", "a/b"),
        ("schedule_name", "x" * 129),
        ("payload", dump("x" * (MAX_PAYLOAD_BYTES - 1))),
    ],
)
def test_new_job_refuses_values_beyond_and_names_the_field(
    field: str, value: Any
) -> None:
    values = {"kind": "send", field: value}

    with pytest.raises(InvalidInputError) as caught:
        NewJob(**values)

    assert caught.value.field == field


@pytest.mark.parametrize("text", ["pending", "in_progress", "done", "failed", "dead"])
def test_status_parses_its_five_texts(text: str) -> None:
    assert JobStatus.parse(text) == text


@pytest.mark.parametrize("value", ["DONE", "", None, 3, [], "running"])
def test_unknown_status_is_an_error_that_lists_the_five(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        JobStatus.parse(value, "statuses[0]")

    assert caught.value.field == "statuses[0]"
    assert "pending, in_progress, done, failed, dead" in caught.value.message
