"""Bulk actions on the wire."""

from __future__ import annotations

from marshmallow.fields import List

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import Instant, Text, WholeNumber, WireSchema
from flask_forge_jobs.api.schemas.jobs import LIST_MESSAGES


class JobIdsRequest(WireSchema):
    """Which jobs to act on."""

    job_ids = List(
        Text(metadata=bounds.JOB_ID),
        data_key="ids",
        required=True,
        error_messages=LIST_MESSAGES,
        metadata=bounds.JOB_IDS,
    )


class RetryAllFailedRequest(WireSchema):
    """Which failed jobs to retry; nothing means all."""

    queue_name = Text(load_default=None, metadata=bounds.QUEUE_NAME)
    kind = Text(load_default=None, metadata=bounds.KIND)


class RetryByStatusRequest(RetryAllFailedRequest):
    """Arguments of :func:`flask_forge_jobs.handlers.bulk.retry_by_status`."""

    status = Text(required=True, metadata=bounds.REQUEUEABLE_STATUS)


class DeleteByStatusRequest(RetryAllFailedRequest):
    """Arguments of :func:`flask_forge_jobs.handlers.bulk.delete_by_status`."""

    status = Text(required=True, metadata=bounds.STORED_STATUS)
    older_than = Instant(load_default=None)
    expected = WholeNumber(is_signed=False, load_default=None)


class DeleteDoneRequest(WireSchema):
    """Arguments of :func:`flask_forge_jobs.handlers.bulk.delete_done_older_than`."""

    days = WholeNumber(required=True, is_signed=False, metadata=bounds.DAYS)
    queue_name = Text(load_default=None, metadata=bounds.QUEUE_NAME)
