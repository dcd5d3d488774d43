from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers.log_lines import LogLines, read_lines
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import Done, Failed, Outcome
from flask_forge_jobs.model.run_logs import LogChunk, LogLine
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, claim_one, enqueue, update_for


def log(
    storage: Storage, job: ClaimedJob, outcome: Outcome | None, *texts: str
) -> None:
    """Write lines, with the end of the run if it has an outcome."""
    lines = [LogLine(0, "INFO", "shop", text) for text in texts]
    chunk = LogChunk(job.run_id, job.attempts, 0, lines)
    if outcome is None:
        storage.jobs.heartbeat(OWNER, {}, [chunk])
        return
    update = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=False)
    update.logged = chunk
    assert storage.jobs.finish(OWNER, [update]) == []


def read(storage: Storage, job_id: str, after: str | None = None) -> LogLines:
    return read_lines(storage, job_id, after=after, limit=2)


def test_lines_are_followed_through_the_runs_of_a_job(storage: Storage) -> None:
    job_id = enqueue(storage)
    assert read(storage, job_id) == LogLines([], None, is_all=True, is_complete=False)
    log(storage, claim_one(storage), Failed("no"), "a", "b", "c")
    first = read(storage, job_id)
    second = read(storage, job_id, first.next)
    assert read(storage, job_id, second.next) == LogLines(
        [], "1-2", is_all=True, is_complete=False
    )
    job = claim_one(storage)
    log(storage, job, None, "d")
    third = read(storage, job_id, second.next)
    log(storage, job, Done(), "d", "e")
    fourth = read(storage, job_id, third.next)

    pages = [
        ([line.text for line in page.lines], page.next, page.is_all, page.is_complete)
        for page in (first, second, third, fourth)
    ]
    assert pages == [
        (["a", "b"], "1-1", False, False),
        (["c"], "1-2", True, False),
        (["d"], "2-0", True, False),
        (["e"], "2-1", True, True),
    ]
    assert read(storage, job_id, "2-1") == LogLines(
        [], "2-1", is_all=True, is_complete=True
    )


def test_an_ended_job_with_more_lines_is_not_complete(storage: Storage) -> None:
    job_id = enqueue(storage)
    log(storage, claim_one(storage), Done(), "a", "b", "c")

    assert not read(storage, job_id).is_complete


@pytest.mark.parametrize(
    "after", ["", "1", "1-", "-1-2", "1-2-3", "9999999999-1", "\u0661-\u0661"]
)
def test_only_a_place_of_ours_is_taken(storage: Storage, after: str) -> None:
    with pytest.raises(InvalidInputError, match="after: is not the next"):
        read(storage, enqueue(storage), after)


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_is_bounded(storage: Storage, limit: int) -> None:
    with pytest.raises(InvalidInputError, match="limit"):
        read_lines(storage, enqueue(storage), after=None, limit=limit)


@pytest.mark.parametrize("job_id", ["missing", "\x00", "x" * 100])
def test_a_job_that_does_not_exist_has_no_lines(storage: Storage, job_id: str) -> None:
    with pytest.raises(JobNotFoundError):
        read(storage, job_id)
