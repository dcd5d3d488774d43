from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.request_keys import RequestKey

KEY = RequestKey("me", "k", "enqueue")
NINE = datetime(2026, 9, 16, 9, tzinfo=UTC)
VISIBLE = [chr(code) for code in range(0x21, 0x7F) if chr(code) != ","]
JOBS = st.builds(
    NewJob,
    kind=st.sampled_from(["a", "b"]),
    payload=st.sampled_from(["{}", "[]"]),
    priority=st.integers(0, 1),
    dedupe_key=st.sampled_from([None, "a"]),
    run_at=st.sampled_from([None, NINE]),
)


@pytest.mark.parametrize("value", [*VISIBLE, "x" * 255, "".join(VISIBLE)])
def test_visible_ascii_is_a_key(value: str) -> None:
    assert RequestKey("me", value, "enqueue").value == value


@pytest.mark.parametrize(
    "value", ["", " ", "a b", "a,b", "x" * 256, "\x00", "\x7f", "é", "a\n", "\t"]
)
def test_anything_else_is_none(value: str) -> None:
    """H29"""
    with pytest.raises(InvalidInputError) as caught:
        RequestKey("me", value, "enqueue")

    assert caught.value.field == "Idempotency-Key"


@given(st.lists(JOBS, max_size=3), st.lists(JOBS, max_size=3))
def test_fingerprints_are_equal_exactly_for_equal_jobs(
    first: list[NewJob], second: list[NewJob]
) -> None:
    assert (KEY.fingerprint(first) == KEY.fingerprint(second)) is (first == second)


def test_a_fingerprint_knows_what_is_to_be_unique() -> None:
    job = NewJob("k", dedupe_key="a")
    jobs = [
        job,
        replace(job, dedupe_for=timedelta(hours=1)),
        replace(job, dedupe_for=timedelta(hours=2)),
        replace(job, replace=("payload",)),
        replace(job, replace=("payload", "run_at")),
    ]

    assert len({KEY.fingerprint([each]) for each in jobs}) == len(jobs)


def test_a_fingerprint_knows_the_operation_and_the_instant() -> None:
    job = NewJob("k", run_at=NINE)
    elsewhere = NINE.astimezone(timezone(timedelta(hours=2)))
    other = replace(KEY, operation="bulk")

    assert KEY.fingerprint([job]) != other.fingerprint([job])
    assert KEY.fingerprint([job]) == KEY.fingerprint([replace(job, run_at=elsewhere)])
    assert KEY.fingerprint([job]) == replace(KEY, caller="you").fingerprint([job])


def test_a_fingerprint_knows_the_delay() -> None:
    job = NewJob("k", delay=90)

    assert KEY.fingerprint([job]) == KEY.fingerprint([NewJob("k", delay=90)])
    assert KEY.fingerprint([job]) != KEY.fingerprint([NewJob("k", delay=91)])
