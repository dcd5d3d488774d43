"""Failures by signature on the wire."""

from __future__ import annotations

from marshmallow.fields import List

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Digits,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.api.schemas.jobs import names_of
from flask_forge_jobs.model.error_groups import ErrorOrder, ErrorRange


class ErrorsQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.errors.list_errors`."""

    queue_names = names_of(bounds.FILTER_NAME, data_key="queue")
    kinds = names_of(bounds.FILTER_NAME, data_key="kind")
    within = Text(
        data_key="range",
        load_default=str(ErrorRange.MONTH),
        metadata={"enum": list(map(str, ErrorRange))},
    )
    sort = Text(
        load_default=str(ErrorOrder.COUNT),
        metadata={"enum": list(map(str, ErrorOrder))},
    )
    limit = Digits(load_default=50, metadata=bounds.ERROR_GROUPS)
    cursor = Text(load_default=None)


class ErrorGroupSchema(V1Schema):
    """The failures with one signature."""

    signature = Text()
    count = WholeNumber()
    kinds = List(Text())
    queues = List(Text())
    first_seen = Instant()
    last_seen = Instant()
    sample_id = Text(allow_none=True)
    message = Text(allow_none=True)
    retrying = WholeNumber()
    dead = WholeNumber()
    trend = List(WholeNumber())
    trend_from = Instant()
