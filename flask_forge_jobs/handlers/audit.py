"""Reads, writes and prunes the audit trail."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from itertools import islice

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.cursors import Page, page_of
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.audit import AuditEntry, AuditFilter, AuditRecord
from flask_forge_jobs.model.bounds import check_integer, check_text
from flask_forge_jobs.model.instants import MAX_INSTANT_US, from_micros, to_micros
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.request_batches import RequestBatches

MAX_PAGE_SIZE = 1000
# The status of entries of commands.
DONE_STATUS = 200
MAX_FILTER_LENGTH = 512
MAX_ARGUMENTS_LENGTH = 4000
SHOWN_LENGTH = 200
_MASKED_LENGTH = 2000
# Of all texts of a request, far more than the trail keeps; the others are left out.
_MASKED_IN_ALL = 32_000
_MAX_MEMBERS = 20
_MAX_DEPTH = 8
# json.dumps() would make an encoder for each.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_CURSOR = re.compile(r"(?P<at>[0-9]{1,18})-(?P<id>[0-9]{1,18})")


def list_entries(
    storage: Storage,
    audit_filter: AuditFilter,
    *,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[AuditEntry]:
    """Return audit entries, the newest first; ``limit`` is 1 to 1,000."""
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    for name in ("actor", "action", "target"):
        value: str | None = getattr(audit_filter, name)
        if value is not None:
            check_text(name, value, MAX_FILTER_LENGTH)
    start, end = audit_filter.start, audit_filter.end
    if start is not None and end is not None and start > end:
        raise InvalidInputError("from", "lies after to")
    before = None if cursor is None else _position(cursor)
    rows = storage.audit.page(audit_filter, limit + 1, before)
    return page_of(rows, limit, lambda last: f"{to_micros(last.at)}-{last.id}")


def prune(storage: Storage, older_than_days: int, *, actor: str) -> int:
    """Delete entries older than 90 to 36,500 days, and return how many.

    Every batch leaves an entry of its own.
    """
    arguments = {"days": older_than_days}
    batches = RequestBatches(
        storage.database,
        lambda pruned: _of_command("audit_prune", actor, pruned, arguments),
    )
    pruned = storage.within(batches).audit.prune(older_than_days)
    if not batches.has_entry:
        storage.audit.append(_of_command("audit_prune", actor, 0, arguments))
    return pruned


def record_reset(
    storage: Storage, jobs: Mapping[str, int], *, actor: str, is_whole: bool
) -> None:
    """Start a new trail with an entry on the removed tables.

    ``jobs`` counts the jobs by state. ``is_whole`` means the database was removed, not
    only the tables.
    """
    arguments = {"jobs": dict(jobs), "database": is_whole}
    changed = sum(jobs.values())
    storage.audit.append(_of_command("db_reset", actor, changed, arguments))


def record_copy(storage: Storage, origin: str, rows: int, *, actor: str) -> None:
    """Note where the rows of a database were copied from; ``rows`` is their number."""
    storage.audit.append(_of_command("copy", actor, rows, {"from": origin}))


def _of_command(
    action: str, actor: str, changed: int, arguments: Mapping[str, object]
) -> AuditRecord:
    """Return the entry of a command."""
    text = json.dumps(arguments)
    return AuditRecord(actor, action, None, "", "", DONE_STATUS, changed, text)


def arguments_text(
    document: object, redactor: Redactor, *, is_short: bool = False
) -> str:
    """Return a request's arguments as JSON text for the trail.

    Secrets are masked. Long texts, arrays and objects are cut, with a note of how much.
    ``is_short`` says that it is worth a look whether nothing is to be cut.
    """
    text = _encode(document) if is_short else ""
    is_whole = is_short and _is_whole(text)
    if not is_whole:
        # Cut first, because masking is slow; but keep more text than is shown, so that
        # no token is cut in half before it is masked.
        document = _trimmed(document, [_MASKED_IN_ALL])
    masked = redactor.request(document)
    if is_whole and masked == document:
        return text
    text = _encode(masked)
    if len(text) > SHOWN_LENGTH:  # else no text in it is longer
        text = _encode(_shortened(masked))
    if len(text) <= MAX_ARGUMENTS_LENGTH:
        return text
    return json.dumps({"omitted_characters": len(text)})


def _is_whole(text: str) -> bool:
    """Return whether nothing of a JSON text is so long or so deep that it is cut."""
    return (
        len(text) <= SHOWN_LENGTH
        and text.count(",") < _MAX_MEMBERS
        and text.count("{") + text.count("[") <= _MAX_DEPTH
    )


def _trimmed(value: object, room: list[int], depth: int = 0) -> object:
    """Return the first members of arrays and objects, and how many are left out.

    ``room`` holds how many more characters of texts there may be.
    """
    if isinstance(value, str):
        room[0] -= min(len(value), _MASKED_LENGTH)
        return value[:_MASKED_LENGTH] if room[0] >= 0 else "..."
    if not isinstance(value, dict | list):
        return value
    if depth >= _MAX_DEPTH:
        return f"... ({len(value)} members)"
    rest = len(value) - _MAX_MEMBERS
    note = f"... ({rest} more)"
    if isinstance(value, list):
        shown = [_trimmed(member, room, depth + 1) for member in value[:_MAX_MEMBERS]]
        return [*shown, note] if rest > 0 else shown
    kept = {
        key[:SHOWN_LENGTH]: _trimmed(member, room, depth + 1)
        for key, member in islice(value.items(), _MAX_MEMBERS)
    }
    return kept | {"...": note} if rest > 0 else kept


def _shortened(value: object) -> object:
    if isinstance(value, str):
        is_long = len(value) > SHOWN_LENGTH
        return f"{value[:SHOWN_LENGTH]}..." if is_long else value
    if isinstance(value, list):
        return [_shortened(member) for member in value]
    if isinstance(value, dict):
        return {key: _shortened(member) for key, member in value.items()}
    return value


def _position(cursor: str) -> tuple[datetime, int]:
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match["at"]) > MAX_INSTANT_US:
        raise InvalidInputError("cursor", "is not a cursor of this API")
    return from_micros(int(match["at"])), int(match["id"])
