"""Both ends of a link between a job and one that waits for it, as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_forge_jobs.model.jobs import JobStatus
    from flask_forge_jobs.model.links import LinkEnd, OnParentDead


@dataclass(frozen=True, slots=True)
class Parent:
    """A job or a batch for which another job waits, or has waited.

    Attributes:
        id: Its id.
        kind: Its kind; None of a batch.
        on_parent_dead: The rule if it ends without being done.
        ended: How it ended; None while the other job waits for it.
        result: JSON text of its result, kept after it is deleted, or None; of a batch
            that of its counts.
        error: Its last error, if it ended without being done.
        queue_name: Its queue; None of a batch and of a deleted job.
        status: Its state now; None of a batch and of a deleted job.
        queues: Of a batch, the queues of all its jobs.
    """

    id: str
    kind: str | None
    on_parent_dead: OnParentDead
    ended: LinkEnd | None = None
    result: str | None = None
    error: str | None = None
    queue_name: str | None = None
    status: JobStatus | None = None
    queues: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Dependent:
    """A job that waits, or has waited, for another one.

    Attributes:
        id: Its id.
        kind: Its kind.
        queue_name: Its queue.
        status: Its state now.
        on_parent_dead: Its rule if the other one ends without being done.
        ended: How the other one ended; None while it waits for that.
        is_waiting: Whether it waits, for that one or for others.
    """

    id: str
    kind: str
    queue_name: str
    status: JobStatus
    on_parent_dead: OnParentDead
    ended: LinkEnd | None
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class JobTies:
    """The first hundred jobs that a job waits for, and that wait for it, by id.

    ``batch_queues`` are the queues of all jobs of its batch.
    """

    parents: Sequence[Parent] = ()
    dependents: Sequence[Dependent] = ()
    batch_queues: frozenset[str] = frozenset()


NO_TIES = JobTies()
