"""Request keys: a caller may repeat a request without doing it twice.

The caller makes up a key and sends it along. The result of the first request is kept
for a day and answers every later request with the same key and contents.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.instants import DAY_US, to_micros
from flask_forge_jobs.model.jobs import NewJob

REQUEST_KEY_FIELD = "Idempotency-Key"
REQUEST_KEY_LENGTH = 255
KEPT_US = DAY_US
# Visible ASCII without the comma, which joins the values of a header sent twice.
REQUEST_KEY_PATTERN = rf"[!-+\--~]{{1,{REQUEST_KEY_LENGTH}}}"
_KEY = re.compile(REQUEST_KEY_PATTERN)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Identifies a repeated request of one caller for one operation.

    ``value`` is 1 to 255 visible ASCII characters; callers may use the same value.
    """

    caller: str
    value: str
    operation: str

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.value):
            raise InvalidInputError(
                REQUEST_KEY_FIELD,
                f"must have 1 to {REQUEST_KEY_LENGTH} visible ASCII characters "
                "and no comma",
            )

    def fingerprint(self, jobs: Sequence[NewJob]) -> str:
        """Return a text that is equal only for requests that ask for the same."""
        asked = [
            (
                job.kind,
                job.payload,
                job.queue_name,
                job.priority,
                job.max_attempts,
                job.dedupe_key,
                _start(job),
                job.timeout_s,
                job.schedule_name,
                *_uniqueness(job),
            )
            for job in jobs
        ]
        text = json.dumps([self.operation, asked], separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def _start(job: NewJob) -> object:
    """Return when the job starts; a relative delay counts as such."""
    if isinstance(job.delay, timedelta):
        return f"+{job.delay.total_seconds()}"
    return None if job.run_at is None else to_micros(job.run_at)


def _uniqueness(job: NewJob) -> list[object]:
    """Return rarely used options; requests without them keep their old fingerprint."""
    if job.dedupe_for is None and not job.replace:
        return []
    window = job.dedupe_for
    return [None if window is None else window.total_seconds(), *job.replace]
