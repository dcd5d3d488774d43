"""Events and totals on the wire."""

from __future__ import annotations

from typing import Any

from marshmallow import post_load
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Array,
    Digits,
    Instant,
    LargeNumber,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.api.schemas.jobs import names_of
from flask_forge_jobs.api.schemas.queues import StatusCountsSchema
from flask_forge_jobs.handlers.activity import MAX_EVENT_ID
from flask_forge_jobs.model.activity import EventType
from flask_forge_jobs.model.jobs import JobFilter


class EventsQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.activity.list_events`."""

    after = Digits(maximum=MAX_EVENT_ID, load_default=None)
    queues = names_of(bounds.FILTER_NAME, data_key="queue")
    kinds = names_of(bounds.FILTER_NAME, data_key="kind")
    types = Array(
        Text(metadata={"enum": list(map(str, EventType))}),
        data_key="type",
        load_default=(),
        metadata=bounds.FILTER_NAMES,
    )
    limit = Digits(load_default=100, metadata=bounds.EVENTS)

    @post_load
    def make(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Build the model's filter."""
        queues, kinds = values.pop("queues") or None, values.pop("kinds")
        return values | {"job_filter": JobFilter(queues=queues, kinds=kinds)}


class EventSchema(V1Schema):
    """One event of one job."""

    id = LargeNumber()
    at = Instant()
    type = Text()
    queue_name = Text()
    kind = Text()
    job_id = Text(allow_none=True)


class EventsPageSchema(V1Schema):
    """Events, the oldest first."""

    events = List(Nested(EventSchema))
    next = LargeNumber()


class StatsSchema(V1Schema):
    """Totals over all queues."""

    counts = Nested(StatusCountsSchema)
    queues = WholeNumber()
    paused_queues = List(Text())
    throttled_queues = List(Text())
    unassigned_queues = List(Text())
    orphan_queues = List(Text())
    workers_live = WholeNumber()
    max_lag_seconds = WholeNumber()
    dead_last_24h = WholeNumber()
    at = Instant()
