"""Rules that explain a job by others: those for which it waits, and its batch."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.handlers.attention.ties import release_of, retry_of
from flask_forge_jobs.handlers.explain_case import JobCase, first_of, quoted
from flask_forge_jobs.model.evidence import DELETED, KnownParent
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.sentences import Action, Sentence, count

_STATES = {
    JobStatus.PENDING.value: "which has not started",
    JobStatus.FAILED.value: "which will be tried again",
    JobStatus.IN_PROGRESS.value: "which runs",
    # Retried meanwhile, or since the other one died with it.
    JobStatus.DONE.value: "which is done by now",
    JobStatus.DEAD.value: "which is dead",
    DELETED: "which was deleted",
}


def held(case: JobCase) -> Sentence | None:
    """A job or a batch that it waits for is dead, and it waits for its retry."""
    if not _waits_for_jobs(case):
        return None
    dead = [each for each in case.around.parents if each.has_died]
    if not dead:
        return None
    job, known = case.job, _known(case, dead)
    text = f"{case.name} is on hold: it waits for {_in_words(case, dead)}."
    evidence = {
        "waiting_for": job.waiting_for,
        "start_at": job.start_at,
        "parents": _named(case, dead),
    }
    action = release_of(job.id)
    if len(dead) == 1 and known and dead[0].status != DELETED:
        action = retry_of(dead[0].id, is_batch=dead[0].is_batch)
    return Sentence("held", text, evidence, action)


def waits_for_jobs(case: JobCase) -> Sentence | None:
    """Jobs or batches that it waits for have not ended."""
    if not _waits_for_jobs(case):
        return None
    job, parents = case.job, case.around.parents
    # They may have ended between two reads.
    others = count(job.waiting_for, "other job", "other jobs")
    if parents:
        named = _in_words(case, parents)
        others = named if len(parents) == 1 else f"{others}: {named}"
    evidence = {
        "waiting_for": job.waiting_for,
        "start_at": job.start_at,
        "parents": _named(case, parents),
    }
    text = f"{case.name} waits for {others}."
    return Sentence("waits_for_jobs", text, evidence, release_of(job.id))


def died_with_parent(case: JobCase) -> Sentence | None:
    """A job or a batch that it waited for ended without being done, and it with it."""
    job, parents = case.job, case.around.parents
    if job.start_at is None or not parents:
        return None
    ended = case.ago(job.completed_at or case.now)
    text = (
        f"{case.name} never ran: it has been dead for {ended}, as it waited for "
        f"{_in_words(case, parents)}."
    )
    evidence = {
        "completed_at": job.completed_at,
        "error": job.last_error,
        "parents": _named(case, parents),
    }
    action = Action("POST", f"/v1/jobs/{job.id}/retry", "Retry it alone")
    first = parents[0]
    is_dead = first.status == JobStatus.DEAD.value and not first.is_batch
    if len(parents) == 1 and is_dead and _known(case, parents):
        path = f"/v1/jobs/{first.id}/retry?dependents=1"
        action = Action("POST", path, "Retry both")
    return Sentence("died_with_parent", text, evidence, action)


def cancelled_with_batch(case: JobCase) -> str:
    """Return that the batch of a cancelled job was cancelled, as the end of a text."""
    batch, asked_at = case.around.batch, case.job.cancel_requested_at
    # The caller may not know all queues of the batch.
    if batch is None or case.is_limited or asked_at is None:
        return ""
    if asked_at < batch.cancelled_at:
        return ""
    return f" with its batch {batch.id} ({one_line(batch.name)})"


def batch_of(case: JobCase) -> dict[str, object]:
    """Return the cancelled batch of a job as evidence."""
    batch = case.around.batch
    if batch is None or case.is_limited:
        return {}
    return {"batch": {"id": batch.id, "name": batch.name}}


def _waits_for_jobs(case: JobCase) -> bool:
    return case.job.status is JobStatus.PENDING and case.job.start_at is not None


def _known(case: JobCase, parents: Sequence[KnownParent]) -> list[KnownParent]:
    """Return those that the caller may know; a batch may have jobs in all queues."""
    return [each for each in parents if _may_know(case, each)]


def _may_know(case: JobCase, parent: KnownParent) -> bool:
    if parent.queue_name is None:
        return not case.is_limited
    return case.may_know(parent.queue_name)


def _in_words(case: JobCase, parents: Sequence[KnownParent]) -> str:
    return first_of([_words(each) for each in _known(case, parents)], len(parents))


def _words(parent: KnownParent) -> str:
    noun = "batch" if parent.is_batch else "job"
    name = f" ({one_line(parent.name)})" if parent.name else ""
    state = _STATES.get(parent.status, "which has not ended")
    error = f", “{quoted(parent.error)}”" if parent.error else ""
    return f"{noun} {parent.id}{name}, {state}{error}"


def _named(case: JobCase, parents: Sequence[KnownParent]) -> list[dict[str, object]]:
    return [
        {
            "id": each.id,
            "queue": each.queue_name,
            "kind": None if each.is_batch else each.name,
            "batch": each.name if each.is_batch else None,
            "status": each.status,
            "error": each.error,
        }
        for each in _known(case, parents)
    ]
