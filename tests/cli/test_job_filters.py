"""The options of a choice, as a query and as a filter."""

from __future__ import annotations

import pytest

from flask_forge_jobs.api.schemas.bulk import ActionFilterSchema
from flask_forge_jobs.api.schemas.jobs import CountsQuerySchema
from flask_forge_jobs.cli.job_filters import Choice
from flask_forge_jobs.model.jobs import JobFilter
from tests.cli.console import Console
from tests.support.jobs import enqueue

FULL = Choice(
    queue=("mail",),
    kind=("a", "b"),
    status=("dead",),
    q="card",
    error="declined",
    signature="CardError",
    dedupe_key="k",
    cron="nightly",
    min_attempts=2,
    ending="cancelled",
    batch="01KPGR5B1WD4T0S9XK2M7C8Q3N",
    waiting=True,
    **{"from": "2027-01-01T00:00:00Z", "to": "2027-01-02T00:00:00Z"},
)


def _as_sent(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def test_query_and_filter_mean_the_same() -> None:
    query = {
        key: str(value) if key == "min_attempts" else _as_sent(value)
        for key, value in FULL.as_query().items()
    }

    by_query: JobFilter = CountsQuerySchema().load(query)["job_filter"]
    by_filter: JobFilter = ActionFilterSchema().load(FULL.as_filter())

    assert by_query == by_filter
    assert by_query.min_attempts == 2
    assert Choice().is_empty
    assert not FULL.is_empty
    assert Choice().as_filter() == {}


def test_a_choice_in_words() -> None:
    assert FULL.in_words() == (
        "dead jobs of a or b in mail of batch 01KPGR5B1WD4T0S9XK2M7C8Q3N "
        "that wait for others"
    )
    assert Choice().in_words() == "jobs"


@pytest.mark.parametrize(
    "words", [("--pending",), ("--status", "pending"), ("--pending", "-s", "pending")]
)
def test_a_state_has_a_flag(console: Console, words: tuple[str, ...]) -> None:
    job_id = enqueue(console.storage)

    assert [job["id"] for job in console.documents("jobs", "list", *words)] == [job_id]
    assert console.documents("jobs", "list", "--dead") == []
