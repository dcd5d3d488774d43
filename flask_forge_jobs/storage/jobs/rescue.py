"""What becomes of a job whose worker process has fallen silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from flask_forge_jobs.model.claims import RunningJob
from flask_forge_jobs.model.error_history import append_entry
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import (
    CANCELLED_MESSAGE,
    MAX_CRASHES,
    REAPED_MESSAGE,
)
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.retry_delay import failure_delay_s
from flask_forge_jobs.storage.database import Parameter, Row, Transaction, encode_rows
from flask_forge_jobs.storage.rows import queue_from_row
from flask_forge_jobs.storage.seats import let_in

# Jobs that were together in a second crash come back one by one: if they came together
# again, those beside a poison pill would share its third crash and its fate.
SUSPECT_SPACING_S = 1.0


class Rescued(NamedTuple):
    """A job that was given back, or that ended."""

    queue_name: str
    kind: str
    status: JobStatus


def rescue_jobs(
    transaction: Transaction,
    observed: Sequence[RunningJob],
    at_us: int,
    jitter: Callable[[], float] | None,
) -> list[Rescued]:
    """Give back the jobs that still are as they were seen; return those.

    Args:
        transaction: An open transaction.
        observed: Jobs with the heartbeat that did not move.
        at_us: Stamp for the error history, microseconds since the epoch.
        jitter: Spreads the retries.
    """
    seen: list[dict[str, Parameter]] = [
        {"job_id": job.id, "run": job.attempts, "seen_at": job.heartbeat_at_us}
        for job in observed
    ]
    stale = transaction.all("lock_stale", rows=encode_rows(seen))
    if not stale:
        return []
    queues: dict[str, QueueSettings] = {}
    for name in sorted({row[1] for row in stale}):
        rows = transaction.all("get_queue", name=name)
        queues[name] = queue_from_row(rows[0]) if rows else QueueSettings(name)
        transaction.wake(name)
    suspects = 0
    rescued = []
    for row in stale:
        is_suspect = row[4] > 0
        wait_s = suspects * SUSPECT_SPACING_S if is_suspect else 0.0
        suspects += is_suspect
        rescued.append(_rescued(row, queues[row[1]], at_us, jitter, wait_s))
    kinds = {row[0]: (row[1], row[7]) for row in stale}
    statuses = {row["job_id"]: JobStatus(str(row["new_status"])) for row in rescued}
    changed = transaction.all("rescue", rows=encode_rows(rescued))
    let_in(transaction, [seat for _, seat in changed if seat])
    return [Rescued(*kinds[job_id], statuses[job_id]) for job_id, _ in changed]


def _rescued(
    row: Row,
    queue: QueueSettings,
    at_us: int,
    jitter: Callable[[], float] | None,
    wait_s: float,
) -> dict[str, Parameter]:
    job_id, _, attempts, max_attempts, crashes, history, cancel_requested_at, _ = row
    if cancel_requested_at is not None:
        status, message = JobStatus.DEAD, CANCELLED_MESSAGE
    elif crashes + 1 >= MAX_CRASHES:
        status = JobStatus.DEAD
        message = f"{REAPED_MESSAGE}: its worker process died {crashes + 1} times"
    else:
        status = JobStatus.FAILED if attempts < max_attempts else JobStatus.DEAD
        message = REAPED_MESSAGE
    delay_us = None
    if status is JobStatus.FAILED:
        delay_s = failure_delay_s(attempts, queue, jitter) + wait_s
        delay_us = int(delay_s * SECOND_US)
    return {
        "job_id": job_id,
        "run": attempts,
        "new_status": status.value,
        "delay_us": delay_us,
        "error": message,
        "history": append_entry(
            history, at_us=at_us, attempt=attempts, message=message
        ),
    }
