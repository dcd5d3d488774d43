"""Cursors: the end of a page as text that means nothing to a client.

A cursor is good for the listing that gave it and no other: it carries a checksum of the
filter, the order and the place. That is against mistakes, not against attackers; a
forged place shows nothing that the listing itself would not.
"""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from hashlib import blake2b

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.ordering import JobOrder, Position

_CHECKSUM_BYTES = 9
# A job id of 64 characters, escaped at worst, with all that stands around it.
MAX_CURSOR_LENGTH = 1024


def to_cursor(end: Position, wanted: JobFilter, order: JobOrder) -> str:
    """Return the text that stands for the end of a page."""
    place = json.dumps([end.key, end.id, end.is_unfinished], separators=(",", ":"))
    raw = place.encode()
    return _encoded(_checksum(raw, wanted, order) + raw)


def from_cursor(text: str, wanted: JobFilter, order: JobOrder) -> Position:
    """Return the place that a cursor stands for.

    Args:
        text: What the client sent.
        wanted: The checked filter of this request.
        order: The order of this request.

    Raises:
        InvalidInputError: It is no cursor, or one of another filter or order; the
            field is ``cursor``.
    """
    whole = _decoded(text)
    checksum, raw = whole[:_CHECKSUM_BYTES], whole[_CHECKSUM_BYTES:]
    if checksum != _checksum(raw, wanted, order):
        raise InvalidInputError(
            "cursor", "is not one that this filter and this order have given"
        )
    key, job_id, is_unfinished = json.loads(raw)
    return Position(key, job_id, is_unfinished=is_unfinished)


def _encoded(whole: bytes) -> str:
    return base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """Return the bytes of a cursor; nothing when it cannot be one."""
    if len(text) > MAX_CURSOR_LENGTH:
        return b""
    padding = "=" * (-len(text) % 4)
    try:
        whole = base64.b64decode(text + padding, b"-_", validate=True)
    except ValueError:
        return b""
    # Spare bits of the last character would make several texts of one cursor.
    return whole if _encoded(whole) == text else b""


def _checksum(raw: bytes, wanted: JobFilter, order: JobOrder) -> bytes:
    binding = [str(order.column), order.descending, *_parts(wanted)]
    text = json.dumps(binding, separators=(",", ":"))
    return blake2b(text.encode() + raw, digest_size=_CHECKSUM_BYTES).digest()


def _parts(wanted: JobFilter) -> list[object]:
    """Return the values of a filter; the order within a list means nothing."""
    found: list[object] = []
    for each in fields(wanted):
        value = getattr(wanted, each.name)
        if isinstance(value, (tuple, list)):
            value = sorted(map(str, value))
        elif each.name.startswith("enqueued_") and value is not None:
            value = to_micros(value)
        found.append(value)
    return found
