"""The audit trail: who did what, to what, and what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What one request tried to do.

    Args:
        actor: Id of the principal.
        action: Name of the route.
        target: What it was done to: a job, a queue; None when nothing is named.
        address: The peer.
        request_id: As in the log and in the answer's header.
        status: HTTP status of the answer; from 400 on nothing was changed.
        changed: How many rows the answer says were changed.
        arguments: What was sent, as JSON text; secrets are masked, long parts cut.
        requests: How many requests this stands for; more than one only where they were
            refused, and the other facts are those of the last.
    """

    actor: str
    action: str
    target: str | None
    address: str
    request_id: str
    status: int
    changed: int
    arguments: str
    requests: int = 1


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A record as it is stored, with its id and its time."""

    id: int
    at: datetime
    record: AuditRecord

    @property
    def detail(self) -> dict[str, object]:
        """What came of it and what was sent, as JSON values."""
        return {
            "address": self.record.address,
            "arguments": json.loads(self.record.arguments),
            "changed": self.record.changed,
            "requests": self.record.requests,
            "status": self.record.status,
        }


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; None means any."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    start: datetime | None = None
    end: datetime | None = None
