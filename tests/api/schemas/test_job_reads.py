from __future__ import annotations

from flask_forge_jobs.api.schemas.job_reads import JobsQuery
from flask_forge_jobs.model.jobs import JobFilter


def test_a_query_makes_the_models_filter() -> None:
    loaded = JobsQuery().load(
        {"status": ["done"], "q": "x", "cron": "nightly", "min_attempts": "2"}
    )

    assert loaded == {
        "wanted": JobFilter(
            statuses=["done"],  # type: ignore[list-item]  # the handler parses it
            payload_search="x",
            schedule_name="nightly",
            min_attempts=2,
        ),
        "sort": "-enqueued_at",
        "limit": 50,
        "cursor": None,
        "count": "exact",
    }
