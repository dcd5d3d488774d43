"""A filter in words: the chips of a list, and the lines of a confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.dashboard.jobs.listings import STATUS_NAMES
from flask_forge_jobs.dashboard.jobs.query import PRESETS, JobQuery
from flask_forge_jobs.model.sentences import listed

_NAMES = {
    "error": "error contains",
    "q": "payload contains",
    "signature": "signature is",
    "cron": "schedule is",
    "dedupe_key": "dedupe key is",
    "ending": "ended as",
    "min_attempts": "tries at least",
    "batch": "batch is",
    "waiting": "waits for",
}
# In place of the value.
_VALUES = {"waiting": "other jobs"}
_UNITS = {"m": "min", "h": "h", "d": "days"}


@dataclass(frozen=True, slots=True)
class Chip:
    """One condition; ``address`` leads to the list without it."""

    name: str
    value: str
    address: str


def chips(query: JobQuery) -> Sequence[Chip]:
    """Return the conditions that the reader has chosen, the states left out."""
    made = [
        Chip(f"{name} is", value, query.without(name, value))
        for name, values in (("queue", query.queues), ("kind", query.kinds))
        for value in values
    ]
    made += [
        Chip(_NAMES[name], _VALUES.get(name, value), query.without(name))
        for name, value in query.single.items()
    ]
    bounds = _range(query)
    if bounds is not None:
        made.append(Chip("enqueued", bounds, query.without("range")))
    return made


def in_words(query: JobQuery, statuses: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Return each condition as a name and a value; ``statuses`` replace the filter's.

    Without a condition there is one line that says so.
    """
    lines = []
    if statuses:
        names = [STATUS_NAMES[each] for each in statuses]
        lines.append(("status is", listed(names, "or")))
    for name, values in (("queue", query.queues), ("kind", query.kinds)):
        if values:
            lines.append((f"{name} is", listed(_apart(values), "or")))
    lines += [
        (_NAMES[name], _VALUES.get(name, value)) for name, value in query.single.items()
    ]
    bounds = _range(query)
    if bounds is not None:
        lines.append(("enqueued", bounds))
    return lines or [("every job", "")]


def _apart(names: Sequence[str]) -> Sequence[str]:
    """Return names in quotes, if a space or a comma would blur where one ends."""
    is_odd = len(names) > 1 and any(" " in each or "," in each for each in names)
    return [f"“{each}”" for each in names] if is_odd else names


def _range(query: JobQuery) -> str | None:
    if query.last is not None:
        number, unit = query.last[:-1], query.last[-1]
        return PRESETS.get(query.last) or f"last {number} {_UNITS[unit]}"
    if query.start is None and query.end is None:
        return None
    if query.end is None:
        return f"from {_written(query.start)}"
    if query.start is None:
        return f"up to {_written(query.end)}"
    return f"{_written(query.start)} to {_written(query.end)}"


def _written(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S} UTC"
