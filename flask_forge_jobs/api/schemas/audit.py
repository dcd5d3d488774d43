"""The audit trail on the wire."""

from __future__ import annotations

from typing import Any

from marshmallow import post_load
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    AnyJson,
    Digits,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
    WireSchema,
)
from flask_forge_jobs.model.audit import AuditFilter

DEFAULT_LIMIT = 100


class AuditRowSchema(WireSchema):
    """One entry; ``detail`` holds address, arguments, status and counts."""

    id = WholeNumber()
    at = Instant()
    actor = Text(attribute="record.actor")
    action = Text(attribute="record.action")
    target = Text(attribute="record.target")
    detail = AnyJson()
    request_id = Text(attribute="record.request_id")


class AuditPageSchema(WireSchema):
    """One page of the trail."""

    rows = List(Nested(AuditRowSchema))
    next_cursor = Text()


class AuditQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.audit.list_entries`."""

    actor = Text(load_default=None)
    action = Text(load_default=None)
    target = Text(load_default=None)
    start = Instant(data_key="from", load_default=None)
    end = Instant(data_key="to", load_default=None)
    limit = Digits(load_default=DEFAULT_LIMIT, metadata=bounds.AUDIT_ENTRIES)
    cursor = Text(load_default=None)

    @post_load
    def make(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Build the model's filter."""
        names = ("actor", "action", "target", "start", "end")
        audit_filter = AuditFilter(**{name: values.pop(name) for name in names})
        return {"audit_filter": audit_filter, **values}
