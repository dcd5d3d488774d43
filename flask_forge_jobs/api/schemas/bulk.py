"""Bulk actions on the wire."""

from __future__ import annotations

from typing import Any

from marshmallow import post_load
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    AnyJson,
    Array,
    Flag,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.api.schemas.jobs import FilterSchema, names_of
from flask_forge_jobs.api.schemas.queues import NamesQueueSchema
from flask_forge_jobs.model.jobs import JobFilter


class JobIdsRequestSchema(V1Schema):
    """The jobs to act on."""

    job_ids = Array(
        Text(metadata=bounds.JOB_ID),
        data_key="ids",
        required=True,
        metadata=bounds.JOB_IDS,
    )


class RetryAllFailedRequestSchema(NamesQueueSchema, V1Schema):
    """The failed jobs to retry; all by default."""

    kind = Text(load_default=None, metadata=bounds.KIND)


class RetryByStatusRequestSchema(RetryAllFailedRequestSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.bulk.retry_by_status`."""

    status = Text(required=True, metadata=bounds.REQUEUEABLE_STATUS)


class DeleteByStatusRequestSchema(RetryAllFailedRequestSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.bulk.delete_by_status`."""

    status = Text(required=True, metadata=bounds.STORED_STATUS)
    older_than = Instant(load_default=None)
    expected = WholeNumber(is_signed=False, load_default=None)


class DeleteDoneRequestSchema(NamesQueueSchema, V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.bulk.delete_done_older_than`."""

    days = WholeNumber(required=True, is_signed=False, metadata=bounds.DAYS)


class ActionFilterSchema(V1Schema, FilterSchema):
    """The jobs to act on; loads as the model's filter."""

    queues = names_of(bounds.FILTER_NAME)
    kinds = names_of(bounds.FILTER_NAME)
    error_search = Text(data_key="error", load_default=None, metadata=bounds.SEARCH)
    dedupe_key = Text(load_default=None, metadata=bounds.DEDUPE_KEY)
    schedule_name = Text(
        data_key="cron", load_default=None, metadata=bounds.FILTER_NAME
    )
    min_attempts = WholeNumber(load_default=None, metadata=bounds.MIN_ATTEMPTS)
    ending = Text(load_default=None, metadata=bounds.ENDING)
    signature = Text(load_default=None, metadata=bounds.SIGNATURE)
    batch_id = Text(data_key="batch", load_default=None, metadata=bounds.PARENT_ID)
    is_waiting = Flag(data_key="waiting", load_default=None)

    @post_load
    def make(self, values: dict[str, Any], **_: Any) -> JobFilter:
        """Build the model's filter."""
        defaults = {
            "queues": values["queues"] or None,
            "min_attempts": values["min_attempts"] or 0,
            "is_waiting": bool(values["is_waiting"]),
        }
        return JobFilter(**values | defaults)


class ActionRequestSchema(V1Schema):
    """Arguments of :class:`flask_forge_jobs.handlers.bulk_actions.Instruction`."""

    action = Text(required=True, metadata=bounds.JOB_ACTION)
    job_ids = Array(
        Text(metadata=bounds.JOB_ID),
        data_key="ids",
        load_default=None,
        metadata=bounds.JOB_IDS,
    )
    job_filter = Nested(
        ActionFilterSchema,
        data_key="filter",
        load_default=None,
        error_messages={"type": "must be an object"},
        metadata=bounds.without("ids"),
    )
    is_all = Flag(data_key="all", load_default=None, metadata=bounds.without("ids"))
    expected = WholeNumber(is_signed=False, load_default=None)
    run_at = Instant(load_default=None)
    restart = Flag(load_default=None, metadata=bounds.without("run_at"))
    dependents = Flag(load_default=None, metadata=bounds.without("run_at"))
    dry_run = Flag(load_default=None)
    cursor = Text(load_default=None, metadata=bounds.CURSOR)


class SkippedJobSchema(V1Schema):
    """A job that was not changed."""

    id = Text()
    reason = Text()


class ActionReportSchema(V1Schema):
    """The result of a bulk action."""

    matched = WholeNumber()
    changed = WholeNumber()
    skipped = List(Nested(SkippedJobSchema))
    complete = Flag(attribute="is_complete")
    next_cursor = Text(allow_none=True)


class BulkRunRequestSchema(V1Schema):
    """The jobs and the action of a bulk run."""

    action = Text(required=True, metadata=bounds.JOB_ACTION)
    job_filter = Nested(
        ActionFilterSchema,
        data_key="filter",
        load_default=None,
        error_messages={"type": "must be an object"},
        metadata={"examples": [{"queues": ["mail"], "statuses": ["dead"]}]},
    )
    is_all = Flag(data_key="all", load_default=None, metadata=bounds.without("filter"))
    expected = WholeNumber(is_signed=False, load_default=None)
    run_at = Instant(load_default=None)


class BulkRunSchema(V1Schema):
    """A bulk run and its progress."""

    id = Text()
    action = Text(metadata=bounds.JOB_ACTION)
    filter = AnyJson(attribute="jobs")
    run_at = Instant(allow_none=True)
    state = Text()
    matched = WholeNumber()
    changed = WholeNumber()
    skipped = WholeNumber()
    actor = Text(attribute="author.actor")
    error = Text(allow_none=True)
    created_at = Instant()
    ended_at = Instant(allow_none=True)
