"""The job that is stored when another one has ended without being done."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypedDict

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.job_bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import dump, load_text

# What the other members take at most, the error's escapes included.
_ROOM_BYTES = 65_536


class Ending(StrEnum):
    """How a job ends that is not done."""

    DEAD = "dead"
    CANCELLED = "cancelled"


class EndedJob(TypedDict):
    """What a task of ``on_dead=`` or ``on_cancelled=`` is told of the job.

    ``arguments`` is the payload, and None where that is damaged or so large that it
    would not fit into another one (over 960 KiB). ``ending`` is ``"dead"`` or
    ``"cancelled"``.
    """

    id: str
    kind: str
    queue_name: str
    arguments: Any
    attempts: int
    error: str
    ending: str


class FollowUp(NamedTuple):
    """A task that is told of jobs that have ended, as it is stored.

    Args:
        kind: The kind of its jobs.
        parameter: Its parameter that takes the :class:`EndedJob`.
        queue_name: The queue its jobs wait in.
        priority: Lower runs first.
        max_attempts: How often one of its jobs may run.
    """

    kind: str
    parameter: str
    queue_name: str
    priority: int
    max_attempts: int

    def job(self, ended: EndedJob, payload: str) -> NewJob:
        """Return the job that tells of another one.

        Args:
            ended: The other one, without its arguments.
            payload: JSON text of its arguments.
        """
        told = ended | {"arguments": None}
        text = dump({self.parameter: told})
        if len(payload) <= MAX_PAYLOAD_BYTES - _ROOM_BYTES:
            with contextlib.suppress(
                InvalidInputError
            ):  # damaged, or as deep as may be
                text = dump({self.parameter: told | {"arguments": load_text(payload)}})
        return NewJob.of_canonical(
            text,
            kind=self.kind,
            queue_name=self.queue_name,
            priority=self.priority,
            max_attempts=self.max_attempts,
        )


FollowUps = Mapping[Ending, FollowUp]
