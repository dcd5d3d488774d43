"""Audit entries within the transactions that they belong to."""

from __future__ import annotations

import time

from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.storage.database import Database, Parameter, Transaction

ACCEPTED = 202  # HTTP's status of a change that is still to come


def append_entry(transaction: Transaction, record: AuditRecord) -> None:
    """Append an audit entry; a retry checks whether its first try has stored it."""
    name = "append_audit_once" if transaction.attempt else "append_audit"
    transaction.defer(name, **_parameters(record))


def is_stored(database: Database, record: AuditRecord, since: float) -> bool:
    """Return whether an equal entry was stored since then, within the last minute.

    ``since`` is on the monotonic clock. An older one is of another request, to which
    the client has given the same id.
    """
    ((age_us,),) = database.read_one("stored_entry", **_parameters(record))
    return age_us is not None and age_us <= (time.monotonic() - since) * SECOND_US


def append_batch_entry(transaction: Transaction, record: AuditRecord) -> None:
    """Append the entry of a batch, though an equal one may be of another batch."""
    transaction.defer("append_audit", **_parameters(record))


def noted(record: AuditRecord, asked_status: int) -> dict[str, Parameter]:
    """Return an entry with its status if a job was only asked for the change."""
    return {**_parameters(record), "asked_status": asked_status}


def _parameters(record: AuditRecord) -> dict[str, Parameter]:
    return {
        "actor": record.actor,
        "action": record.action,
        "target": record.target,
        "address": record.address,
        "request_id": record.request_id,
        "http_status": record.status,
        "changed": record.changed,
        "arguments": record.arguments,
        "requests": record.requests,
    }
