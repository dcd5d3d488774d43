"""What may be said of a job apart from its arguments, stated once.

The typed dicts are the keyword arguments of ``@forge.task``, ``task.options()`` and
``forge.enqueue()``, so that an editor completes them and a type checker refuses a wrong
one in all three places. :class:`JobOptions` holds what was given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypedDict

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.follow_ups import FollowUp
from flask_forge_jobs.model.job_bounds import DEFAULT_MAX_ATTEMPTS
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import fingerprint
from flask_forge_jobs.tasks.retries import Errors, Retry


class Told(Protocol):
    """A task that can be told of jobs that ended."""

    def as_follow_up(self) -> FollowUp:
        """Return what the storage has to know to tell it."""


class StoredOptions(TypedDict, total=False):
    """What a task says of all its jobs, and an enqueue of one of them.

    An option that is left out, or None, stays as it is.

    Args:
        queue: Queue to wait in; the task's or the router's choice by default.
        priority: Lower runs first, 0 by default; a signed 32-bit number.
        max_attempts: How often the job may run, 1 to 1000; 5 by default.
        timeout_s: Seconds one attempt may take; no limit by default.
        dedupe_by_args: Make the dedupe key of the kind and the arguments, so that no
            two unfinished jobs have the same.
        dedupe_for: A finished job with the key counts too, for so long after it was
            enqueued.
        replace: What the pending job that holds the key takes over from a new one:
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
        run_at: Not before this instant; must carry a zone.
        delay: Not before so long from now, in seconds where it is a number; in place of
            ``run_at``.
        dedupe_key: While an unfinished job holds the key, no second one is stored. It
            takes the place of a key made of the arguments.
        job_id: The id to store the job under, that of a
            :class:`.StorageOutcomeUnknownError`: the job is then stored once.
        connection: Store the job in this connection's open transaction, so that it
            comes with your commit and goes with your rollback. SQLAlchemy's
            connection or session, such as Flask-SQLAlchemy's ``db.session``, or a
            connection of psycopg2, psycopg 3 or sqlite3, to the database the jobs are
            in.
    """

    run_at: datetime | None
    delay: float | timedelta | None
    dedupe_key: str | None
    job_id: str | None
    connection: object


class TaskOptions(StoredOptions, total=False):
    """Keyword arguments of ``@forge.task``.

    Those of :class:`StoredOptions`, and these:

    Args:
        kind: Kind of its jobs; the function's name by default. Jobs that are already
            stored find their task by it, so keep it when you rename. No two functions
            may have the same; one that a factory or a reload defines again takes its
            own place.
        aliases: Other kinds whose jobs it runs, such as the names that it had before.
        max_concurrent: How many of its jobs may run at once in the whole cluster, 1 to
            1024; None means any number.
        key: Parameter of the function: so many jobs may run at once for each of its
            values. None means for all of them together.
        retry: How long after a failure the job is tried again: a number of seconds or a
            ``timedelta``, a list of them of which the last goes for all further
            attempts, :class:`exponential`, or a function of the attempt, from 1, and
            the exception that returns seconds or a ``timedelta``. About 15 s, 1 min, 4
            min and 16 min by default. See :doc:`/howto/retry`.
        retry_on: Types of exceptions; after any other the job is ``dead`` at once.
        dead_on: Types of exceptions after which the job is ``dead`` at once.
        on_dead: A task that is told when a job is ``dead``: it takes one argument, an
            :class:`EndedJob`. Its job is stored in the transaction that ends the other,
            exactly once.
        on_cancelled: The same for a job that a user has cancelled, running or not; a
            job that is deleted while it waits tells nobody.
        isolation: ``"process"`` runs its jobs outside the worker, where they can be
            killed; see :doc:`/howto/isolation`. ``"thread"`` by default.
    """

    kind: str | None
    aliases: Collection[str] | None
    max_concurrent: int | None
    key: str | None
    retry: Retry | None
    retry_on: Errors | None
    dead_on: Errors | None
    on_dead: Told | None
    on_cancelled: Told | None
    isolation: Literal["thread", "process"]


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The options of a job, defaults filled in; see :class:`EnqueueOptions`."""

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

    def changed(self, **given: Any) -> JobOptions:
        """Return the options with those given that are not None.

        A key that is given takes the place of one made of the arguments.

        Raises:
            TypeError: There is no such option.
        """
        for name in given.keys() - _NAMES:
            known = ", ".join(sorted(_NAMES))
            raise TypeError(f"there is no option {name!r}; there are {known}")
        chosen = {name: value for name, value in given.items() if value is not None}
        if "dedupe_key" in chosen:
            chosen.setdefault("dedupe_by_args", False)
        return replace(self, **chosen) if chosen else self

    def new_job(self, kind: str, payload: str, router: Callable[[str], str]) -> NewJob:
        """Return a job with these options, not stored yet.

        Args:
            kind: Selects the task.
            payload: Canonical JSON text.
            router: Names the queue when ``queue`` is None.

        Raises:
            InvalidInputError: A value is outside its bounds.
        """
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
        )

    def _key(self, kind: str, payload: str) -> str | None:
        if self.dedupe_by_args is False:
            return self.dedupe_key
        if self.dedupe_by_args is not True:
            raise InvalidInputError("dedupe_by_args", "is neither True nor False")
        if self.dedupe_key is not None:
            raise InvalidInputError(
                "dedupe_by_args", "makes the key; leave dedupe_key out"
            )
        return f"args:{kind}:{fingerprint(payload)}"


_NAMES = {each.name for each in fields(JobOptions)}
