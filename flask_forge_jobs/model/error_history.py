"""A job's error history: JSON text, newest last, at most 32 entries.

Only the newest keeps its traceback, because every claim reads the whole text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask_forge_jobs.model.instants import format_instant, from_micros
from flask_forge_jobs.model.outcomes import REAPED_MESSAGE

if TYPE_CHECKING:
    from flask_forge_jobs.model.claims import ClaimedJob

MAX_ERROR_HISTORY = 32


def append_entry(
    history: str,
    *,
    at_us: int,
    attempt: int,
    message: str,
    traceback: str | None = None,
) -> str:
    """Return a history with one more entry, cut to the newest 32.

    A damaged history restarts.
    """
    try:
        entries = json.loads(history)
    except ValueError:
        entries = []
    if not isinstance(entries, list):
        entries = []
    for entry in entries:
        if isinstance(entry, dict):
            entry.pop("traceback", None)
    at = format_instant(from_micros(at_us))
    entry = {"at": at, "attempt": attempt, "message": message}
    if traceback is not None:
        entry["traceback"] = traceback
    entries.append(entry)
    return json.dumps(entries[-MAX_ERROR_HISTORY:], separators=(",", ":"))


def append_error(
    job: ClaimedJob, message: str, at_us: int, traceback: str | None = None
) -> str:
    """Return a claimed job's history with the error of this attempt."""
    return append_entry(
        job.error_history,
        at_us=at_us,
        attempt=job.attempts,
        message=message,
        traceback=traceback,
    )


def tells_of_a_crash(history: str) -> bool:
    """Return whether the job may have lost a worker.

    Every claim asks this, so the text is searched, not parsed; it misses no crash.
    """
    return REAPED_MESSAGE in history
