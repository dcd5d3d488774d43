"""The headline of a list is its answer."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.jobs.headlines import headline, parts_in_words
from flask_forge_jobs.dashboard.jobs.listings import (
    DEAD_JOBS,
    JOBS,
    RETRIES,
    SCHEDULED_JOBS,
    Listing,
)
from flask_forge_jobs.model.ordering import StatusCounts
from tests.dashboard.jobs.test_query import read


@pytest.mark.parametrize(
    ("listing", "text", "counts", "words", "parts"),
    [
        (
            JOBS,
            "status=failed&status=dead&queue=billing",
            StatusCounts(dead=1204, failed=297),
            "1,501 jobs match",
            "1,204 dead, 297 retrying",
        ),
        (JOBS, "queue=billing", StatusCounts(dead=1), "1 job matches", ""),
        (JOBS, "queue=billing", StatusCounts(), "No job matches", ""),
        (
            JOBS,
            "",
            StatusCounts(pending=30, scheduled=10, done=7),
            "37 jobs are stored",
            "20 waiting, 10 scheduled, 7 done",
        ),
        (
            JOBS,
            "",
            StatusCounts(pending=30, scheduled=None, done=7),
            "37 jobs are stored",
            "30 waiting or scheduled, 7 done",
        ),
        (
            JOBS,
            "status=pending",
            StatusCounts(pending=30, scheduled=10),
            "20 jobs wait, 10 are scheduled",
            "",
        ),
        (
            JOBS,
            "status=pending&queue=billing",
            StatusCounts(pending=2, scheduled=1),
            "1 job waits, 1 is scheduled",
            "",
        ),
        (
            JOBS,
            "status=pending",
            StatusCounts(pending=3, scheduled=3),
            "3 jobs match",
            "",
        ),
        (
            JOBS,
            "status=pending",
            StatusCounts(pending=3, scheduled=None),
            "3 jobs match",
            "",
        ),
        (
            SCHEDULED_JOBS,
            "",
            StatusCounts(pending=2, scheduled=2),
            "2 jobs wait for their time",
            "",
        ),
        (RETRIES, "", StatusCounts(failed=1), "1 job waits for another try", ""),
        (RETRIES, "kind=x", StatusCounts(failed=2), "2 retrying jobs match", ""),
        (DEAD_JOBS, "", StatusCounts(dead=1907), "1,907 jobs are dead", ""),
        (DEAD_JOBS, "", StatusCounts(), "No dead jobs", ""),
    ],
)
def test_a_list_says_how_many_jobs_match(
    listing: Listing, text: str, counts: StatusCounts, words: str, parts: str
) -> None:
    query = read(text, listing)

    assert headline(query, counts) == words
    assert parts_in_words(query, counts) == parts
