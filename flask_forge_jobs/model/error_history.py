"""A job's error history: JSON text, newest last, at most 32 entries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask_forge_jobs.model.instants import format_instant, from_micros
from flask_forge_jobs.model.jobs import MAX_ERROR_HISTORY
from flask_forge_jobs.model.outcomes import REAPED_MESSAGE

if TYPE_CHECKING:
    from flask_forge_jobs.model.claims import ClaimedJob


def append_entry(history: str, *, at_us: int, attempt: int, message: str) -> str:
    """Return a history with one more entry; the oldest fall off past 32.

    Args:
        history: The stored JSON text; text that is damaged is started anew.
        at_us: When the error happened, microseconds since the epoch.
        attempt: The attempt that failed, from 1.
        message: What happened.
    """
    try:
        entries = json.loads(history)
    except ValueError:
        entries = []
    if not isinstance(entries, list):
        entries = []
    at = format_instant(from_micros(at_us))
    entries.append({"at": at, "attempt": attempt, "message": message})
    return json.dumps(entries[-MAX_ERROR_HISTORY:], separators=(",", ":"))


def append_error(job: ClaimedJob, message: str, at_us: int) -> str:
    """Return a claimed job's history with the error of this attempt."""
    return append_entry(
        job.error_history, at_us=at_us, attempt=job.attempts, message=message
    )


def tells_of_a_crash(history: str) -> bool:
    """Return whether a worker process is said to have died under the job.

    Only as quick as it is sure to miss none: a claim asks it of every job, so the text
    is searched and not read.
    """
    return REAPED_MESSAGE in history
