"""The job that follows one that ended without being done."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypedDict

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.job_bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import dump, load_text

# Most bytes of the other members, the escapes of the error included.
_ROOM_BYTES = 65_536


class Ending(StrEnum):
    """How a job ends without being done."""

    DEAD = "dead"
    CANCELLED = "cancelled"


class EndedJob(TypedDict):
    """What a task of ``on_dead=`` or ``on_cancelled=`` receives.

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
        told = ended | {"arguments": None}
        text = dump({self.parameter: told})
        if len(payload) <= MAX_PAYLOAD_BYTES - _ROOM_BYTES:
            # Suppressed: the payload is damaged, or nested as deep as allowed.
            with contextlib.suppress(InvalidInputError):
                text = dump({self.parameter: told | {"arguments": load_text(payload)}})
        return NewJob.of_canonical(
            text,
            kind=self.kind,
            queue_name=self.queue_name,
            priority=self.priority,
            max_attempts=self.max_attempts,
        )


FollowUps = Mapping[Ending, FollowUp]
