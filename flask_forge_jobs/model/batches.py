"""Batches: jobs that are counted together, and the jobs that hear of their end."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import Choice, check_job_id, check_text
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.model.payloads import dump, load_text

NAME_LENGTH = 255
MAX_DATA_BYTES = 65_536
# A batch with jobs in more queues belongs to nobody who is limited to some.
MAX_NAMED_QUEUES = 100
ANY_QUEUE = "/"


def quoted_queues(names: Iterable[str]) -> list[str]:
    """Return names of queues as a batch stores them, sorted."""
    return [json.dumps(name, ensure_ascii=False) for name in sorted(names)]


def queues_of(text: str) -> frozenset[str]:
    """Return the names that a batch has stored."""
    return frozenset(json.loads(f"[{text}]"))


class BatchEvent(Choice):
    """An event of a batch; each comes at most once, in this order."""

    DEAD = "on_dead"
    FINISHED = "on_finished"
    SUCCESS = "on_success"


class EndedBatch(TypedDict):
    """The argument of a task of ``on_success=``, ``on_finished=`` or ``on_dead=``.

    ``data`` is that of the batch. Of ``total`` jobs, so many are ``done``, ``dead``, or
    were ``removed`` before they ended.
    """

    id: str
    name: str
    data: Any
    total: int
    done: int
    dead: int
    removed: int


class Completion(NamedTuple):
    """A job to store at an event of a batch, under an id minted with the batch."""

    job_id: str
    follow_up: FollowUp

    def to_text(self) -> str:
        """Return it as stored."""
        return json.dumps([self.job_id, *self.follow_up])

    @classmethod
    def from_text(cls, text: str) -> Completion:
        """Return a stored one."""
        job_id, *follow_up = json.loads(text)
        return cls(job_id, FollowUp(*follow_up))


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to create, checked on creation.

    Args:
        name: Shown to operators, 1 to 255 characters.
        data: Any JSON value, at most 64 KiB, for the jobs at its events; a string
            counts as JSON text. The field holds canonical JSON text.
        follow_ups: The job to store at each event.
        cancel_on_dead: Cancel the rest once a job is dead.
        within: The id of the batch that counts this one as one of its jobs, or None.
        batch_id: Its id; None mints one.
        queues: Queues that its jobs will have, as its producer says.

    Raises:
        InvalidInputError: A value is out of bounds.
    """

    name: str
    data: Any = "null"
    follow_ups: Mapping[BatchEvent, FollowUp] | None = None
    cancel_on_dead: bool = False
    within: str | None = None
    batch_id: str | None = None
    queues: Collection[str] = ()

    def __post_init__(self) -> None:
        check_text("name", self.name, NAME_LENGTH)
        value = load_text(self.data, "data") if type(self.data) is str else self.data
        object.__setattr__(self, "data", dump(value, "data", MAX_DATA_BYTES))
        for field in ("within", "batch_id"):
            value = getattr(self, field)
            if value is not None:
                check_job_id(value, field)
        if self.batch_id is not None and (self.within or "") >= self.batch_id:
            raise InvalidInputError("batch_id", "must sort behind that of within")

    def with_queues(self, jobs: Iterable[NewJob]) -> NewBatch:
        """Return it with the queues of its first jobs, and of those at its events."""
        follow_ups = (self.follow_ups or {}).values()
        own = {*self.queues, *(each.queue_name for each in follow_ups)}
        own.update(job.queue for job in jobs)
        is_few = len(own) <= MAX_NAMED_QUEUES
        return replace(self, queues=frozenset(own if is_few else (ANY_QUEUE,)))

    def with_id(self, batch_id: str) -> NewBatch:
        """Return it with a minted id."""
        return replace(self, batch_id=batch_id)


