"""The lines that tasks log: written by the owner of the run only, and none twice."""

from __future__ import annotations

import pytest

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.model.attempts import NEWEST_ATTEMPTS
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Done, Failed, Outcome, Released
from flask_forge_jobs.model.run_logs import LogChunk, LogLine, StoredLine
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.logs import MAX_CHUNKS
from tests.support.jobs import (
    OTHER,
    OWNER,
    claim_one,
    enqueue,
    finish,
    job_with,
    rescue_all,
    update_for,
)
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql


def chunk(job: ClaimedJob, *texts: str, first_line: int = 0) -> LogChunk:
    """Return lines of a run."""
    lines = [LogLine(number, "INFO", "shop", text) for number, text in enumerate(texts)]
    return LogChunk(job.run_id, job.attempts, first_line, lines)


def finish_with(
    storage: Storage, logged: LogChunk, job: ClaimedJob, outcome: Outcome, owner: str
) -> bool:
    """End a run with lines; return whether that was stored."""
    update = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=False)
    update.logged = logged
    return not storage.jobs.finish(owner, [update])


def lines_of(storage: Storage, job_id: str) -> list[StoredLine]:
    """Return all lines of a job."""
    page = storage.logs.page(job_id, 0, -1, 1000)
    assert page.is_all
    return list(page.lines)


def texts_of(storage: Storage, job_id: str) -> list[str]:
    """Return the texts of all lines of a job."""
    return [line.text for line in lines_of(storage, job_id)]


# -- writing -----------------------------------------------------------------------


def test_lines_are_written_with_the_end_of_the_run(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    text = 'two\nlines, "quoted" \\ 100 % ünsäglich 🦉'

    assert finish_with(storage, chunk(job, "one", text), job, Done(), OWNER)

    assert lines_of(storage, job_id) == [
        StoredLine(1, 1, 0, 0, "INFO", "shop", "one"),
        StoredLine(1, 1, 1, 1, "INFO", "shop", text),
    ]


def test_lines_of_a_running_job_are_written_with_its_heartbeat(
    storage: Storage,
) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)

    storage.jobs.heartbeat(OWNER, {}, [chunk(job, "a", "b")])
    storage.jobs.heartbeat(OWNER, {}, [chunk(job, "c", first_line=2)])

    assert texts_of(storage, job_id) == ["a", "b", "c"]


def test_the_end_of_a_run_repeats_lines_that_a_heartbeat_has_written(
    storage: Storage,
) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    storage.jobs.heartbeat(OWNER, {}, [chunk(job, "a", "b")])

    assert finish_with(storage, chunk(job, "a", "b", "c"), job, Done(), OWNER)

    assert texts_of(storage, job_id) == ["a", "b", "c"]


@pytest.mark.parametrize("outcome", [Done(), Failed("no"), Released()])
def test_a_lost_answer_repeats_no_line(storage: Storage, outcome: Outcome) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    jobs = lossy_jobs(storage.database)
    update = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=False)
    update.logged = chunk(job, "a", "b", "c")
    jobs.heartbeat(OWNER, {}, [chunk(job, "a")])

    assert jobs.finish(OWNER, [update]) == []

    assert texts_of(storage, job_id) == ["a", "b", "c"]


def test_lines_of_another_owner_are_not_written(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)

    storage.jobs.heartbeat(OTHER, {}, [chunk(job, "by the heart of another")])
    assert not finish_with(storage, chunk(job, "by its end"), job, Done(), OTHER)

    assert texts_of(storage, job_id) == []


def test_lines_of_an_earlier_run_are_not_written(storage: Storage) -> None:
    """The same worker holds the next run."""
    job_id = enqueue(storage)
    earlier = claim_one(storage)
    assert finish_with(storage, chunk(earlier, "first"), earlier, Released(), OWNER)
    later = claim_one(storage)

    storage.jobs.heartbeat(OWNER, {}, [chunk(earlier, "late", first_line=1)])
    assert not finish_with(storage, chunk(earlier, "later"), earlier, Done(), OWNER)
    storage.jobs.heartbeat(OWNER, {}, [chunk(later, "second")])

    lines = lines_of(storage, job_id)
    assert [(each.run, each.text) for each in lines] == [(1, "first"), (2, "second")]


