"""Makes batches of jobs and adds jobs to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.batches import known_batch, require_known
from flask_forge_jobs.handlers.job_actions import (
    NO_LIMITS,
    NO_TASKS,
    Admission,
    EnqueueReport,
)
from flask_forge_jobs.model.batches import BatchEvent, CreatedBatch, NewBatch
from flask_forge_jobs.model.bounds import (
    DEFAULT_MAX_ATTEMPTS,
    MAX_ATTEMPTS_RANGE,
    NAME_LENGTH,
    PRIORITY_RANGE,
    check_integer,
    check_job_id,
    check_kind,
    check_queue_name,
    check_text,
)
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import FollowUp
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import Router

# Of the task at an event whose function is not known here.
DEFAULT_PARAMETER = "ended"


def new_batch(
    *,
    name: str,
    data: object = None,
    follow_ups: Mapping[BatchEvent, FollowUp],
    cancel_on_dead: bool = False,
    within: str | None = None,
    queues: Collection[str] = (),
) -> NewBatch:
    """Return a batch to create; the arguments are those of :class:`.NewBatch`.

    ``data`` is any JSON value, a string included.
    """
    return NewBatch(
        name,
        dump(data, "data"),
        follow_ups,
        cancel_on_dead=cancel_on_dead,
        within=within,
        queues=queues,
    )


def follow_up(
    field: str,
    *,
    kind: str,
    router: Router,
    registry: TaskRegistry | None = None,
    parameter: str | None = None,
    queue_name: str | None = None,
    priority: int | None = None,
    max_attempts: int | None = None,
) -> FollowUp:
    """Return the job of an event of a batch, as a request describes it.

    What it leaves out is that of the task, if it is known here. ``parameter`` is the
    name under which the payload has the batch that ended; default ``ended``.

    Raises:
        InvalidInputError: A value is out of bounds, or the task does not take one
            argument; ``field`` comes before its name.
    """
    try:
        check_kind(kind)
        task = (NO_TASKS if registry is None else registry).get(kind)
        if isinstance(task, Task):
            usual = task.as_follow_up()
        else:
            queue = check_queue_name(router(kind)) if queue_name is None else queue_name
            usual = FollowUp(kind, DEFAULT_PARAMETER, queue, 0, DEFAULT_MAX_ATTEMPTS)
        changes: dict[str, Any] = {
            "parameter": parameter,
            "queue_name": queue_name,
            "priority": priority,
            "max_attempts": max_attempts,
        }
        given = {key: value for key, value in changes.items() if value is not None}
        chosen = usual._replace(**given)
        check_text("parameter", chosen.parameter, NAME_LENGTH)
        check_queue_name(chosen.queue_name)
        check_integer("priority", chosen.priority, *PRIORITY_RANGE)
        check_integer("max_attempts", chosen.max_attempts, *MAX_ATTEMPTS_RANGE)
    except InvalidInputError as error:
        raise InvalidInputError(f"{field}.{error.field}", error.message) from error
    return chosen


def create(
    storage: Storage,
    new: NewBatch,
    jobs: Sequence[NewJob] = (),
    admission: Admission = NO_LIMITS,
    *,
    ids: Sequence[str] | None = None,
    is_sealed: bool = True,
    key: RequestKey | None = None,
) -> CreatedBatch:
    """Store a batch and its first jobs, all or none.

    The request key makes a repeated request safe for one day; its operation names all
    that is asked for. ``ids`` come from :func:`placed`.

    Raises:
        BatchNotFoundError: There is no batch ``within`` which it could be.
        BatchEndedError: That one has ended or is cancelled.
        JobNotFoundError: There is no job, and no batch, that one of the jobs waits for.
        DuplicateJobError: A job of another kind holds a dedupe key.
        RequestKeyReusedError: The request key was used for something else.
        QueueNotFoundError: A queue is not registered, and queues are strict.
        QueueFullError: Too many jobs wait in a queue.
    """
    if new.within is not None and admission.queues is not None:
        known_batch(storage, new.within, admission.queues)
    at_events = [
        (event, NewJob(each.kind, queue_name=each.queue_name))
        for event, each in (new.follow_ups or {}).items()
    ]
    admission.check(
        storage,
        [*jobs, *(job for _, job in at_events)],
        [*_places(jobs), *(event.value for event, _ in at_events)],
    )
    return storage.batches.create(
        new,
        jobs,
        ids=ids,
        is_sealed=is_sealed,
        key=key,
        max_waiting=admission.max_waiting,
    )


def placed(
    storage: Storage, requests: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return requests for jobs that may wait for one another, and the ids of the jobs.

    A number in ``after`` is the place of an earlier job of the same request, from 0; it
    becomes the id of that job.

    Raises:
        InvalidInputError: There is no earlier job at a place, or an id is none.
    """
    others = [
        check_job_id(each, f"jobs[{index}].after")
        for index, request in enumerate(requests)
        for each in request.get("after") or ()
        if not isinstance(each, int)
    ]
    ids = storage.batches.mint(len(requests), above_all=others)
    return [
        dict(request) | {"after": _ids_in(request.get("after"), ids[:index], index)}
        for index, request in enumerate(requests)
    ], ids


def _places(jobs: Sequence[NewJob]) -> list[str]:
    return [f"jobs[{index}]" for index in range(len(jobs))]


def _ids_in(
    after: Sequence[object] | None, earlier: Sequence[str], index: int
) -> list[str] | None:
    if after is None:
        return None
    ids = []
    for each in after:
        if isinstance(each, int) and not 0 <= each < len(earlier):
            raise InvalidInputError(
                f"jobs[{index}].after", f"{each} is not the place of an earlier job"
            )
        ids.append(earlier[each] if isinstance(each, int) else str(each))
    return ids


def add_jobs(
    storage: Storage,
    batch_id: str,
    jobs: Sequence[NewJob],
    admission: Admission = NO_LIMITS,
    *,
    ids: Sequence[str] | None = None,
    key: RequestKey | None = None,
) -> EnqueueReport:
    """Add jobs to a batch that has not ended, all or none; see :func:`create`.

    Raises:
        BatchNotFoundError: No batch that the caller may know has this id.
        BatchEndedError: The batch has ended or is cancelled.
    """
    require_known(storage, batch_id, admission.queues)
    admission.check(storage, jobs, _places(jobs))
    results = storage.batches.add(
        batch_id, jobs, ids=ids, key=key, max_waiting=admission.max_waiting
    )
    return EnqueueReport(results)
