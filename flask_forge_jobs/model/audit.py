"""The audit trail: actor, action, target and result of each change."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """The action that one request attempted.

    ``target`` is the job or queue that it names, if any; ``request_id`` is as in the
    log and in the answer's header. From ``status`` 400 on, nothing was changed;
    otherwise ``changed`` counts rows. ``arguments`` is JSON text, secrets masked and
    long parts cut. ``requests`` exceeds 1 only for refused requests counted together;
    the other fields are then those of the last one.
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
        """Result and arguments as JSON values."""
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
