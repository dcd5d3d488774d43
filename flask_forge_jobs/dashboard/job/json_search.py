"""Finds a text in a JSON value: in its keys and in what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from flask_forge_jobs.dashboard.job.json_view import fitted
from flask_forge_jobs.model.masking import REDACTED

MAX_PLACES = 50
# Of one value, and of its path.
MAX_TEXT = 200
# The path to the container, and the step from there.
_Path = tuple["_Path | None", str]


@dataclass(slots=True)
class Places:
    """Where a text is: paths and values of the first 50, and how many there are."""

    text: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    total: int = 0


def places_of(text: str, value: object) -> Places:
    """Return where a text is in a JSON value; masked values have none."""
    places, needle = Places(text), text.casefold()
    for path, key, member in _members(value):
        shown = _shown(member)
        in_value = member != REDACTED and needle in shown.casefold()
        if not in_value and needle not in key.casefold():
            continue
        places.total += 1
        if len(places.rows) < MAX_PLACES:
            places.rows.append((_cut(_words(path)), _cut(shown)))
    return places


def _members(value: object) -> Iterator[tuple[_Path, str, object]]:
    """Yield path, key and value of everything within, without recursion."""
    levels: list[tuple[_Path | None, Iterator[tuple[str, str, object]]]] = [
        (None, iter([("$", "", value)]))
    ]
    while levels:
        parent, members = levels[-1]
        for step, key, member in members:
            path = (parent, step)
            yield path, key, member
            if isinstance(member, dict | list):
                levels.append((path, _steps(member)))
                break
        else:
            levels.pop()


def _steps(
    value: dict[str, object] | list[object],
) -> Iterator[tuple[str, str, object]]:
    if isinstance(value, dict):
        return ((f".{key}", key, member) for key, member in value.items())
    return ((f"[{index}]", "", member) for index, member in enumerate(value))


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if isinstance(value, list):
        return "[…]" if value else "[]"
    return value if isinstance(value, str) else json.dumps(value)


def _words(path: _Path) -> str:
    steps: list[str] = []
    rest: _Path | None = path
    while rest is not None:
        rest, step = rest
        steps.append(step)
    return "".join(reversed(steps))


def _cut(text: str) -> str:
    return fitted(text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…")
