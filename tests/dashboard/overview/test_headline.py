"""The headline says whether work flows, and how much is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from flask_forge_jobs.dashboard.overview.headline import headline, proof, stalled
from flask_forge_jobs.dashboard.shown_pages import ShownPage, page_about
from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.sentences import Sentence

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def report(needs: int, **evidence: Any) -> Report:
    known = {"workers": 2, "done_last_hour": 9, "oldest_wait_s": 60, **evidence}
    summary = Sentence("x", "Nothing needs you: 2 workers live, 0 dead.", known)
    return Report(NOW, summary, [Sentence("y", "A fact.")] * needs)


def row(**changes: Any) -> Any:
    counts = QueueCounts(pending=2)
    return SimpleNamespace(**{"counts": counts, "oldest_s": 60, **changes})


@pytest.mark.parametrize(
    ("needs", "evidence", "said"),
    [
        (0, {}, "Nothing needs you"),
        (0, {"workers": 0, "oldest_wait_s": 0}, "No worker is running"),
        (1, {}, "Work flows, but one thing needs you"),
        (4, {}, "Work flows, but four things need you"),
        (23, {}, "Work flows, but 23 things need you"),
        (2, {"workers": 0}, "Work stands still: two things need you"),
        (2, {"done_last_hour": 0}, "Work stands still: two things need you"),
        (2, {"done_last_hour": 0, "running": 1}, "Two things need you"),
        (2, {"workers": 0, "running": 1}, "Work stands still: two things need you"),
        (1, {"workers": 0, "oldest_wait_s": 0}, "One thing needs you"),
        (1, {"done_last_hour": 0, "oldest_wait_s": 0}, "One thing needs you"),
    ],
)
def test_the_headline_is_the_answer(
    needs: int, evidence: dict[str, int], said: str
) -> None:
    assert headline(report(needs, **evidence), needs) == said


def test_work_flows_if_a_job_has_completed_of_late() -> None:
    busy = report(2)

    assert headline(busy, 2, 0.1) == "Work flows, but two things need you"
    # They completed most of an hour ago.
    assert headline(busy, 2, 0.0) == "Two things need you"
    assert headline(report(2, oldest_wait_s=0), 2, 0.0) == "Two things need you"


def test_it_is_not_quiet_while_a_queue_completes_none_of_its_jobs() -> None:
    """Before the queue is behind, and so needs someone."""
    quiet = "Nothing needs you yet, but"

    assert headline(report(0), 0, 0.0, ["mail"]) == f"{quiet} mail completes no job"
    assert (
        headline(report(0), 0, 0.0, ["a", "b"]) == f"{quiet} 2 queues complete no job"
    )
    said = headline(report(1), 1, 0.0, ["mail"])
    assert said == "One thing needs you, and mail completes no job"


def test_queues_that_complete_no_job_have_a_line_with_a_way_on() -> None:
    one = stalled([row(name="a")])
    two = stalled([row(name="a"), row(name="b", oldest_s=90)])

    assert stalled([]) is None
    assert one is not None
    assert one.text == "a completes no job: 2 jobs wait, the oldest for 1m."
    assert page_about(one) == ShownPage("Show queue", ("queues", "a"))
    assert two is not None
    assert two.text == (
        "2 queues complete no job: a and b. 4 jobs wait, the oldest for 1m."
    )
    shown = page_about(two)
    assert shown is not None
    assert (shown.parts, shown.query) == (("queues",), {"state": ["stalled"]})


def test_only_a_quiet_headline_has_a_proof() -> None:
    assert proof(report(0)) == "2 workers live, 0 dead."
    assert proof(report(1)) is None
