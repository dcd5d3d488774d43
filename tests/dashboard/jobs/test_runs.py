"""Bulk runs in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from flask_forge_jobs.dashboard.jobs.runs import RunView
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import BulkRun, BulkRunState, RunAuthor
from tests.dashboard.jobs.test_query import NOW


def viewed(
    state: BulkRunState = BulkRunState.RUNNING,
    action: JobAction = JobAction.DELETE,
    *,
    matched: int = 5000,
    changed: int = 1204,
    skipped: int = 46,
    shows_search: bool = True,
    jobs: Mapping[str, object] = MappingProxyType({}),
) -> RunView:
    run = BulkRun(
        id="01KB0000000000000000000000",
        action=action,
        jobs=jobs,
        matched=matched,
        changed=changed,
        skipped=skipped,
        state=state,
        place=None,
        error=None,
        author=RunAuthor("ops", "127.0.0.1", "request-1", "{}"),
        created_at=NOW,
        ended_at=None,
        is_lapsed=False,
    )
    return RunView(run, shows_search)


@pytest.mark.parametrize(
    ("state", "action", "words"),
    [
        ("running", "delete", "Deleting 5,000 jobs"),
        ("done", "retry", "1,204 jobs retried"),
        ("stopped", "cancel", "Stopped: 1,204 jobs cancelled or asked to stop"),
        ("failed", "run_now", "Failed after 1,204 jobs"),
    ],
)
def test_a_run_says_how_far_it_is(state: str, action: str, words: str) -> None:
    view = viewed(BulkRunState(state), JobAction(action))

    assert view.headline == words
    assert view.numbers == "1,204 of 5,000"
    assert view.bar == [(1204, "green"), (46, "ink")]
    assert view.left_out == (3750 if state == "done" else 0)
    # Jobs that it has skipped are behind it, too.
    assert (view.word == "Running, 25%") == (state == "running")
    assert viewed(changed=5001).word == "Running, 99%"
    assert viewed(matched=0, changed=0, skipped=0).word == "Running"


@pytest.mark.parametrize(
    ("matched", "changed", "skipped", "reason"),
    [
        (0, 0, 0, "No job matched."),
        (1, 0, 0, "It could not change the one job that matched."),
        (5000, 0, 5000, "None of 5,000 could be changed."),
        (5000, 0, 0, "None of 5,000 matched any more."),
        (9, 5, 3, ""),
        (9, 9, 0, ""),
        (9, 8, 1, ""),
    ],
)
def test_a_run_says_why_it_has_changed_nothing(
    matched: int, changed: int, skipped: int, reason: str
) -> None:
    view = viewed(BulkRunState.DONE, matched=matched, changed=changed, skipped=skipped)

    assert view.reason == reason
    assert (view.badge, view.word) == ("late" if reason else "done", "Done")
    assert (view.headline == "No job deleted") == bool(reason)
    assert viewed(matched=9, changed=0, skipped=1).reason == ""
    begun = viewed(matched=9, changed=0, skipped=0)
    assert begun.reason == "Its first batch is under way."
    left = RunView(replace(begun.run, is_lapsed=True), shows_search=True)
    assert left.reason == "Its process has stopped. Another one goes on with it."


def test_a_run_never_changes_more_jobs_than_it_says() -> None:
    view = viewed(BulkRunState.DONE, matched=3, changed=5, skipped=0)

    assert (view.numbers, view.left_out) == ("5 of 5", 0)


def test_a_run_has_its_filter_in_words_and_its_list() -> None:
    view = viewed(
        jobs={
            "statuses": ["failed", "dead"],
            "queues": ["mail"],
            "error": "out",
            "min_attempts": 3,
        }
    )

    assert view.lines == [
        ("status is", "Retrying or Dead"),
        ("queue is", "mail"),
        ("error contains", "out"),
        ("tries at least", "3"),
    ]
    assert view.address == (
        "jobs?status=failed&status=dead&queue=mail&error=out&min_attempts=3"
    )


def test_a_search_in_payloads_is_shown_to_those_who_may_search() -> None:
    conditions = {"payload_search": "4242", "queues": ["mail"]}

    shown, hidden = viewed(jobs=conditions), viewed(shows_search=False, jobs=conditions)

    assert ("payload contains", "4242") in shown.lines
    assert "4242" not in str(hidden.lines)
    assert hidden.address is None
