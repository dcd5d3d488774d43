"""Ends the runs whose worker fell silent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.attempts import AttemptEnding
from flask_forge_jobs.model.claims import RunningJob, append_entry
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import QueueSettings, failure_delay_s
from flask_forge_jobs.model.run_end import RunEnd, end_of_lost_run
from flask_forge_jobs.model.signatures import signature
from flask_forge_jobs.model.workers import slot_number
from flask_forge_jobs.storage.database import (
    NO_FAULT_OF_ROWS,
    Executor,
    Parameter,
    Transaction,
    encode_rows,
)
from flask_forge_jobs.storage.jobs.attempts import AttemptRow, store_attempts
from flask_forge_jobs.storage.jobs.failures import Failure, store_failures
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore
from flask_forge_jobs.storage.limits import release_waiters
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.rows import queue_from_row
from flask_forge_jobs.storage.ties.settlement import EnqueuedKinds, Settled, Settlement
from flask_forge_jobs.storage.ties.turns import Fate, Turn, turns_of

logger = get_logger(__name__)

# Of a run that may not have started, the attempt is given back as one more to come, so
# that no two runs have the same number.
_STATUSES = {RunEnd.FAILED: JobStatus.FAILED, RunEnd.RELEASED: JobStatus.PENDING}
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
        recorder: Recorder,
        *,
        settlement: Settlement,
    ) -> None:
        self._settlement = settlement
        self._database = database
        self._clock = clock
        self._jitter = jitter
        self._follow_ups = follow_ups
        self._recorder = recorder
        self._named: set[str] = set()

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
        if new := [job_id for job_id in failed if job_id not in self._named]:
            # One line, however many, and not at each sweep.
            names, first = ", ".join(new), failed[new[0]]
            logger.error("cannot rescue jobs %s", names, exc_info=first)
        self._named = set(failed)
        return rescued

    def _rescue_together(self, jobs: Sequence[RunningJob]) -> int:
        def work(transaction: Transaction, *, settled: Settled) -> list[Rescued]:
            rescued, made, turns = rescue_jobs(
                transaction, jobs, self._clock.now_us(), self._jitter, self._follow_ups
            )
            settled.made += made
            self._settlement.settle(transaction, turns, settled)
            return rescued

        rescued, _ = self._settlement.run(work)
        for queue_name, kind, ending in rescued:
            self._recorder.rescued(queue_name, kind, ending)
        return len(rescued)


class LostRun(NamedTuple):
    """A row of ``lock_stale``: a run whose worker fell silent."""

    job_id: str
    queue_name: str
    attempts: int
    max_attempts: int
    crashes: int
    error_history: str | None
    cancel_requested_at_us: int | None
    kind: str
    cancel_reason: str | None
    claim: int
    scheduled_at_us: int
    started_at_us: int | None
    worker_id: str | None
    slot_id: str | None
    is_worker_shown: bool

    @property
    def may_have_waited(self) -> bool:
        """Whether its worker has shown itself, and no slot with this job."""
        is_in_slot = slot_number(self.slot_id, self.queue_name) is not None
        return bool(self.is_worker_shown) and not is_in_slot

    def attempt(self, ending: AttemptEnding, error: str) -> AttemptRow:
        """Return its attempt, which ends now."""
        due_us, started_us = self.scheduled_at_us, self.started_at_us
        return {
            "job_id": self.job_id,
            "run": self.claim,
            "attempt": self.attempts,
            "due_at": due_us,
            "started_at": due_us if started_us is None else started_us,
            "worker_id": self.worker_id,
            "slot": slot_number(self.slot_id, self.queue_name),
            "ending": ending.value,
            "error": error,
        }


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
) -> tuple[list[Rescued], EnqueuedKinds, list[Turn]]:
    """Rescue the jobs that have not changed since they were observed.

    Returns them, the follow-up jobs that were stored, and what remains to be settled.
    """
    seen: list[dict[str, Parameter]] = [
        {"job_id": job.id, "run": job.attempts, "seen_at": job.heartbeat_at_us}
        for job in observed
    ]
    rows = transaction.all("lock_stale", rows=encode_rows(seen))
    stale = [LostRun._make(row) for row in rows]
    if not stale:
        return [], (), []
    queues = _woken_queues(transaction, stale)
    suspects = 0
    ends: dict[str, RunEnd] = {}
    updates, attempts = [], {}
    for run in stale:
        is_suspect = run.crashes > 0
        wait_s = suspects * SUSPECT_SPACING_S if is_suspect else 0.0
        suspects += is_suspect
        queue = queues[run.queue_name]
        end, update, attempt = _ended(run, queue, at_us, jitter, wait_s)
        ends[run.job_id], attempts[run.job_id] = end, attempt
        updates.append(update)
    kinds = {run.job_id: (run.queue_name, run.kind) for run in stale}
    changed = transaction.all("rescue", rows=encode_rows(updates))
    ended = [attempts[row[0]] for row in changed]
    store_attempts(transaction, ended)
    store_failures(transaction, _failures(ended, kinds))
    release_waiters(transaction, [row[1] for row in changed if row[1]])
    made: list[tuple[str, str]] = []
    for ending in Ending:
        ids = [row[0] for row in changed if ends[row[0]].ending is ending]
        made += follow_ups.store_declared(transaction, ids, ending)
    dead = [(i, b, t) for i, _, b, t in changed if ends[i].ending is not None]
    rescued = [Rescued(*kinds[row[0]], ends[row[0]].ending) for row in changed]
    return rescued, made, turns_of(dead, Fate.DEAD)


def _woken_queues(
    transaction: Transaction, stale: Sequence[LostRun]
) -> dict[str, QueueSettings]:
    queues: dict[str, QueueSettings] = {}
    for name in sorted({run.queue_name for run in stale}):
        rows = transaction.all("get_queue", name=name)
        queues[name] = queue_from_row(rows[0]) if rows else QueueSettings(name)
        transaction.wake(name)
    return queues


def _ended(
    run: LostRun,
    queue: QueueSettings,
    at_us: int,
    jitter: Callable[[], float] | None,
    wait_s: float,
) -> tuple[RunEnd, dict[str, Parameter], AttemptRow]:
    """Return the end of a run, the update of its job, and its attempt."""
    end, error, attempt_ending = end_of_lost_run(
        attempts=run.attempts,
        max_attempts=run.max_attempts,
        crashes=run.crashes,
        is_asked=run.cancel_requested_at_us is not None,
        cancel_reason=run.cancel_reason,
        may_have_waited=run.may_have_waited,
    )
    is_failure = end in {RunEnd.FAILED, RunEnd.DEAD}
    shared = signature(error) if is_failure else None
    delay_us = None
    if end is RunEnd.FAILED:
        delay_s = failure_delay_s(run.attempts, queue, jitter) + wait_s
        delay_us = int(delay_s * SECOND_US)
    elif end is RunEnd.RELEASED:
        # Not due for a claim that has read its clock before this transaction.
        delay_us = 1
    update: dict[str, Parameter] = {
        "job_id": run.job_id,
        "run": run.attempts,
        "more_attempts": int(end is RunEnd.RELEASED),
        "new_status": _STATUSES.get(end, JobStatus.DEAD),
        "delay_us": delay_us,
        "error": error,
        "new_signature": shared,
        "history": append_entry(
            run.error_history, at_us=at_us, attempt=run.attempts, message=error
        ),
    }
    return end, update, run.attempt(attempt_ending, error) | {"signature": shared}


def _failures(
    attempts: Sequence[AttemptRow], kinds: Mapping[str, tuple[str, str]]
) -> list[Failure]:
    """Return the attempts that failed; ``kinds`` has queue and kind of each job."""
    return [
        Failure(str(each["signature"]), *kinds[job_id], job_id, str(each["error"]))
        for each in attempts
        if each["signature"] is not None and (job_id := str(each["job_id"]))
    ]
