"""The options of jobs and tasks.

The typed dicts are the keyword arguments of ``@forge.task``, ``task.options()`` and
``forge.enqueue()``, so that editors complete and type checkers check them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sized
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal, Protocol, TypedDict, cast

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import DEFAULT_MAX_ATTEMPTS, check_queue_name, shown
from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, NewJob
from flask_forge_jobs.model.links import OnParentDead
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.model.payloads import fingerprint
from flask_forge_jobs.tasks.other_words import advice_on, unknown_option
from flask_forge_jobs.tasks.retries import Errors, Retry


class FollowUpTask(Protocol):
    """A task that can follow the end of a job."""

    def as_follow_up(self) -> FollowUp:
        """Return it as a follow-up."""


def follow_up_of(field: str, task: object) -> FollowUp:
    """Return a task as a follow-up; an error names the field."""
    if isinstance(task, type) or not hasattr(task, "as_follow_up"):
        raise InvalidInputError(field, f"{shown(task)} is not a task")
    try:
        return cast("FollowUpTask", task).as_follow_up()
    except InvalidInputError as error:
        raise InvalidInputError(field, error.message) from None


def several(field: str, given: object, how: str) -> Iterable[Any]:
    """Return what holds several values; raise InvalidInputError for anything else."""
    if not isinstance(given, Iterable):
        raise InvalidInputError(field, f"{shown(given)} is no list; write {how}")
    return given


def several_jobs(field: str, given: object, how: str) -> Iterable[Any]:
    """Return what holds several values; read no more of an iterator than is allowed."""
    values = several(field, given, how)
    if isinstance(values, Sized):
        return values
    taken = list(islice(values, MAX_BULK_JOBS + 1))
    if len(taken) > MAX_BULK_JOBS:
        raise InvalidInputError(field, f"more than {MAX_BULK_JOBS} at once")
    return taken


def check_id(of: str, given: object) -> None:
    """Raise TypeError for an id that is no text; ``of`` is ``job`` or ``batch``."""
    if not isinstance(given, str):
        advice = "; pass its id" if hasattr(given, "id") else ""
        raise TypeError(f"a {of}'s id is text, not {shown(given)}{advice}")


def not_a_job(field: str, given: object, advice: str = "") -> InvalidInputError:
    """Return the error for something in place of a job; ``{}`` is the task to call."""
    name = python_name(getattr(given, "python_name", ""))
    text = f"{shown(given)} is not a job; make one with {name}.job(...)"
    return InvalidInputError(field, text + advice.format(name))


def batch_jobs(jobs: object) -> Iterator[NewJob]:
    """Yield the jobs of a batch; an error names the place of anything else."""
    given = several("jobs", jobs, "batch.add_many([task.job(...), ...])")
    for number, job in enumerate(given):
        yield batch_job(job, f"jobs[{number}]")


def batch_job(job: object, field: str = "job") -> NewJob:
    """Return a job of a batch; raise InvalidInputError for anything else."""
    if not isinstance(job, NewJob):
        raise not_a_job(field, job)
    return job


def python_name(text: str) -> str:
    """Return the name of a task for a message, or ``task``."""
    return text if text.isidentifier() else "task"


class HasId(Protocol):
    """A handle on a job or a batch."""

    @property
    def id(self) -> str:
        """Its id."""


def ids_of(after: object) -> tuple[str, ...]:
    """Return the ids of jobs and batches, given as handles, ids or several of them."""
    is_one = isinstance(after, str) or hasattr(after, "id")
    if is_one or not isinstance(after, Iterable):
        after = (after,)
    ids: list[str] = []
    for each in after:
        parent_id = getattr(each, "id", each)
        if not isinstance(parent_id, str):
            fault = "is no job and no batch"
            if isinstance(each, NewJob):
                fault = "is not stored; pass what enqueue() or batch.add() returns"
            raise InvalidInputError("after", f"{shown(each)} {fault}")
        ids.append(parent_id)
    return tuple(ids)


class StoredOptions(TypedDict, total=False):
    """Options of both tasks and single jobs; None keeps the default.

    Args:
        queue: The queue; by default the router chooses it.
        priority: A signed 32-bit number; lower runs first; default 0.
        max_attempts: Most attempts, 1 to 1000; default 5.
        timeout_s: Seconds that one attempt may take; no limit by default.
        dedupe_by_args: Use the kind and the arguments as dedupe key, so that no two
            unfinished jobs have the same arguments.
        dedupe_for: How long after its enqueue a finished job still holds the key.
        replace: The fields that a new job replaces in the pending job with the key:
            ``payload``, ``run_at``, or both.
    """

    queue: str | None
    priority: int | None
    max_attempts: int | None
    timeout_s: float | None
    dedupe_by_args: bool | None
    dedupe_for: timedelta | None
    replace: Collection[str] | None


class EnqueueOptions(StoredOptions, total=False):
    """Keyword arguments of :meth:`Task.options` and :meth:`ForgeJobs.enqueue`.

    Those of :class:`StoredOptions`, and these:

    Args:
        run_at: The earliest start, with a time zone.
        delay: The earliest start from now, in seconds or as a ``timedelta``; instead of
            ``run_at``.
        dedupe_key: While an unfinished job holds this key, no second one is stored.
            Overrides ``dedupe_by_args``.
        job_id: The id of a :class:`.StorageOutcomeUnknownError`, to enqueue the job
            again without storing it twice.
        after: Jobs or batches that have to end first: a handle or an id, or up to 100
            of them. If one of them is dead, ``on_parent_dead`` decides.
        on_parent_dead: ``"cancel"`` (default) lets the job die too, ``"run"`` runs it
            nevertheless, ``"hold"`` lets it wait until the other one was retried and is
            done. See :doc:`/howto/batches`.
        connection: Store the job in the open transaction of this connection, so that
            your commit or rollback decides. A SQLAlchemy connection or session, such as
            Flask-SQLAlchemy's ``db.session``, or a connection of psycopg2, psycopg 3 or
            sqlite3, to the database of the jobs.
    """

    run_at: datetime | None
    delay: float | timedelta | None
    dedupe_key: str | None
    job_id: str | None
    after: HasId | str | Iterable[HasId | str] | None
    on_parent_dead: Literal["cancel", "run", "hold"] | None
    connection: object


class TaskOptions(StoredOptions, total=False):
    """Keyword arguments of ``@forge.task``.

    Those of :class:`StoredOptions`, and these:

    Args:
        kind: The kind of its jobs; the function's name by default. Stored jobs find
            their task by it, so keep it when you rename the function. Two functions
            cannot have the same kind.
        aliases: Other kinds whose jobs it runs, such as former names.
        max_concurrent: How many of its jobs may run at once in the whole cluster, 1 to
            1024; no limit by default.
        key: A parameter of the function; ``max_concurrent`` then applies to each of its
            values. By default it applies to all jobs together.
        retry: The delay before a retry: seconds or a ``timedelta``; a list of them,
            whose last one repeats; :class:`exponential`; or a function of the attempt,
            from 1, and the exception. By default about 15 s, 1 min, 4 min and 16 min.
            See :doc:`/howto/retry`.
        retry_on: Exception types to retry; after any other the job is ``dead``.
        dead_on: Exception types after which the job is ``dead`` at once.
        on_dead: A task to enqueue when a job is ``dead``, with an :class:`EndedJob` as
            its one argument; stored exactly once, in the transaction that ends the job.
        on_cancelled: The same for a job that a user cancels, but not for a waiting job
            that is deleted.
        isolation: ``"process"`` runs its jobs outside the worker, where they can be
            killed; default ``"thread"``. See :doc:`/howto/isolation`.
    """

    kind: str | None
    aliases: Collection[str] | None
    max_concurrent: int | None
    key: str | None
    retry: Retry | None
    retry_on: Errors | None
    dead_on: Errors | None
    on_dead: FollowUpTask | None
    on_cancelled: FollowUpTask | None
    isolation: Literal["thread", "process"]


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of a job with their defaults; see :class:`EnqueueOptions`."""

    queue: str | None = None
    priority: int = 0
    run_at: datetime | None = None
    delay: float | timedelta | None = None
    dedupe_key: str | None = None
    dedupe_by_args: bool = False
    dedupe_for: timedelta | None = None
    replace: Collection[str] = ()
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    timeout_s: float | None = None
    job_id: str | None = None
    after: tuple[str, ...] = ()
    on_parent_dead: str = OnParentDead.CANCEL

    def changed(self, **given: Any) -> JobOptions:
        """Return the options with those given that are not None.

        A dedupe key overrides ``dedupe_by_args``. An unknown option raises TypeError.
        """
        for name in given.keys() - _NAMES:
            raise no_such_option(name)
        chosen = {name: value for name, value in given.items() if value is not None}
        if "after" in chosen:
            chosen["after"] = ids_of(chosen["after"])
        if "dedupe_key" in chosen:
            chosen.setdefault("dedupe_by_args", False)
        return replace(self, **chosen) if chosen else self

    def as_called(self, **given: Any) -> JobOptions:
        """Return the options with those of a call in Python, where it is ``queue=``."""
        if given.get("queue") is not None:
            check_queue_name(given["queue"], "queue")
        return self.changed(**given)

    def new_job(self, kind: str, payload: str, router: Callable[[str], str]) -> NewJob:
        """Return a job with these options for a payload of canonical JSON text."""
        return NewJob.of_canonical(
            payload,
            kind=kind,
            queue_name=router(kind) if self.queue is None else self.queue,
            priority=self.priority,
            max_attempts=self.max_attempts,
            dedupe_key=self._key(kind, payload),
            run_at=self.run_at,
            delay=self.delay,
            timeout_s=self.timeout_s,
            dedupe_for=self.dedupe_for,
            replace=self.replace,
            job_id=self.job_id,
            after=self.after,
            on_parent_dead=self.on_parent_dead,
        )

    def _key(self, kind: str, payload: str) -> str | None:
        if self.dedupe_by_args is False:
            return self.dedupe_key
        if self.dedupe_by_args is not True:
            raise InvalidInputError("dedupe_by_args", "must be True or False")
        if self.dedupe_key is not None:
            raise InvalidInputError(
                "dedupe_by_args", "makes the key; leave dedupe_key out"
            )
        return f"args:{kind}:{fingerprint(payload)}"


_NAMES = {each.name for each in fields(JobOptions)}
OF_TASKS_ONLY = TaskOptions.__annotations__.keys() - _NAMES


def no_such_option(name: str) -> TypeError:
    """Return the error for an unknown option of a job."""
    if (words := advice_on(name, OF_TASKS_ONLY)) is not None:
        return TypeError(f"there is no option {name!r}; {words}")
    return TypeError(unknown_option(name, _NAMES))
