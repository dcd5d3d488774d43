"""Cursors: opaque text that says where the next page or call continues.

A cursor is valid only for the request that made it: it carries a checksum of its
position and of the filter and the order or action. The checksum prevents mistakes, not
attacks; a forged position shows nothing that the request itself would not show.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bulk import JobAction, WalkPosition
from flask_forge_jobs.model.error_groups import ErrorPosition
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.ordering import FROM_THE_NEWEST, JobOrder, Position
from flask_forge_jobs.model.payloads import load

T = TypeVar("T")
_CHECKSUM_BYTES = 9
# Larger than any time, priority or number of attempts.
_LARGEST_KEY = 2**62
# An id of 64, a queue and a kind of 128 characters, in base 64 of UTF-8.
MAX_CURSOR_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list; ``next_cursor`` is None on the last one."""

    rows: Sequence[T]
    next_cursor: str | None


def page_of(rows: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """Return a page out of its rows, of which one more is read if more follow."""
    page = rows[:limit]
    return Page(page, cursor_of(page[-1]) if len(rows) > limit else None)


def page_at(read: Callable[[str | None], T], cursor: str | None) -> T:
    """Return the page at a cursor, or the first one if the cursor is of no use."""
    try:
        return read(cursor)
    except InvalidInputError:
        return read(None)


def to_cursor(end: Position, job_filter: JobFilter, order: JobOrder) -> str:
    """Return the cursor of the end of a page."""
    return _written([end.key, end.id, end.is_unfinished], _of_page(job_filter, order))


def from_cursor(text: str, job_filter: JobFilter, order: JobOrder) -> Position:
    """Return the position of a cursor; errors have the field ``cursor``."""
    key, job_id, is_unfinished = _read(
        text, _of_page(job_filter, order), (int, str, bool)
    )
    return Position(key, job_id, is_unfinished=is_unfinished)


def to_walk_cursor(
    position: WalkPosition, action: JobAction, job_filter: JobFilter
) -> str:
    """Return the cursor of the position where a bulk action ended."""
    return _written(list(position), _of_walk(action, job_filter))


def from_walk_cursor(
    text: str, action: JobAction, job_filter: JobFilter
) -> WalkPosition:
    """Return the position of a cursor."""
    place = _read(text, _of_walk(action, job_filter), (str, str, str, int, str))
    position = WalkPosition(*place)
    if position.status not in list(JobStatus):
        raise _not_ours()
    return position._replace(status=JobStatus(position.status))


def to_errors_cursor(
    end: ErrorPosition, job_filter: JobFilter, binding: Sequence[str]
) -> str:
    """Return the cursor of the end of a page of errors."""
    return _written(list(end), [*map(str, binding), *_parts(job_filter)])


def from_errors_cursor(
    text: str, job_filter: JobFilter, binding: Sequence[str]
) -> ErrorPosition:
    """Return the position of a cursor; errors have the field ``cursor``."""
    bound = [*map(str, binding), *_parts(job_filter)]
    return ErrorPosition(*_read(text, bound, (int, str)))


def to_place_cursor(place: tuple[int, str], binding: Sequence[object]) -> str:
    """Return the cursor of the last row of a page, sorted by an instant and an id.

    ``binding`` is the request's filter and order, as JSON values.
    """
    return _written(list(place), binding)


def from_place_cursor(text: str | None, binding: Sequence[object]) -> tuple[int, str]:
    """Return the instant and the id of a cursor; of none, those after all rows."""
    if text is None:
        return FROM_THE_NEWEST
    at, row_id = _read(text, binding, (int, str))
    return at, row_id


def to_text_cursor(last: str, binding: Sequence[object]) -> str:
    """Return the cursor of the last row of a page whose rows are sorted by a text.

    ``binding`` is what else the request says, such as its filter, as JSON values.
    """
    return _written([last], binding)


def from_text_cursor(text: str, binding: Sequence[object]) -> str:
    """Return the text of a cursor."""
    (last,) = _read(text, binding, (str,))
    return str(last)


def _of_page(job_filter: JobFilter, order: JobOrder) -> list[object]:
    return [str(order.column), order.descending, *_parts(job_filter)]


def _of_walk(action: JobAction, job_filter: JobFilter) -> list[object]:
    return [str(action), *_parts(job_filter)]


def _written(place: Sequence[object], binding: Sequence[object]) -> str:
    raw = json.dumps(place, separators=(",", ":"), ensure_ascii=False).encode()
    return _encoded(_checksum(raw, binding) + raw)


def _read(
    text: str, binding: Sequence[object], shape: Sequence[type[object]]
) -> list[Any]:
    whole = _decoded(text)
    checksum, raw = whole[:_CHECKSUM_BYTES], whole[_CHECKSUM_BYTES:]
    if checksum != _checksum(raw, binding):
        raise _not_ours()
    # A client can forge the checksum, so the types are checked too.
    try:
        place = load(raw)
    except InvalidInputError:
        raise _not_ours() from None
    if not isinstance(place, list) or [type(part) for part in place] != list(shape):
        raise _not_ours()
    if any(type(part) is int and abs(part) > _LARGEST_KEY for part in place):
        raise _not_ours()
    return place


def _not_ours() -> InvalidInputError:
    return InvalidInputError("cursor", "is not a cursor of this request")


def _encoded(whole: bytes) -> str:
    return base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """Return the bytes of a cursor; none if it is invalid."""
    if len(text) > MAX_CURSOR_LENGTH:
        return b""
    padding = "=" * (-len(text) % 4)
    try:
        whole = base64.b64decode(text + padding, b"-_", validate=True)
    except ValueError:
        return b""
    # The last character has spare bits; only one text of a cursor is valid.
    return whole if _encoded(whole) == text else b""


def _checksum(raw: bytes, binding: Sequence[object]) -> bytes:
    text = json.dumps(binding, separators=(",", ":"))
    return blake2b(text.encode() + raw, digest_size=_CHECKSUM_BYTES).digest()


def _parts(job_filter: JobFilter) -> list[object]:
    """Return the values of a filter; lists are sorted, as their order is irrelevant."""
    values: list[object] = []
    for each in fields(job_filter):
        value = getattr(job_filter, each.name)
        if isinstance(value, (tuple, list)):
            value = sorted(map(str, value))
        elif each.name.startswith("enqueued_") and value is not None:
            value = to_micros(value)
        values.append(value)
    return values
