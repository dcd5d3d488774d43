"""LinkStore: what a job waits for, and what waits for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from flask_forge_jobs.errors import JobNotFoundError, JobStateError
from flask_forge_jobs.model.batches import queues_of
from flask_forge_jobs.model.jobs import Job, JobStatus
from flask_forge_jobs.model.links import MAX_PARENTS, LinkEnd, OnParentDead
from flask_forge_jobs.model.ties import NO_TIES, Dependent, JobTies, Parent
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.rows import job_from_row
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
            if not rows:
                raise JobNotFoundError(job_id)
            transaction.defer("release_links", id=job_id)
            if not free(transaction, [job_id]):
                raise JobStateError(job_id, JobStatus(rows[0][0]))

        self._database.write(work)
        return None


def _parent(row: Row) -> Parent:
    parent_id, kind, on_dead, ended, result, error, queue_name, status = row
    return Parent(
        id=parent_id,
        kind=kind,
        on_parent_dead=OnParentDead(on_dead),
        ended=_of(LinkEnd, ended),
        result=result,
        error=error,
        queue_name=queue_name,
        status=_of(JobStatus, status),
    )


def _dependent(row: Row) -> Dependent:
    child_id, kind, queue_name, status, on_dead, ended, start_at = row
    return Dependent(
        id=child_id,
        kind=kind,
        queue_name=queue_name,
        status=JobStatus(status),
        on_parent_dead=OnParentDead(on_dead),
        ended=_of(LinkEnd, ended),
        is_waiting=status == JobStatus.PENDING.value and start_at is not None,
    )


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


def _of(choice: Any, text: str | None) -> Any:
    return None if text is None else choice(text)
