"""Origins: the source of a job, named by its rule and never by its values.

An origin travels in the JSON text of :attr:`.TaskContext.carried`.
"""

from __future__ import annotations

import json
from functools import lru_cache

from flask_forge_jobs.model.payloads import dump

KEY = "origin"
MAX_LENGTH = 255
_OF_TASK = "task "


def of_task(kind: str) -> str:
    """Return the origin of jobs that a task enqueues."""
    return f"{_OF_TASK}{kind}"


def is_of_task(origin: str | None) -> bool:
    """Return whether an origin names the kind of a task."""
    return origin is not None and origin.startswith(_OF_TASK)


@lru_cache(maxsize=1024)
def carried_text(origin: str) -> str:
    """Return the JSON text of a job that carries nothing else."""
    return dump({KEY: origin[:MAX_LENGTH]})


def origin_of(carried: str) -> str | None:
    """Return the origin in a JSON text; None without one, or if the text is damaged."""
    try:
        origin = json.loads(carried).get(KEY)
    except (ValueError, AttributeError, RecursionError):
        return None
    return origin if isinstance(origin, str) else None
