"""The queue of a request, under either of its names."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, post_load

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import IS_ALIAS, Text


class NamesQueue(Schema):
    """A shape with ``queue_name`` and its second name ``queue``."""

    queue_name = Text(load_default=None, metadata=bounds.QUEUE_NAME)
    queue = Text(load_default=None, metadata={IS_ALIAS: True, **bounds.QUEUE_NAME})

    @post_load
    def with_one_name(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Reduce the two names to ``queue_name``."""
        queue = values.pop("queue")
        if queue is not None:
            if values["queue_name"] not in (None, queue):
                raise ValidationError("differs from queue", "queue_name")
            values["queue_name"] = queue
        return values


class AsksQueue(NamesQueue):
    """The same in a query, where an invalid name means a queue without jobs."""

    queue_name = Text(load_default=None)
    queue = Text(load_default=None, metadata={IS_ALIAS: True})
