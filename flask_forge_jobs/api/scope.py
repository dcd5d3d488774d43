"""The queues a caller is limited to: one rule for every view.

A principal with ``queues`` sees and changes only those; None means all, an empty set
none. :class:`~flask_forge_jobs.api.routes.Reach` says where a route enforces this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from werkzeug.exceptions import Forbidden

from flask_forge_jobs.errors import (
    BatchNotFoundError,
    InvalidInputError,
    JobNotFoundError,
)
from flask_forge_jobs.handlers.batches import known_batch
from flask_forge_jobs.handlers.job_actions import distinct_ids
from flask_forge_jobs.handlers.jobs import require_possible_id
from flask_forge_jobs.model.jobs import MAX_BULK_JOBS, JobFilter
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.routing import Router

OTHER_QUEUE_MESSAGE = "this credential is limited to other queues"
NO_QUEUE_MESSAGE = "this credential has no queues"
CLUSTER_MESSAGE = "this credential is limited to some queues; this needs all of them"


class Scope:
    """The queues of one caller; None means all.

    Methods that take a queue raise Forbidden if it is not the caller's, whether it
    exists or not.
    """

    def __init__(self, queues: frozenset[str] | None, storage: Storage) -> None:
        self.queues = queues
        self._storage = storage

    def allows(self, queue_name: str) -> bool:
        """Return whether the caller may know of a queue."""
        return self.queues is None or queue_name in self.queues

    def require(self, queue_name: str) -> None:
        """Check that a queue is the caller's."""
        if not self.allows(queue_name):
            raise Forbidden(OTHER_QUEUE_MESSAGE)

    def router(self, router: Router) -> Router:
        """Return a router that refuses queues that are not the caller's."""

        def route(kind: str) -> str:
            queue_name = router(kind)
            self.require(queue_name)
            return queue_name

        return route

    @property
    def has_own_keys(self) -> bool:
        """Whether the caller's dedupe keys belong to the queue of the job."""
        return self.queues is not None

    def require_job(self, job_id: str) -> None:
        """Raise JobNotFoundError if a job is not in one of the caller's queues."""
        if self.queues is None:
            return
        require_possible_id(job_id)
        if not self.own([job_id]):
            raise JobNotFoundError(job_id)

    def one(self, queue_name: str | None) -> str | None:
        """Return the queue of a request; None means every queue.

        Raises:
            Forbidden: The caller has no queue.
            InvalidInputError: No queue is named and the caller has several.
        """
        if queue_name is not None:
            self.require(queue_name)
        if queue_name is not None or self.queues is None:
            return queue_name
        if len(self.queues) > 1:
            raise InvalidInputError(
                "queue_name", "is required for a limited credential"
            )
        if not self.queues:
            raise Forbidden(NO_QUEUE_MESSAGE)
        return next(iter(self.queues))

    def names(self, queue_names: Sequence[str] | None = None) -> Sequence[str] | None:
        """Return the queues of a request; None means every queue.

        No names mean all queues of the caller, which may be none.
        """
        for queue_name in queue_names or ():
            self.require(queue_name)
        if queue_names:
            return tuple(queue_names)
        return None if self.queues is None else tuple(sorted(self.queues))

    def limit(self, job_filter: JobFilter) -> JobFilter:
        """Return a filter that matches only jobs in the caller's queues."""
        return replace(job_filter, queues=self.names(job_filter.queues))

    def require_parents(self, ids: Iterable[str]) -> None:
        """Check that jobs and batches to wait for are of the caller's queues.

        Raises:
            JobNotFoundError: One is not, or does not exist.
        """
        if self.queues is None:
            return
        asked = sorted(set(ids))
        for start in range(0, len(asked), MAX_BULK_JOBS):
            piece = asked[start : start + MAX_BULK_JOBS]
            for other in sorted(set(piece) - set(self.own(piece))):
                try:
                    known_batch(self._storage, other, self.queues)
                except BatchNotFoundError:
                    raise JobNotFoundError(other) from None

    def own(self, job_ids: Sequence[str]) -> list[str]:
        """Return the ids of jobs in the caller's queues, in order.

        A caller without a limit gets every id. For others, ids of missing jobs are left
        out, so that they look like jobs in other queues.
        """
        if self.queues is None:
            return list(job_ids)
        asked = distinct_ids(job_ids)
        visible = set(self._storage.job_reader.ids_in(asked, sorted(self.queues)))
        return [job_id for job_id in asked if job_id in visible]
