"""Keeps the schedules that an application's code declares in line with the table.

The last declaration is stored beside the schedule. It tells values that the code has
changed, which follow the code, from values that an operator has changed, which stay.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition

# A schedule's identity, and what only operators decide.
_NOT_DECLARED = ("name", "enabled")


@dataclass(frozen=True, slots=True)
class DeclarationReport:
    """The schedules of one application, by name; ``refused`` ones with the reason."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def declaration(definition: ScheduleDefinition) -> str:
    """Return the definition as JSON text; equal definitions have equal texts."""
    values = asdict(definition)
    for name in _NOT_DECLARED:
        del values[name]
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def followed(stored: Schedule, declared: ScheduleDefinition) -> ScheduleDefinition:
    """Return the new definition of a stored schedule that the code has declared."""
    before = _values(stored.declared_as)
    now = _values(declaration(declared))
    has = asdict(stored.definition)
    changes = {
        name: value
        for name, value in now.items()
        if value != has[name] and has[name] == before.get(name)
    }
    wanted = stored.definition
    if "cron_expr" in changes:
        wanted = stored.with_expression(changes["cron_expr"])
    return replace(wanted, **changes)


def _values(text: str | None) -> dict[str, Any]:
    """Return the declared values; none if the stored text is not ours."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
