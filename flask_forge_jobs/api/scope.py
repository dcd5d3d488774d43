"""The queues a caller is limited to: one rule for every view.

A principal with ``queues`` sees and acts on those only, with an empty set on none;
None means all of them. A route says in
:attr:`~flask_forge_jobs.api.routes.Route.reach` how it keeps to that:

- ``Reach.CLUSTER``, the default: it concerns everybody, so the blueprint answers 403.
- ``Reach.QUEUE``: the placeholder ``name`` is a queue; the blueprint checks it.
- ``Reach.JOB``: the placeholder ``job_id`` is a job; the blueprint looks up its queue,
  and a job of another queue is 404, as if it did not exist.
- ``Reach.VIEW``: the view keeps to it by ``api.scope``: :meth:`Scope.require` for one
  queue that a body or query names, :meth:`Scope.one` where naming none means every
  queue, :meth:`Scope.limit` for a filter,
  :meth:`Scope.names` for a list of names, :meth:`Scope.own` for ids,
  :meth:`Scope.router` and :attr:`Scope.has_own_keys` for what is enqueued, and
  :meth:`Scope.allows` to leave things out of an answer.

For a principal without a limit all of them let everything pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto

from werkzeug.exceptions import Forbidden

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers.job_actions import Router, distinct_ids
from flask_forge_jobs.handlers.jobs import require_possible_id
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.storage.base import Storage

OTHER_QUEUE_MESSAGE = "this credential is limited to other queues"
NO_QUEUE_MESSAGE = "this credential is limited to no queue at all"
CLUSTER_MESSAGE = "this credential is limited to some queues, and this concerns all"


class Reach(Enum):
    """What a route touches; see the module."""

    CLUSTER = auto()
    QUEUE = auto()
    JOB = auto()
    VIEW = auto()


class Scope:
    """The queues of one caller.

    Args:
        queues: The only ones it may see; None means all.
        storage: Knows which job is in which queue.
    """

    def __init__(self, queues: frozenset[str] | None, storage: Storage) -> None:
        self.queues = queues
        self._storage = storage

    def allows(self, queue_name: str) -> bool:
        """Tell whether the caller may know of a queue."""
        return self.queues is None or queue_name in self.queues

    def require(self, queue_name: str) -> None:
        """Let a queue of the caller's pass.

        Raises:
            Forbidden: It is another one, whether it exists or not.
        """
        if not self.allows(queue_name):
            raise Forbidden(OTHER_QUEUE_MESSAGE)

    def router(self, router: Router) -> Router:
        """Return a router that refuses to choose a queue outside the caller's.

        Args:
            router: Names the queue of a kind that is enqueued without one.
        """

        def route(kind: str) -> str:
            queue_name = router(kind)
            self.require(queue_name)
            return queue_name

        return route

    @property
    def has_own_keys(self) -> bool:
        """Whether dedupe keys of the caller's belong to the queue of their job."""
        return self.queues is not None

    def require_job(self, job_id: str) -> None:
        """Let a job of the caller's queues pass.

        Raises:
            JobNotFoundError: It is elsewhere or nowhere.
        """
        if self.queues is None:
            return
        require_possible_id(job_id)
        if not self.own([job_id]):
            raise JobNotFoundError(job_id)

    def one(self, queue_name: str | None, field: str = "queue_name") -> str | None:
        """Return the queue that a request means, where it names one or none.

        Args:
            queue_name: What it names; None means every queue, or the only one that
                the caller may see.
            field: Name of the parameter.

        Raises:
            Forbidden: It names another queue, or none and the caller may see none.
            InvalidInputError: It names none, and the caller may see several.
        """
        if queue_name is not None:
            self.require(queue_name)
        if queue_name is not None or self.queues is None:
            return queue_name
        if len(self.queues) > 1:
            raise InvalidInputError(field, "is required for a credential with queues")
        if not self.queues:
            raise Forbidden(NO_QUEUE_MESSAGE)
        return next(iter(self.queues))

    def names(self, queue_names: Sequence[str] | None = None) -> Sequence[str] | None:
        """Return the queues that a request means; None means every queue.

        Args:
            queue_names: Those it names; none, or None, means all that the caller may
                see, which may be none at all.

        Raises:
            Forbidden: It names another queue.
        """
        for queue_name in queue_names or ():
            self.require(queue_name)
        if queue_names:
            return tuple(queue_names)
        return None if self.queues is None else tuple(sorted(self.queues))

    def limit(self, wanted: JobFilter) -> JobFilter:
        """Return a filter that matches nothing outside the caller's queues.

        Raises:
            Forbidden: It names another queue.
        """
        return replace(wanted, queues=self.names(wanted.queues))

    def own(self, job_ids: Sequence[str]) -> list[str]:
        """Return the ids of jobs in the caller's queues, in order.

        Without a limit that is every id. With one, an id that no job has is left out,
        so that jobs elsewhere and jobs nowhere look the same.

        Raises:
            InvalidInputError: Too many ids, or one that cannot be an id.
        """
        if self.queues is None:
            return list(job_ids)
        asked = distinct_ids(job_ids)
        found = set(self._storage.job_reader.ids_in(asked, sorted(self.queues)))
        return [job_id for job_id in asked if job_id in found]
