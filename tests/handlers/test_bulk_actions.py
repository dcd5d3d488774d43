from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers import bulk_actions
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.handlers.bulk_actions import (
    MAX_LISTED_SKIPS,
    ActionReport,
    Instruction,
)
from flask_forge_jobs.model.bulk import JobAction, Skip, SkipReason
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import each_backend
from tests.support.jobs import having, job_with

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = BulkLimits()


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({}, "ids"),
        ({"is_all": False}, "ids"),
        ({"job_ids": ["x"], "job_filter": having(JobStatus.DEAD)}, "ids"),
        ({"job_ids": ["x"], "is_all": True}, "ids"),
        ({"job_ids": ["x"], "run_at": NOW}, "run_at"),
        ({"job_ids": ["x"], "action": JobAction.RESCHEDULE}, "run_at"),
        (
            {
                "job_ids": ["x"],
                "action": JobAction.RESCHEDULE,
                "run_at": NOW.replace(tzinfo=None),
            },
            "run_at",
        ),
    ],
)
def test_an_instruction_is_complete_and_clear(
    parts: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Instruction(**({"action": JobAction.RETRY} | parts))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "job_filter",
    [
        JobFilter(),
        JobFilter(kinds=[], statuses=[]),
        JobFilter(payload_search="  ", error_search=""),
    ],
)
def test_everything_must_be_said(storage: Storage, job_filter: JobFilter) -> None:
    job_with(storage, JobStatus.DONE)
    instruction = Instruction(action=JobAction.DELETE, job_filter=job_filter)

    with pytest.raises(InvalidInputError) as caught:
        bulk_actions.act(storage, instruction, limits=LIMITS, within=["default"])
    assert caught.value.field == "all"
    assert storage.job_reader.total(JobFilter()) == 1

    said = replace(instruction, is_all=True)
    assert bulk_actions.act(storage, said, limits=LIMITS).changed == 1


def test_a_filter_keeps_to_the_queues_of_the_caller(storage: Storage) -> None:
    mine = job_with(storage, JobStatus.DEAD, queue_name="mail")
    job_with(storage, JobStatus.DEAD, queue_name="other")
    instruction = Instruction(action=JobAction.RETRY, is_all=True)

    report = bulk_actions.act(storage, instruction, limits=LIMITS, within=["mail"])

    assert report == ActionReport(matched=1, changed=1, skipped=())
    assert storage.job_reader.get(mine).status is JobStatus.PENDING


def test_only_so_many_skips_of_a_filter_are_listed(storage: Storage) -> None:
    count = MAX_LISTED_SKIPS + 5
    storage.jobs.enqueue_many([NewJob("k", dedupe_key="x")])
    keyed = [NewJob("k", dedupe_key=f"key-{number}") for number in range(count)]
    storage.jobs.enqueue_many(keyed)
    for job in storage.job_reader.page(JobFilter(), count + 1).rows:
        storage.job_admin.cancel(job.id)
    storage.jobs.enqueue_many(keyed)
    instruction = Instruction(action=JobAction.RETRY, job_filter=having(JobStatus.DEAD))

    report = bulk_actions.act(storage, instruction, limits=LIMITS)

    assert (report.matched, report.changed, report.skips) == (count + 1, 1, count)
    assert len(report.skipped) == MAX_LISTED_SKIPS
    assert {skip.reason for skip in report.skipped} == {SkipReason.DEDUPE_CONFLICT}


@each_backend
def test_ids_are_cut_and_gone_on_with(storage: Storage) -> None:
    jobs = storage.jobs.enqueue_many([NewJob("k") for _ in range(5)])
    ids = ["none", *(job.id for job in jobs), jobs[0].id]
    limits = BulkLimits(max_rows=4)

    first = bulk_actions.act(
        storage, Instruction(action=JobAction.CANCEL, job_ids=ids), limits=limits
    )
    rest = bulk_actions.act(
        storage,
        Instruction(action=JobAction.CANCEL, job_ids=ids, cursor=first.next_cursor),
        limits=limits,
    )

    assert (first.matched, first.changed, first.is_complete) == (5, 4, False)
    assert (rest.matched, rest.changed, rest.is_complete) == (5, 1, True)
    assert rest.next_cursor is None
    assert rest.skipped == (Skip("none", SkipReason.NOT_FOUND),)
