"""A filtered list as CSV or JSON, written in pieces so that memory stays bounded.

Texts of jobs are hostile to spreadsheets, too: a cell that begins like a formula gets
an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import chain

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.jobs.listings import JOBS
from flask_forge_jobs.dashboard.jobs.query import query_of
from flask_forge_jobs.dashboard.jobs.reading import JobList
from flask_forge_jobs.handlers.jobs import JobListing, find_jobs
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.jobs import JobSummary

MAX_ROWS = 10_000
BATCH = 500
FIELDS = (
    "id", "queue_name", "kind", "status", "ending", "priority", "attempts",
    "max_attempts", "enqueued_at", "scheduled_at", "started_at", "completed_at",
    "last_error", "dedupe_key",
)  # fmt: skip
# Spreadsheets take these for the start of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
# Takes batches of jobs, and returns pieces of text.
Write = Callable[[Iterable[Sequence[JobSummary]]], Iterator[str]]
# Takes the number of jobs to read and the cursor of the last ones.
Read = Callable[[int, str | None], JobListing]
Value = str | int | None
_CSV = "text/csv; charset=utf-8"
_JSON = "application/json"


def batches(read: Read) -> Iterator[Sequence[JobSummary]]:
    """Return up to 10,000 jobs in batches; the first one is read at once.

    Raises:
        ForgeJobsError: As ``read`` does; of later batches, while they are written.
    """
    first = read(BATCH, None)
    return chain([first.rows], _further(read, first, MAX_ROWS - len(first.rows)))


def _further(
    read: Read, listing: JobListing, left: int
) -> Iterator[Sequence[JobSummary]]:
    while left > 0 and listing.next_cursor is not None:
        listing = read(min(BATCH, left), listing.next_cursor)
        left -= len(listing.rows)
        yield listing.rows


def csv_of(jobs: Iterable[Sequence[JobSummary]]) -> Iterator[str]:
    """Return the text of a table, batch by batch."""
    yield _lines([FIELDS])
    for batch in jobs:
        yield _lines([_cell(value) for value in _values(job)] for job in batch)


def json_of(jobs: Iterable[Sequence[JobSummary]]) -> Iterator[str]:
    """Return the text of an array of objects, batch by batch."""
    separator = "["
    for batch in jobs:
        for job in batch:
            row = dict(zip(FIELDS, _values(job), strict=True))
            yield f"{separator}\n{json.dumps(row, ensure_ascii=False)}"
            separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def _lines(rows: Iterable[Sequence[Value]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _values(job: JobSummary) -> list[Value]:
    return [_written(getattr(job, name)) for name in FIELDS]


def _written(value: object) -> Value:
    if isinstance(value, datetime):
        return format_instant(value)
    if value is None or isinstance(value, int):
        return value
    return str(value)


def _cell(value: Value) -> Value:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def jobs_csv(api: Api) -> Response:
    """Return the matching jobs as a table."""
    return _export(api, csv_of, "csv", _CSV)


def jobs_json(api: Api) -> Response:
    """Return the matching jobs as an array of objects."""
    return _export(api, json_of, "json", _JSON)


def _export(api: Api, write: Write, suffix: str, content_type: str) -> Response:
    query = query_of(JOBS, request.args)
    job_filter = JobList(api, query).job_filter
    # Nothing of the request is left while the rows are written.
    storage, redactor = api.storage, api.masking_redactor

    def read(limit: int, cursor: str | None) -> JobListing:
        return find_jobs(
            storage,
            job_filter,
            sort=query.sort,
            limit=limit,
            cursor=cursor,
            redactor=redactor,
        )

    with ExitStack() as held:
        held.enter_context(api.reading_much())
        written = write(batches(read))
        # The lock is held until the last row is sent, or the client is gone.
        release = held.pop_all().close
    response = Response(_followed_by(release, written), content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="jobs.{suffix}"'
    response.call_on_close(release)
    return response


def _followed_by(release: Callable[[], None], written: Iterator[str]) -> Iterator[str]:
    # The server closes a response after its end, when the next request may be there.
    yield from written
    release()


ROUTES = tuple(
    Route(
        method="GET", path=f"/jobs.{suffix}", endpoint=f"jobs_{suffix}", view=view,
        permission=Permission.READ, reach=Reach.VIEW, content_type=content_type,
        is_current=True,
        is_compared=False,
    )
    for suffix, view, content_type in (
        ("csv", jobs_csv, _CSV), ("json", jobs_json, _JSON),
    )
)  # fmt: skip
