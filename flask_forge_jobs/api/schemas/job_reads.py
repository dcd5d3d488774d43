"""Jobs in the ``/v1`` reads."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from marshmallow import post_load
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    AnyJson,
    Digits,
    Flag,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.api.schemas.jobs import ErrorEntry, JobLine, names_of
from flask_forge_jobs.handlers.job_search import COUNTS, DEFAULT_SORT, SORTS
from flask_forge_jobs.model.jobs import JobFilter

_FILTER_KEYS = frozenset(each.name for each in fields(JobFilter))


class JobQuery(V1Schema):
    """How to show one job; ``reveal=1`` needs the permission ``payload.reveal``."""

    reveal = Text(load_default=None)


class JobsQuery(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_search.find_jobs`."""

    statuses = List(Text(metadata=bounds.STATUS), data_key="status", load_default=())
    queues = names_of(bounds.FILTER_NAME, data_key="queue")
    kinds = names_of(bounds.FILTER_NAME, data_key="kind")
    payload_search = Text(data_key="q", load_default=None, metadata=bounds.SEARCH)
    enqueued_from = Instant(data_key="from", load_default=None)
    enqueued_to = Instant(data_key="to", load_default=None)
    error_search = Text(data_key="error", load_default=None, metadata=bounds.SEARCH)
    dedupe_key = Text(load_default=None, metadata=bounds.DEDUPE_KEY)
    slot_id = Text(load_default=None, metadata=bounds.FILTER_NAME)
    schedule_name = Text(
        data_key="cron", load_default=None, metadata=bounds.FILTER_NAME
    )
    min_attempts = Digits(load_default=0, metadata=bounds.MIN_ATTEMPTS)
    sort = Text(load_default=DEFAULT_SORT, metadata={"enum": list(SORTS)})
    limit = Digits(load_default=50, metadata=bounds.LIMIT)
    cursor = Text(load_default=None)
    count = Text(load_default="exact", metadata={"enum": list(COUNTS)})

    @post_load
    def make(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Build the model's filter."""
        parts = {key: values.pop(key) for key in _FILTER_KEYS & values.keys()}
        parts["queues"] = parts["queues"] or None
        return values | {"wanted": JobFilter(**parts)}


class JobsFound(V1Schema):
    """One page of a cursor listing."""

    rows = List(Nested(JobLine))
    next_cursor = Text(allow_none=True)
    total = WholeNumber(allow_none=True)


class JobState(V1Schema):
    """The state of a job for whoever waits for it."""

    status = Text(metadata=bounds.STATUS)
    is_ready = Flag()
    is_successful = Flag()
    progress = AnyJson(allow_none=True)
    result = AnyJson(allow_none=True)
    result_error = Text(allow_none=True)


class JobRecord(V1Schema):
    """One job with everything that is known of it."""

    row = Nested(JobLine)
    payload = AnyJson(allow_none=True)
    error_history = List(Nested(ErrorEntry))
    throttle_attempts = WholeNumber()
    cancel_requested_at = Instant(allow_none=True)
    progress = AnyJson(allow_none=True)
    result = AnyJson(allow_none=True)
    wait_ms = WholeNumber(allow_none=True)
    run_ms = WholeNumber(allow_none=True)
    redacted = Flag()
    result_error = Text(allow_none=True)
    traceback = Text(allow_none=True)
