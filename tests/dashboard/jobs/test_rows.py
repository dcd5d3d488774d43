"""Rows: the state, error, progress and actions of one job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_forge_jobs.auth.permissions import ROLES, Permission
from flask_forge_jobs.dashboard.jobs.rows import MAX_ERROR, Row
from flask_forge_jobs.model.jobs import JobStatus, JobSummary

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)


def row(status: str = "pending", **values: Any) -> Row:
    values = {"scheduled_at": NOW, "enqueued_at": NOW, **values}
    job = JobSummary(
        id="01KB0000000000000000ABCDEF",
        queue_name="mail",
        kind="send",
        status=JobStatus(status),
        priority=0,
        attempts=1,
        max_attempts=5,
        **values,
    )
    return Row(job, NOW)


@pytest.mark.parametrize(
    ("shown", "word", "state"),
    [
        (row(), "pending", "pending"),
        (row(scheduled_at=SOON), "scheduled", "scheduled"),
        (row(scheduled_at=SOON, enqueued_at=SOON), "pending", "pending"),
        (row("failed", scheduled_at=SOON), "failed", "failed"),
        (row("dead"), "dead", "dead"),
        (row("dead", cancel_requested_at=NOW), "dead", "cancelled"),
    ],
)
def test_a_row_has_a_state(shown: Row, word: str, state: str) -> None:
    assert (shown.word, shown.state) == (word, state)
    assert shown.short_id == "0ABCDEF"


def test_a_retry_is_due_once_its_time_has_come() -> None:
    assert row("failed").is_due
    assert not row("failed", scheduled_at=SOON).is_due
    assert not row("pending").is_due


def test_a_dead_job_with_tries_left_gave_up_early() -> None:
    assert row("dead").gave_up_early
    assert not row("dead", cancel_requested_at=NOW).gave_up_early
    assert not row("failed").gave_up_early
    with_its_parent = row("dead")
    never_ran = replace(with_its_parent.job, attempts=0)
    assert not replace(with_its_parent, job=never_ran).gave_up_early
    last = row("dead")
    assert not replace(last, job=replace(last.job, attempts=5)).gave_up_early


def test_an_error_is_one_short_line() -> None:
    assert row(last_error="KeyError: 'id'\nsecond").error == "KeyError: 'id'"
    assert row().error == ""
    long = row(last_error="x" * 9000).error
    assert len(long) == MAX_ERROR
    assert long.endswith("x…")


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        ('{"done": 2.999, "total": 3}', "99%"),
        ('{"done": 1e308, "total": 1e-308}', "100%"),
        (f'{{"done": {10**400}, "total": 3}}', None),
        ('{"done": NaN, "total": 3}', None),
        ('{"done": 1, "total": 4}', "25%"),
        ('{"done": 9, "total": 4}', "100%"),
        ('{"done": 9, "total": 0}', None),
        ('{"done": 9}', None),
        ('{"done": "x", "total": 1}', None),
        ("not JSON", None),
        (None, None),
    ],
)
def test_progress_is_a_share(progress: str | None, shown: str | None) -> None:
    assert row("in_progress", progress=progress).progress == shown


def test_only_a_running_job_shows_progress() -> None:
    assert row("done", progress='{"done": 1, "total": 4}').progress is None


@pytest.mark.parametrize(
    ("shown", "is_late"),
    [
        (row("in_progress", heartbeat_at=NOW - timedelta(seconds=29)), False),
        (row("in_progress", heartbeat_at=NOW - timedelta(seconds=30)), True),
        (row("in_progress"), True),
        (row("done"), False),
    ],
)
def test_a_heartbeat_is_late_after_30_seconds(shown: Row, *, is_late: bool) -> None:
    assert shown.is_late is is_late


@pytest.mark.parametrize(
    ("shown", "verbs"),
    [
        (row(), "reschedule cancel delete"),
        (row(scheduled_at=SOON), "run_now reschedule cancel delete"),
        (row("failed"), "retry run_now reschedule cancel delete"),
        (row("in_progress"), "cancel"),
        (row("in_progress", cancel_requested_at=NOW), ""),
        (row("dead"), "retry delete"),
        (row("done"), "delete"),
    ],
)
def test_the_actions_are_those_of_the_state(shown: Row, verbs: str) -> None:
    actions = [verb.action for verb in shown.verbs(frozenset(Permission))]

    assert " ".join(actions) == verbs
    assert not shown.verbs(ROLES["viewer"])


def test_a_job_that_is_asked_to_stop_says_so() -> None:
    assert row("in_progress", cancel_requested_at=NOW).is_stopping
    assert not row("dead", cancel_requested_at=NOW).is_stopping