def test_lines_of_a_killed_worker_stay(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    storage.jobs.heartbeat(OWNER, {}, [chunk(job, "last words")])

    assert rescue_all(storage) == 1

    assert texts_of(storage, job_id) == ["last words"]


def test_lines_of_a_cancelled_job_are_written(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.cancel(job_id)

    assert finish_with(storage, chunk(job, "stopping"), job, Failed("no"), OWNER)

    assert storage.job_reader.get(job_id).status is JobStatus.DEAD
    assert texts_of(storage, job_id) == ["stopping"]


def test_lines_of_the_first_and_the_newest_runs_stay(storage: Storage) -> None:
    """A job that is snoozed or throttled has any number of runs."""
    job_id = enqueue(storage)
    count = NEWEST_ATTEMPTS + 4
    for _ in range(count):
        job = claim_one(storage)
        assert finish_with(storage, chunk(job, "x"), job, Released(), OWNER)

    runs = [line.run for line in lines_of(storage, job_id)]
    assert runs == [1, *range(count - NEWEST_ATTEMPTS + 1, count + 1)]


def test_lines_go_with_their_job(storage: Storage, sql: Sql) -> None:
    kept, deleted = enqueue(storage), enqueue(storage)
    for job in storage.jobs.claim("default", OWNER, 2):
        assert finish_with(storage, chunk(job, job.id), job, Done(), OWNER)

    storage.job_admin.delete(deleted)

    assert sql.run("SELECT job_id FROM forge_log") == [(kept,)]


@pytest.mark.parametrize("logging", [0, 1, 2])
def test_lines_go_with_any_of_several_jobs(
    storage: Storage, sql: Sql, logging: int
) -> None:
    """PostgreSQL looks at once whether any job from the first to the last has some."""
    ids = [enqueue(storage) for _ in range(3)]
    jobs = storage.jobs.claim("default", OWNER, 3)
    storage.jobs.heartbeat(OWNER, {}, [chunk(jobs[logging], "a line")])
    assert sql.run("SELECT job_id FROM forge_log") == [(ids[logging],)]

    sql.run("DELETE FROM forge_job")

    assert sql.run("SELECT job_id FROM forge_log") == []


# -- reading -----------------------------------------------------------------------


def test_a_page_goes_on_after_a_line(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    texts = [str(number) for number in range(10)]
    storage.jobs.heartbeat(OWNER, {}, [chunk(job, *texts[:4])])
    storage.jobs.heartbeat(OWNER, {}, [chunk(job, *texts[4:], first_line=4)])
    read: list[str] = []
    run, number, is_all = 0, -1, False

    while not is_all:
        lines, is_all, _ = storage.logs.page(job_id, run, number, 3)
        assert len(lines) <= 3
        read += [line.text for line in lines]
        run, number = lines[-1].place

    assert read == texts
    end = storage.logs.page(job_id, run, number, 3)
    assert end == ([], True, JobStatus.IN_PROGRESS)


def test_a_page_reads_a_bounded_number_of_chunks(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    for number in range(MAX_CHUNKS + 1):
        storage.jobs.heartbeat(OWNER, {}, [chunk(job, "x", first_line=number)])

    page = storage.logs.page(job_id, 0, -1, 1000)
    rest = storage.logs.page(job_id, *page.lines[-1].place, 1000)

    assert (len(page.lines), page.is_all) == (MAX_CHUNKS, False)
    assert (len(rest.lines), rest.is_all) == (1, True)


def test_a_job_without_lines_has_none(storage: Storage) -> None:
    job_id = job_with(storage, JobStatus.DONE)

    assert storage.logs.page(job_id, 0, -1, 10) == ([], True, JobStatus.DONE)


def test_a_job_that_does_not_exist_has_no_page(storage: Storage) -> None:
    with pytest.raises(JobNotFoundError):
        storage.logs.page("missing", 0, -1, 10)


# -- the end of a run --------------------------------------------------------------


def with_runs(storage: Storage, *lines: int) -> str:
    """Make a job whose runs have logged so many lines."""
    job_id = enqueue(storage)
    for number in lines:
        job = claim_one(storage)
        texts = [f"{job.run_id.claim}.{each}" for each in range(number)]
        if texts:
            storage.jobs.heartbeat(OWNER, {}, [chunk(job, *texts)])
        assert finish(storage, job, Released())
    return job_id


def test_the_last_lines_of_the_newest_run_with_some(storage: Storage) -> None:
    job_id = with_runs(storage, 2, 3, 0)

    page = storage.logs.tail(job_id, None, 10)

    assert [line.text for line in page.lines] == ["2.0", "2.1", "2.2"]
    assert (page.is_all, page.status) == (True, JobStatus.PENDING)


def test_the_last_lines_of_one_run(storage: Storage) -> None:
    job_id = with_runs(storage, 5, 1)

    page = storage.logs.tail(job_id, 1, 2)

    assert [line.text for line in page.lines] == ["1.3", "1.4"]
    assert not page.is_all


def test_the_last_lines_come_from_as_many_rows_as_needed(storage: Storage) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    for number in range(MAX_CHUNKS + 2):
        storage.jobs.heartbeat(OWNER, {}, [chunk(job, str(number), first_line=number)])

    few, most = (storage.logs.tail(job_id, None, limit) for limit in (3, 1000))

    last = MAX_CHUNKS + 1
    assert [line.text for line in few.lines] == [str(last - n) for n in (2, 1, 0)]
    assert [line.number for line in most.lines] == list(range(2, last + 1))
    assert not most.is_all


def test_a_run_without_lines_has_no_last_ones(storage: Storage) -> None:
    job_id = with_runs(storage, 1)

    assert storage.logs.tail(job_id, 7, 10) == ([], True, JobStatus.PENDING)
    assert storage.logs.tail(enqueue(storage), None, 10).lines == []


def test_a_missing_job_has_no_last_lines(storage: Storage) -> None:
    with pytest.raises(JobNotFoundError):
        storage.logs.tail("01KB9V6W3E5Q8Y4N2M7T6R1W0X", None, 10)
