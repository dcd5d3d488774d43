"""Ends the runs whose worker fell silent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import RunningJob, append_entry
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import QueueSettings, failure_delay_s
from flask_forge_jobs.model.run_end import RunEnd, end_of_lost_run
from flask_forge_jobs.storage.database import (
    NO_FAULT_OF_ROWS,
    Executor,
    Parameter,
    Row,
    Transaction,
    encode_rows,
)
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore, Made
from flask_forge_jobs.storage.limits import release_waiters
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.rows import queue_from_row

logger = get_logger(__name__)

RESCUE_BATCH = 200
# Jobs that shared a second crash come back one by one: together, the jobs beside a
# poison pill would share its third crash too, and die.
SUSPECT_SPACING_S = 1.0


class Rescuer:
    """Rescues jobs in batches."""

    def __init__(
        self,
        database: Executor,
        clock: Clock,
        jitter: Callable[[], float] | None,
        follow_ups: FollowUpStore,
        recorder: Recorder | None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._jitter = jitter
        self._follow_ups = follow_ups
        self._recorder = recorder

    def rescue(self, observed: Iterable[RunningJob]) -> int:
        """Rescue jobs; see :meth:`JobQueue.rescue`."""
        jobs = {job.id: job for job in observed}
        ids = list(jobs)
        rescued = 0
        failed: list[str] = []
        for start in range(0, len(ids), RESCUE_BATCH):
            for piece in self._follow_ups.in_pieces(ids[start : start + RESCUE_BATCH]):
                try:
                    rescued += self._rescue_together([jobs[job_id] for job_id in piece])
                except NO_FAULT_OF_ROWS:
                    raise
                except Exception:  # noqa: BLE001  # perhaps of one of them
                    failed += piece
        return rescued + self._rescue_singly([jobs[job_id] for job_id in failed])

    def _rescue_singly(self, jobs: Sequence[RunningJob]) -> int:
        rescued = 0
        failed: dict[str, Exception] = {}
        for job in jobs:
            try:
                rescued += self._rescue_together([job])
            except NO_FAULT_OF_ROWS:
                raise
            except Exception as error:  # noqa: BLE001  # must not block the others
                failed[job.id] = error
        if failed:  # one line, however many
            first = next(iter(failed.values()))
            logger.error("cannot rescue jobs %s", ", ".join(failed), exc_info=first)
        return rescued

    def _rescue_together(self, jobs: Sequence[RunningJob]) -> int:
        rescued, followed = self._database.write(
            lambda tx: rescue_jobs(
                tx, jobs, self._clock.now_us(), self._jitter, self._follow_ups
            )
        )
        self._follow_ups.count(followed)
        if self._recorder is not None:
            for queue_name, kind, ending in rescued:
                self._recorder.rescued(queue_name, kind, ending)
        return len(rescued)


class Rescued(NamedTuple):
    """A job that waits again, if ``ending`` is None, or that ended."""

    queue_name: str
    kind: str
    ending: Ending | None


def rescue_jobs(
    transaction: Transaction,
    observed: Sequence[RunningJob],
    at_us: int,
    jitter: Callable[[], float] | None,
    follow_ups: FollowUpStore,
) -> tuple[list[Rescued], Made]:
    """Rescue the jobs that have not changed since they were observed.

    Returns them and the follow-up jobs that were stored.
    """
    seen: list[dict[str, Parameter]] = [
        {"job_id": job.id, "run": job.attempts, "seen_at": job.heartbeat_at_us}
        for job in observed
    ]
    stale = transaction.all("lock_stale", rows=encode_rows(seen))
    if not stale:
        return [], ()
    queues: dict[str, QueueSettings] = {}
    for name in sorted({row[1] for row in stale}):
        rows = transaction.all("get_queue", name=name)
        queues[name] = queue_from_row(rows[0]) if rows else QueueSettings(name)
        transaction.wake(name)
    suspects = 0
    rescued = []
    ends: dict[str, RunEnd] = {}
    for row in stale:
        is_suspect = row[4] > 0
        wait_s = suspects * SUSPECT_SPACING_S if is_suspect else 0.0
        suspects += is_suspect
        ends[row[0]], parameters = _rescued(row, queues[row[1]], at_us, jitter, wait_s)
        rescued.append(parameters)
    kinds = {row[0]: (row[1], row[7]) for row in stale}
    changed = transaction.all("rescue", rows=encode_rows(rescued))
    release_waiters(transaction, [key for _, key in changed if key])
    made: list[tuple[str, str]] = []
    for ending in Ending:
        ids = [job_id for job_id, _ in changed if ends[job_id].ending is ending]
        made += follow_ups.store_declared(transaction, ids, ending)
    return [Rescued(*kinds[job_id], ends[job_id].ending) for job_id, _ in changed], made


def _rescued(
    row: Row,
    queue: QueueSettings,
    at_us: int,
    jitter: Callable[[], float] | None,
    wait_s: float,
) -> tuple[RunEnd, dict[str, Parameter]]:
    job_id, _, attempts, max_attempts, crashes, history, asked_at, _, reason = row
    end, message = end_of_lost_run(
        attempts=attempts,
        max_attempts=max_attempts,
        crashes=crashes,
        is_asked=asked_at is not None,
        cancel_reason=reason,
    )
    delay_us = None
    if end is RunEnd.FAILED:
        delay_us = int((failure_delay_s(attempts, queue, jitter) + wait_s) * SECOND_US)
    return end, {
        "job_id": job_id,
        "run": attempts,
        "new_status": JobStatus.FAILED if end is RunEnd.FAILED else JobStatus.DEAD,
        "delay_us": delay_us,
        "error": message,
        "history": append_entry(
            history, at_us=at_us, attempt=attempts, message=message
        ),
    }
