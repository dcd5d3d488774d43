"""Explains a job or a queue: one sentence, its evidence, and the action that helps.

A sentence is the answer of the first rule that has one. A caller that is limited to
some queues learns nothing of others: their jobs have no name and no number, and of a
kind that is unknown only the kinds of its own queues are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from flask_forge_jobs.errors import MigrationError
from flask_forge_jobs.handlers import explain_jobs, explain_queues
from flask_forge_jobs.handlers.explain_case import Case, JobCase
from flask_forge_jobs.handlers.jobs import require_possible_id
from flask_forge_jobs.handlers.queues import require_possible_name
from flask_forge_jobs.model.evidence import JobFacts
from flask_forge_jobs.model.queues import BEHIND_S, QueueCounts, QueueSettings
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.storage.base import Storage

C = TypeVar("C", bound=Case)


def explain_job(
    storage: Storage, job_id: str, queues: Collection[str] | None = None
) -> Sentence:
    """Explain why a job waits, where it runs, or how it ended.

    ``queues`` are all that the caller may know; None means every queue.

    Raises:
        JobNotFoundError: No job has this id.
    """
    require_possible_id(job_id)
    try:
        job, queue = storage.evidence.job(job_id)
        return explain_facts(storage, job, queue, queues)
    except MigrationError as error:
        return _of_schema(error)


def explain_facts(
    storage: Storage,
    job: JobFacts,
    queue: QueueSettings,
    queues: Collection[str] | None = None,
) -> Sentence:
    """Return the same of a job that was read; the storage is read once more."""
    around = storage.evidence.around_job(job, queues)
    case = JobCase(queue, around, storage.database.known_version, queues, job=job)
    why = _first(explain_jobs.RULES[job.status], case)
    wait = explain_jobs.backs_off(case)
    if wait is None or wait.code == why.code:
        return why
    # What holds its queue up hides why the job would not start anyway.
    also = wait.text.replace(case.name, "The job also", 1)
    return replace(why, text=f"{why.text} {also}")


def explain_queue(
    storage: Storage,
    name: str,
    queues: Collection[str] | None = None,
    *,
    behind_s: float = BEHIND_S,
) -> Sentence:
    """Explain whether the jobs of a queue run, and if not, why.

    Arguments as for :func:`explain_job`; if its oldest due job waits for ``behind_s``,
    the queue is behind.

    Raises:
        QueueNotFoundError: No queue has this name.
    """
    require_possible_name(name)
    try:
        queue, counts, due_at = storage.evidence.queue(name)
        return explain_queue_facts(
            storage, queue, counts, due_at, queues, behind_s=behind_s
        )
    except MigrationError as error:
        return _of_schema(error)


def explain_queue_facts(
    storage: Storage,
    queue: QueueSettings,
    counts: QueueCounts,
    due_at: datetime | None,
    queues: Collection[str] | None = None,
    *,
    behind_s: float = BEHIND_S,
) -> Sentence:
    """Return the same of a queue that was read; the storage is read once more.

    ``due_at`` is when its oldest due job became due.
    """
    around = storage.evidence.around_queue(queue.name)
    known = storage.database.known_version
    case = Case(queue, around, known, queues, counts, due_at, behind_s)
    return _first(explain_queues.RULES, case)


def _first(rules: Iterable[Callable[[C], Sentence | None]], case: C) -> Sentence:
    for rule in rules:
        sentence = rule(case)
        if sentence is not None:
            return sentence
    raise AssertionError("the last rule always has a sentence")


def _of_schema(error: MigrationError) -> Sentence:
    return Sentence("schema_misfit", f"The schema does not fit: {error}.", {})
