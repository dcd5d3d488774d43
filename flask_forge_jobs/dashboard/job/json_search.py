"""Finds a text in a JSON value: in its keys and in what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.dashboard.job.json_view import fitted
from flask_forge_jobs.model.masking import REDACTED

MAX_PLACES = 50
# Of one value, and of its path.
MAX_TEXT = 200
# A key, or the place in a list.
_Name = str | int


@dataclass(slots=True)
class Places:
    """Where a text is: paths and values of the first 50, and how many there are."""

    text: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    total: int = 0


def places_of(text: str, value: object) -> Places:
    """Return where a text is in a JSON value; masked values have none."""
    places, needle = Places(text), text.casefold()
    within: list[_Name] = []
    for name, member in _members(value, within):
        shown = _shown(member)
        in_value = needle in shown.casefold() and member != REDACTED
        if not in_value and not (isinstance(name, str) and needle in name.casefold()):
            continue
        places.total += 1
        if len(places.rows) < MAX_PLACES:
            places.rows.append((_cut(_path(within, name)), _cut(shown)))
    return places


def _members(
    value: object, within: list[_Name]
) -> Iterator[tuple[_Name | None, object]]:
    """Yield name and value of everything within, without recursion.

    ``within`` holds the names of the containers around it. A payload may have half a
    million values, and few have to be named in full.
    """
    yield None, value
    levels = [_named(value)]
    while levels:
        for name, member in levels[-1]:
            yield name, member
            if isinstance(member, dict | list):
                within.append(name)
                levels.append(_named(member))
                break
        else:
            levels.pop()
            del within[-1:]


def _named(value: object) -> Iterator[tuple[_Name, object]]:
    if isinstance(value, dict):
        return iter(value.items())
    return enumerate(value) if isinstance(value, list) else iter(())


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if isinstance(value, list):
        return "[…]" if value else "[]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)  # a number; in half the time of json.dumps()


def _path(within: Sequence[_Name], name: _Name | None) -> str:
    names = [*within, *([] if name is None else [name])]
    steps = (f"[{each}]" if type(each) is int else f".{each}" for each in names)
    return "".join(("$", *steps))


def _cut(text: str) -> str:
    return fitted(text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…")
