"""LinkStore: what a job waits for, and what waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from flask_forge_jobs.errors import JobNotFoundError, JobStateError
from flask_forge_jobs.model.batches import queues_of
from flask_forge_jobs.model.bounds import Choice
from flask_forge_jobs.model.jobs import Job, JobStatus
from flask_forge_jobs.model.links import MAX_PARENTS, LinkEnd, OnParentDead
from flask_forge_jobs.model.ties import NO_TIES, Dependent, JobTies, Parent
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.rows import first_row, job_from_row, reader_of
from flask_forge_jobs.storage.ties.links import free

TIES = 3
"""Columns of the fragment ``ties_of_job``."""


class LinkStore:
    """Reads the links of jobs, and releases jobs that wait."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def of_job(self, job_id: str) -> JobTies:
        """Return the first hundred parents and dependents of a job, by id."""

        def work(transaction: Transaction) -> JobTies:
            parents = transaction.all("parents_of_job", id=job_id, limit=MAX_PARENTS)
            dependents = transaction.all(
                "dependents_of_job", id=job_id, limit=MAX_PARENTS
            )
            return JobTies(
                tuple(map(_parent, parents)), tuple(map(_dependent, dependents))
            )

        return self._database.read(work)

    def parents_of(self, job_id: str) -> tuple[Parent, ...]:
        """Return the parents of a job, by id."""
        rows = self._database.read_all("parents_of_job", id=job_id, limit=MAX_PARENTS)
        return tuple(map(_parent, rows))

    def release(self, job_id: str) -> Job | None:
        """Let a job wait for no other one: it is due once its own time has come.

        Returns the job where the change has read it.

        Raises:
            JobNotFoundError: No job has this id.
            JobStateError: The job does not wait for others.
        """
        if self._database.backend == "postgres":  # where it would take several trips
            rows = self._database.at_once("release_waiting", 1, id=job_id)
            for _, queue_name, _, row, _ in rows:
                if row is None:  # of a first try, whose answer was lost
                    return None
                self._database.wake(queue_name)
                return job_from_row(json.loads(row))

        def work(transaction: Transaction) -> None:
            rows = transaction.all("lock_job", id=job_id)
            (status,) = first_row(rows, JobNotFoundError, job_id)
            transaction.defer("release_links", id=job_id)
            if not free(transaction, [job_id]):
                raise JobStateError(job_id, JobStatus(status))

        self._database.write(work)
        return None


def _optional(choice: type[Choice]) -> Callable[[str | None], Choice | None]:
    return lambda text: None if text is None else choice(text)


_parent = reader_of(
    Parent,
    "status",
    on_parent_dead=OnParentDead,
    ended=_optional(LinkEnd),
    status=_optional(JobStatus),
)
_dependent_from_row = reader_of(
    Dependent, status=JobStatus, on_parent_dead=OnParentDead, ended=_optional(LinkEnd)
)


def _dependent(row: Row) -> Dependent:
    *_, status, _, _, start_at = row
    is_waiting = status == JobStatus.PENDING.value and start_at is not None
    return _dependent_from_row((*row[:-1], is_waiting))


def ties_of(row: Row) -> JobTies:
    """Return the ties of a job from the columns of ``ties_of_job``."""
    queues, parents, dependents = row
    if queues is None and parents is None and dependents is None:
        return NO_TIES
    return JobTies(
        tuple(
            replace(_parent(tuple(each)), queues=queues_of(of_batch or ""))
            for *each, of_batch in json.loads(parents or "[]")
        ),
        tuple(_dependent(tuple(each)) for each in json.loads(dependents or "[]")),
        queues_of(queues or ""),
    )
