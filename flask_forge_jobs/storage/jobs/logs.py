"""LogStore: the lines that tasks log, written with their jobs and read by pages.

A chunk of lines is written by the transaction that renews or ends its run, and only if
the run still belongs to the worker. A job takes its lines along when it is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.model.attempts import NEWEST_ATTEMPTS
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.run_logs import LogChunk, StoredLine, read_chunk
from flask_forge_jobs.storage.database import (
    Executor,
    Parameter,
    Transaction,
    encode_rows,
)
from flask_forge_jobs.storage.rows import first_row

# A page reads at most so many rows, each of at most a run's 64 KiB.
MAX_CHUNKS = 32


def append_lines(transaction: Transaction, chunks: Iterable[LogChunk]) -> None:
    """Store lines with what the transaction does next; repeating it changes nothing.

    The caller has made sure that the runs are its own. Of each job, the lines of the
    first run and of the newest stay, as its attempts do.
    """
    chunks = list(chunks)
    rows: list[dict[str, Parameter]] = [
        {
            "job_id": chunk.run.job_id,
            "run": chunk.run.claim,
            "first_line": chunk.first_line,
            "lines": chunk.text(),
        }
        for chunk in chunks
    ]
    if rows:
        transaction.defer("append_lines", rows=encode_rows(rows))
    for chunk in chunks:
        job_id, run = chunk.run
        if run > NEWEST_ATTEMPTS + 1 and not chunk.first_line:
            transaction.defer(
                "drop_lines", job_id=job_id, last_run=run - NEWEST_ATTEMPTS
            )


class LogPage(NamedTuple):
    """Lines of a job, and its state when they were read.

    ``is_all`` says whether nothing follows them yet.
    """

    lines: Sequence[StoredLine]
    is_all: bool
    status: JobStatus


class LogStore:
    """Reads lines."""

    def __init__(self, database: Executor) -> None:
        self._database = database

    def page(self, job_id: str, run: int, number: int, limit: int) -> LogPage:
        """Return the lines of a job after a line.

        Args:
            job_id: The job.
            run: The run of the last line that is known; 0 for none.
            number: The number of that line; -1 for none.
            limit: Most lines. There may be fewer although more follow.

        Raises:
            JobNotFoundError: No job has this id.
        """
        rows = self._database.read_one(
            "log_chunks", job_id=job_id, run=run, number=number, limit=MAX_CHUNKS + 1
        )
        status = JobStatus(first_row(rows, JobNotFoundError, job_id)[0])
        after: list[StoredLine] = []
        for _, its_run, first_line, text in rows[:MAX_CHUNKS]:
            lines = [] if text is None else read_chunk(its_run, first_line, text)
            after += [line for line in lines if line.place > (run, number)]
            if len(after) > limit:
                break
        is_all = len(rows) <= MAX_CHUNKS and len(after) <= limit
        return LogPage(after[:limit], is_all, status)

    def tail(self, job_id: str, run: int | None, limit: int) -> LogPage:
        """Return the last lines of a run.

        Args:
            job_id: The job.
            run: The run; None means the newest that has logged lines.
            limit: Most lines. There may be fewer although others precede them, and
                ``is_all`` is then False.

        Raises:
            JobNotFoundError: No job has this id.
        """
        rows = self._database.read_one(
            "log_tail", job_id=job_id, run=run, limit=MAX_CHUNKS
        )
        status = JobStatus(first_row(rows, JobNotFoundError, job_id)[0])
        lines: list[StoredLine] = []
        for _, its_run, first_line, text in rows:
            earlier = [] if text is None else read_chunk(its_run, first_line, text)
            lines[:0] = earlier
            if len(lines) >= limit:
                break
        lines = lines[-limit:]
        is_all = not lines or lines[0].number == 0
        return LogPage(lines, is_all, status)