class BatchState(Choice):
    """The state of a batch, made of its counts.

    ``open`` takes jobs from its producer, ``running`` has unfinished ones,
    ``cancelling`` ends them, ``done`` and ``dead`` have ended, without and with a dead
    job.
    """

    OPEN = "open"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Batch:
    """A stored batch, as it was when it was read.

    Attributes:
        id: Its id, a ULID.
        name: Its name.
        data: JSON text for the jobs at its events.
        total: Jobs that were added, batches within it included.
        done: Jobs that are done.
        dead: Jobs that ended without being done.
        removed: Jobs that were deleted before they ended.
        is_sealed: Whether its producer has added all jobs.
        cancel_on_dead: Whether a dead job cancels the rest.
        cancel_requested_at: When it was cancelled, or None.
        on_success: The job for the end without a dead job, or None.
        on_finished: The job for the first end, or None.
        on_dead: The job for the first dead job, or None.
        succeeded_at: When it first ended without a dead job, or None.
        finished_at: When it first ended, or None.
        died_at: When a job was first dead, or None.
        within: The batch that counts it, or None.
        created_at: When it was created.
        last_added_at: When jobs were last added, to a minute.
        completed_at: When it ended; None while jobs are unfinished, also after a retry.
        queues: The queues of all jobs that it has had, of those at its events and in
            batches within it; more than 100 count as :data:`ANY_QUEUE`.
        running: Jobs that run now.
    """

    id: str
    name: str
    data: str
    total: int
    done: int
    dead: int
    removed: int
    is_sealed: bool
    cancel_on_dead: bool
    cancel_requested_at: datetime | None
    on_success: Completion | None
    on_finished: Completion | None
    on_dead: Completion | None
    succeeded_at: datetime | None
    finished_at: datetime | None
    died_at: datetime | None
    within: str | None
    created_at: datetime
    last_added_at: datetime
    completed_at: datetime | None
    queues: frozenset[str] = frozenset()
    running: int = 0

    @property
    def unfinished(self) -> int:
        """Jobs that have not ended."""
        return self.total - self.done - self.dead - self.removed

    @property
    def waiting(self) -> int:
        """Jobs that neither run nor have ended."""
        return max(self.unfinished - self.running, 0)

    @property
    def has_ended(self) -> bool:
        """Whether all jobs are there and have ended."""
        return self.is_sealed and self.unfinished == 0

    @property
    def state(self) -> BatchState:
        """Its state."""
        if self.has_ended:
            return BatchState.DEAD if self.dead else BatchState.DONE
        if self.cancel_requested_at is not None:
            return BatchState.CANCELLING
        return BatchState.RUNNING if self.is_sealed else BatchState.OPEN

    def counts_text(self) -> str:
        """Return its counts as JSON text, the result of a batch."""
        names = ("total", "done", "removed", "dead")
        return json.dumps({name: getattr(self, name) for name in names})

    def ended(self) -> EndedBatch:
        """Return it as the argument of a task."""
        return EndedBatch(
            id=self.id,
            name=self.name,
            data=load_text(self.data),
            total=self.total,
            done=self.done,
            dead=self.dead,
            removed=self.removed,
        )

    def completion(self, event: BatchEvent) -> tuple[NewJob, str] | None:
        """Return the job of an event and its id, or None without one."""
        chosen: Completion | None = getattr(self, event.value)
        if chosen is None:
            return None
        follow_up = chosen.follow_up
        job = NewJob.of_canonical(
            dump({follow_up.parameter: self.ended()}),
            kind=follow_up.kind,
            queue_name=follow_up.queue_name,
            priority=follow_up.priority,
            max_attempts=follow_up.max_attempts,
            batch_id=self.within,
        )
        return job, chosen.job_id


class CreatedBatch(NamedTuple):
    """A batch that was created, and the results for its first jobs.

    ``is_replayed`` marks the result of an earlier request with the same key.
    """

    id: str
    results: Sequence[EnqueueResult]
    is_replayed: bool = False


class BatchOverview(NamedTuple):
    """How many batches are open, and how many jobs wait for others."""

    open: int
    waiting: int
