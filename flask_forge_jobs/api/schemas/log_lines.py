"""The lines that a job has logged, on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Digits,
    Flag,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.handlers.log_lines import DEFAULT_LIMIT


class LogLineSchema(V1Schema):
    """A line; ``run`` and ``line`` identify it in its job, ``line`` from 0."""

    at = Instant()
    level = Text()
    message = Text(attribute="text")
    logger = Text()
    run = WholeNumber()
    attempt = WholeNumber()
    line = WholeNumber(attribute="number")


class LogLinesSchema(V1Schema):
    """Lines of a job."""

    lines = List(Nested(LogLineSchema))
    next = Text(allow_none=True)
    is_complete = Flag()


class LogLinesQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.log_lines.read_lines`."""

    after = Text(load_default=None, metadata=bounds.LINE)
    limit = Digits(load_default=DEFAULT_LIMIT, metadata=bounds.LIMIT)
