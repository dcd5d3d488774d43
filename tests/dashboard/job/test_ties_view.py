"""Both ends of a job's links in words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from flask_forge_jobs.dashboard.job.ties_view import ties_view
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.links import LinkEnd, OnParentDead
from flask_forge_jobs.model.ties import Dependent, Parent
from tests.dashboard.job.test_timeline import START, after, attempt, job


def record(**changed: Any) -> Any:
    """Return the part of a record that is read."""
    given = {
        "row": job(JobStatus.PENDING), "attempts": (),
        "parents": (), "dependents": (), "waiting_for": 0,
    }  # fmt: skip
    return SimpleNamespace(**{**given, **changed})


@pytest.mark.parametrize(
    ("parent", "badge", "word", "path"),
    [
        (Parent("1", "a", OnParentDead.RUN, status=JobStatus.FAILED), "failed", None,
         ("jobs", "1")),
        (Parent("1", "a", OnParentDead.RUN, LinkEnd.DELETED), "cancelled", "Deleted",
         ("jobs", "1")),
        (Parent("1", None, OnParentDead.RUN), "running", "Running", ("batches", "1")),
        (Parent("1", None, OnParentDead.RUN, LinkEnd.DONE), "done", None,
         ("batches", "1")),
        (Parent("1", "a", OnParentDead.RUN, LinkEnd.RELEASED), "pending", "Released",
         ("jobs", "1")),
    ],
)  # fmt: skip
def test_a_parent_has_a_state_and_a_page(
    parent: Parent, badge: str, word: str | None, path: tuple[str, str]
) -> None:
    (tie,) = ties_view(record(parents=[SimpleNamespace(link=parent)])).parents

    assert (tie.badge, tie.word, tie.path) == (badge, word, path)
    assert tie.rule == "runs even if it dies"


def test_dependents_that_died_with_it_are_counted() -> None:
    dependents = [
        Dependent(number, "a", "q", status, OnParentDead.RUN, end, is_waiting)
        for number, status, end, is_waiting in (
            ("1", JobStatus.DEAD, LinkEnd.DEAD, False),
            ("2", JobStatus.DEAD, LinkEnd.DONE, False),
            ("3", JobStatus.PENDING, None, True),
        )
    ]

    view = ties_view(record(dependents=dependents))

    assert view.dead_with_it == 1
    assert [(each.badge, each.word) for each in view.dependents] == [
        ("dead", None), ("dead", None), ("scheduled", "Waits"),
    ]  # fmt: skip


def test_a_wait_ends_when_the_job_is_due_or_dead() -> None:
    dead = replace(job(JobStatus.DEAD), start_at=START)
    waiting = replace(job(JobStatus.PENDING), start_at=START)

    assert ties_view(record(row=waiting)).until is None
    assert ties_view(record(row=dead)).until == dead.completed_at
    assert ties_view(record(attempts=[attempt(40, 50, 60)])).until == after(40)
    assert ties_view(record(row=job(scheduled=7))).until == after(7)
