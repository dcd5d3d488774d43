"""How a task ends, and which job follows.

A task ends by returning (:class:`Done`), by raising any exception (:class:`Failed`), or
by raising or returning :class:`Throttled` or :class:`Dead`. A job that ended without
being done may have a follow-up (:class:`FollowUp`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypedDict

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES, shown
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import dump, load_text

MAX_THROTTLE_S = 86_400.0
MAX_ERROR_BYTES = 8192
MAX_REASON_LENGTH = 1000
MAX_RESULT_BYTES = 65_536
MAX_PROGRESS_BYTES = 1024
# Most bytes of the other members, the escapes of the error included.
_ROOM_BYTES = 65_536


class ThrottleScope(StrEnum):
    """The reach of a throttle: only this job, or its whole queue."""

    JOB = "job"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Done:
    """The task returned.

    ``result`` is the canonical JSON text of its value; None without a value, or if the
    value cannot be kept for the reason in ``result_error``.
    """

    result: str | None = None
    result_error: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised; the job is retried while it has attempts left.

    ``retry_after_s`` of None leaves the delay to the task's policy. A queue's back-off,
    where an operator has enabled it, comes first. ``traceback`` is masked.
    """

    message: str
    retry_after_s: float | None = None
    traceback: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Released:
    """The job goes back to its queue: it never started, or a shutdown stopped it.

    The attempt does not count.
    """


class Throttled(Exception):  # noqa: N818  # an outcome that may be raised, not an error
    """The remote side asked for a pause; return or raise it from a task.

    The attempt does not count.

    Args:
        retry_after_s: Seconds to wait, cut to 0 to 86400. A cool-down of the queue
            lasts as long as its curve at least.
        scope: ``"queue"`` cools the whole queue down; ``"job"`` delays only this job.
        reason: Stored as the job's last error; by default the exception that caused it.

    Raises:
        InvalidInputError: ``retry_after_s`` is not a number.
    """

    def __init__(
        self,
        retry_after_s: float = 0.0,
        *,
        scope: ThrottleScope | str = ThrottleScope.QUEUE,
        reason: str | None = None,
    ) -> None:
        try:
            seconds = float(retry_after_s)
        except (TypeError, ValueError, OverflowError):
            seconds = math.nan
        # A NaN passes every comparison but is no delay.
        if math.isnan(seconds):
            raise InvalidInputError(
                "retry_after_s", f"{shown(retry_after_s)} is not a number of seconds"
            )
        self.retry_after_s = min(max(seconds, 0.0), MAX_THROTTLE_S)
        super().__init__(f"throttled for {self.retry_after_s} s")
        self.scope = ThrottleScope(scope)
        self.reason = reason


class Snooze(Throttled):
    """One of our own limits has no room for the job, which comes back by itself.

    Raised by :meth:`TaskContext.rate_limit`. It delays only this job; neither the
    attempt nor any number of snoozes counts as a failure.

    Args:
        retry_after_s: Seconds until it comes back, 0 to 86400.
        reason: Stored as the job's last error; None keeps the error it has.
    """

    def __init__(self, retry_after_s: float, reason: str | None = None) -> None:
        super().__init__(retry_after_s, scope=ThrottleScope.JOB, reason=reason)


class Postponed(Snooze):
    """The task did not start: it is missing, or its concurrency limit is full."""


class Dead(Exception):  # noqa: N818  # an outcome that may be raised, not an error
    """The job cannot succeed; return or raise it from a task to end all attempts.

    Args:
        message: Stored as the job's last error.
        traceback: Filled in when a task raises this.
    """

    def __init__(self, message: str, traceback: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.traceback = traceback


Outcome = Done | Failed | Released | Throttled | Dead


class EndedJob(TypedDict):
    """The argument of a task of ``on_dead=`` or ``on_cancelled=``.

    ``arguments`` is the job's payload; None if that is damaged, or too large for
    another payload (over 960 KiB). ``ending`` is ``"dead"`` or ``"cancelled"``.
    """

    id: str
    kind: str
    queue_name: str
    arguments: Any
    attempts: int
    error: str
    ending: str


class FollowUp(NamedTuple):
    """A follow-up as stored; ``parameter`` of its task takes the :class:`EndedJob`."""

    kind: str
    parameter: str
    queue_name: str
    priority: int
    max_attempts: int

    def job(self, ended: EndedJob, payload: str) -> NewJob:
        """Return the follow-up job of a job, whose payload is JSON text."""
        shown = ended | {"arguments": None}
        text = dump({self.parameter: shown})
        if len(payload) <= MAX_PAYLOAD_BYTES - _ROOM_BYTES:
            # Suppressed: the payload is damaged, or nested as deep as allowed.
            with contextlib.suppress(InvalidInputError):
                text = dump({self.parameter: shown | {"arguments": load_text(payload)}})
        return NewJob.of_canonical(
            text,
            kind=self.kind,
            queue_name=self.queue_name,
            priority=self.priority,
            max_attempts=self.max_attempts,
        )


FollowUps = Mapping[Ending, FollowUp]


def clip(text: str, longest_bytes: int = MAX_ERROR_BYTES) -> str:
    """Return text cut to a number of UTF-8 bytes that both databases can store.

    NUL characters become U+FFFD, halves of surrogate pairs ``?``.
    """
    encoded = text.replace("\x00", "\ufffd").encode("utf-8", "replace")
    if len(encoded) <= longest_bytes:
        return encoded.decode("utf-8")
    return encoded[:longest_bytes].decode("utf-8", "ignore")
