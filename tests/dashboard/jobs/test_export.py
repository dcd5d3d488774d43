"""Exports: bounded, in pieces, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from flask_forge_jobs.dashboard.jobs.export import (
    BATCH,
    FIELDS,
    MAX_ROWS,
    batches,
    csv_of,
    json_of,
)
from flask_forge_jobs.handlers.jobs import JobListing
from flask_forge_jobs.model.jobs import JobSummary
from tests.dashboard.jobs.test_rows import NOW, row

JOB = replace(row("failed").job, last_error="KeyError: 'id'", started_at=NOW)


def endless(limit: int, cursor: str | None) -> JobListing:
    begin = int(cursor or 0)
    jobs = [replace(JOB, id=f"{n}") for n in range(begin, begin + limit)]
    return JobListing(jobs, f"{begin + limit}", None)


def test_an_export_ends_at_its_limit() -> None:
    jobs = [job for batch in batches(endless) for job in batch]

    assert [int(job.id) for job in jobs] == list(range(MAX_ROWS))


def test_an_export_is_read_as_it_is_written() -> None:
    reads: list[int] = []

    def read(limit: int, cursor: str | None) -> JobListing:
        reads.append(limit)
        return endless(limit, cursor)

    lines = csv_of(batches(read))
    assert reads == [BATCH]  # an error of the first read is still a response
    next(lines), next(lines)
    assert reads == [BATCH]
    next(lines)
    assert reads == [BATCH, BATCH]


def test_an_export_ends_with_the_list() -> None:
    jobs = batches(lambda limit, _: JobListing([JOB] * min(limit, 3), None, None))

    assert [len(batch) for batch in jobs] == [3]


def test_a_table_has_every_field() -> None:
    rows = list(csv.DictReader(io.StringIO("".join(csv_of([[JOB]])))))

    assert rows == [
        {
            "id": JOB.id,
            "queue_name": "mail",
            "kind": "send",
            "status": "failed",
            "ending": "",
            "priority": "0",
            "attempts": "1",
            "max_attempts": "5",
            "enqueued_at": "2026-11-30T12:00:00Z",
            "scheduled_at": "2026-11-30T12:00:00Z",
            "started_at": "2026-11-30T12:00:00Z",
            "completed_at": "",
            "last_error": "KeyError: 'id'",
            "dedupe_key": "",
        }
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(start: str) -> None:
    hostile = replace(JOB, kind=f"{start}1+1", last_error=f'{start}HYPERLINK("x")')

    (shown,) = csv.DictReader(io.StringIO("".join(csv_of([[hostile]])), newline=""))

    assert shown["kind"] == f"'{start}1+1"
    assert shown["last_error"] == f'\'{start}HYPERLINK("x")'


def test_a_negative_number_stays_a_number() -> None:
    (shown,) = csv.DictReader(
        io.StringIO("".join(csv_of([[replace(JOB, priority=-5)]])))
    )

    assert shown["priority"] == "-5"


@pytest.mark.parametrize("jobs", [[], [[JOB]], [[JOB, JOB], [JOB]], [[]]])
def test_an_array_is_json(jobs: list[list[JobSummary]]) -> None:
    shown = json.loads("".join(json_of(jobs)))

    assert len(shown) == sum(map(len, jobs))
    for each in shown:
        assert tuple(each) == FIELDS
        assert each["last_error"] == "KeyError: 'id'"
