"""Schedules that an application's code declares, kept in step with what is stored.

What the code said last is stored beside the schedule. So a value that the code changes
is told apart from one that an operator changed: the first follows the code, the second
stays as the operator left it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition

# What identifies a schedule, and what is the operators' alone.
_NOT_DECLARED = ("name", "enabled")


@dataclass(frozen=True, slots=True)
class DeclarationReport:
    """What became of the schedules of one application, by name.

    Args:
        added: They were not there.
        changed: The code says something else than last time.
        removed: The code no longer has them.
        refused: Somebody else has the name, or they never fire; with the reason.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def declaration(definition: ScheduleDefinition) -> str:
    """Return what the code says, as JSON text that is the same for the same."""
    values = asdict(definition)
    for name in _NOT_DECLARED:
        del values[name]
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def followed(stored: Schedule, declared: ScheduleDefinition) -> ScheduleDefinition:
    """Return the definition that a stored schedule should have now.

    Args:
        stored: A schedule that the code has declared before.
        declared: What the code says now.
    """
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
    """Return what was declared; nothing, if it was written by who knows whom."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
