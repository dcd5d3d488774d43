"""The columns of a list. One whose value the filter fixes is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.dashboard.jobs.listings import (
    DEAD,
    DONE,
    PENDING,
    RETRYING,
    RUNNING,
    parts_of,
    sortable,
)
from flask_forge_jobs.dashboard.jobs.query import OPTIONAL_COLUMNS, JobQuery
from flask_forge_jobs.handlers.filters import SCHEDULED

_NAMES = {
    "status": "Status",
    "kind": "Kind and id",
    "queue": "Queue",
    "tries": "Tries",
    "priority": "Priority",
    "next": "Next try",
    "running": "Running",
    "when": "When",
    "error": "Last error",
    "enqueued": "Enqueued",
    "finished": "Finished",
}
_SORTS = {
    "tries": "attempts",
    "priority": "priority",
    "next": "scheduled_at",
    "enqueued": "enqueued_at",
    "finished": "completed_at",
}
_NUMBERS = ("priority", "enqueued", "finished")
_TIMED = frozenset((PENDING, SCHEDULED, RETRYING))
_FAILED = frozenset((RETRYING, DEAD))
_ENDED = frozenset((DEAD, DONE))


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    ``address`` leads to the list sorted by it, the other way round if it is so already;
    None if it cannot be sorted by. ``direction`` is that of ``aria-sort``.
    """

    name: str
    title: str
    address: str | None
    direction: str | None
    is_number: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A column that the reader may add or remove; ``address`` does."""

    title: str
    is_shown: bool
    address: str


def columns(query: JobQuery) -> Sequence[Column]:
    """Return the columns of a list, in their order."""
    allowed = sortable(query.chosen_statuses)
    return [_column(name, query, allowed) for name in _names(query)]


def choices(query: JobQuery) -> Sequence[Choice]:
    """Return the columns that may be added to the list or have been added."""
    standard = _standard(query)
    made = []
    for name in OPTIONAL_COLUMNS:
        if name in standard:
            continue
        is_shown = name in query.columns
        chosen = [each for each in query.columns if each != name]
        if not is_shown:
            chosen.append(name)
        # The order of the page's rows stays, so its place may.
        address = query.address(columns=tuple(chosen), place=query.place)
        made.append(Choice(_title(name, query), is_shown, address))
    return made


def _names(query: JobQuery) -> list[str]:
    shown = _standard(query) | set(query.columns)
    return [name for name in _NAMES if name in shown]


def _standard(query: JobQuery) -> set[str]:
    parts = set(parts_of(query.chosen_statuses))
    names = {"kind", "tries", "enqueued"}
    if len(parts) > 1 and query.chosen_statuses != (PENDING,):
        names.add("status")
    if len(query.queues) != 1:
        names.add("queue")
    is_some = bool(query.chosen_statuses)
    if RUNNING in parts:
        # Beside other states it says of each job since when or until when.
        names.add("running" if len(parts) == 1 else "when")
    if parts & _FAILED or "error" in query.single:
        names.add("error")
    if is_some and parts & _TIMED and "when" not in names:
        names.add("next")
    if is_some and parts <= _ENDED:
        names.add("finished")
    if parts == {DONE}:
        names.discard("error")
    return names


def _column(name: str, query: JobQuery, allowed: Sequence[str]) -> Column:
    column = _SORTS.get(name)
    address = direction = None
    if column in allowed:
        is_present = query.sort.removeprefix("-") == column
        is_descending = query.sort.startswith("-")
        if is_present:
            direction = "descending" if is_descending else "ascending"
            other = column if is_descending else f"-{column}"
        else:
            other = column if name in ("next", "priority") else f"-{column}"
        address = query.address(sort=other)
    return Column(name, _title(name, query), address, direction, name in _NUMBERS)


def _title(name: str, query: JobQuery) -> str:
    if name == "kind" and len(query.kinds) == 1:
        return "Id"
    if name == "next" and RETRYING not in query.chosen_statuses:
        return "Starts"
    return _NAMES[name]
