from __future__ import annotations

from flask_forge_jobs.model.ordering import JobOrder, SortColumn


def test_the_newest_jobs_come_first_when_nobody_says_otherwise() -> None:
    assert JobOrder() == JobOrder(SortColumn.ENQUEUED_AT, descending=True)
