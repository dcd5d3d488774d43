"""Works on a bulk run: walks over its jobs, batch by batch, from its place on."""

from __future__ import annotations

import json
from collections.abc import Callable

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.bulk import JobAction, WalkPosition
from flask_forge_jobs.model.bulk_runs import BulkRun, BulkRunState, filter_of
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.bulk_runs import RunBatches, RunLostError

logger = get_logger(__name__)

# The stored place of a walk that has visited every job.
_END = "end"
# Each of their steps is one transaction, which can store the place, too. The others
# leave the states that they take, so a repeated step finds none of its jobs.
_IN_ONE = frozenset((JobAction.DELETE, JobAction.RUN_NOW, JobAction.RESCHEDULE))


def work_on(
    storage: Storage, run_id: str, holder: str, is_over: Callable[[], bool]
) -> bool:
    """Work on a run until it ends or ``is_over``; return whether it goes on.

    Another holder's run is left alone until its lease lapses.

    Raises:
        StorageError: The database does not answer; the run goes on later.
    """
    runs = storage.bulk_runs
    if not runs.take(run_id, holder):
        return False
    try:
        run = runs.get(run_id)
        batches = RunBatches(storage.database, run, holder)
        if not _walk(storage, run, batches, is_over):
            return True
    except RunLostError:
        return False
    except StorageError:
        raise
    except Exception as error:
        logger.exception("bulk run %s failed", run_id)
        message = storage.masking.text(f"{type(error).__name__}: {error}")
        runs.end(run_id, holder, BulkRunState.FAILED, message)
        return False
    runs.end(run_id, holder, BulkRunState.DONE)
    return False


def _walk(
    storage: Storage, run: BulkRun, batches: RunBatches, is_over: Callable[[], bool]
) -> bool:
    """Act on the rest of the jobs; return whether every one was visited."""
    if run.place == _END:
        return True
    after = None if run.place is None else _position(run.place)
    job_filter, is_in_one = filter_of(run.jobs), run.action in _IN_ONE
    admin = storage.within(batches).job_admin

    def hold(position: WalkPosition | None) -> None:
        batches.place = _place(position) if is_in_one else None

    while not is_over():
        step = admin.step(
            run.action, job_filter, after=after, run_at=run.run_at, on_picked=hold
        )
        batches.place = _place(step.position)
        storage.bulk_runs.advance(batches, len(step.change.skipped))
        after = step.position
        if after is None:
            return True
    return False


def _place(position: WalkPosition | None) -> str:
    return _END if position is None else json.dumps(list(position))


def _position(place: str) -> WalkPosition:
    status, *rest = json.loads(place)
    return WalkPosition(JobStatus(status), *rest)
