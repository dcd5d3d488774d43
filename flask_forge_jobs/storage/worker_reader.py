"""Reads the workers, lost ones included, with their present and past jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from flask_forge_jobs.model.instants import (
    MILLISECOND_US,
    SECOND_US,
    from_micros,
    optional_from_micros,
)
from flask_forge_jobs.model.metrics import SAMPLE_LEVELS
from flask_forge_jobs.model.worker_details import (
    Burden,
    KnownWorker,
    LongRun,
    QueueLoad,
    RescuedJob,
    SlotRun,
    WorkerUse,
)
from flask_forge_jobs.model.workers import LOST_KEPT_S, slot_number
from flask_forge_jobs.storage.database import Executor, Row, encode_names, in_queues
from flask_forge_jobs.storage.rows import reader_of

MAX_WORKERS = 5000
# Runs, and rescued jobs, of all workers of one read.
MAX_RUNS = 5000
_KEPT_US = int(LOST_KEPT_S * SECOND_US)
# A worker writes its sample once a minute, into the bucket of the minute.
_SAMPLE_AGE_US = 3 * SAMPLE_LEVELS[0] * SECOND_US
_known_from_row = reader_of(
    KnownWorker,
    queues=lambda names: tuple(names.split(",")) if names else (),
    heartbeat_at=from_micros,
    started_at=from_micros,
    lost_at=optional_from_micros,
    heartbeat_age_s=lambda age_us: age_us / SECOND_US,
)


class WorkerReader:
    """Reads workers for operators; each method is one round trip."""

    def __init__(self, database: Executor) -> None:
        self._database = database

    def known(self) -> list[KnownWorker]:
        """Return the last started workers, live, late and lost, at most 5,000."""
        rows = self._database.read_one(
            "known_workers", kept_us=_KEPT_US, limit=MAX_WORKERS
        )
        return [_known_from_row(row) for row in rows]

    def burden(
        self,
        worker_ids: Sequence[str],
        queue_names: Sequence[str] | None = None,
        *,
        counts_claimed: bool = False,
    ) -> Burden:
        """Return the workers' present and past jobs in some queues; None means all.

        ``counts_claimed`` also reads all jobs that they have claimed.

        Of more than 5,000 runs the oldest are read, of more than 5,000 rescued jobs the
        newest.
        """
        rows = self._database.read_one(
            "burden",
            rows=encode_names("worker_id", worker_ids),
            **in_queues(queue_names),
            counts_claimed=counts_claimed,
            kept_us=_KEPT_US,
            level=SAMPLE_LEVELS[0],
            age_us=_SAMPLE_AGE_US,
            limit=MAX_RUNS,
        )
        parts: defaultdict[str, list[Row]] = defaultdict(list)
        for part, *values in rows:
            parts[part].append(tuple(values))
        return _burden(parts)

    def longest_runs(
        self, limit: int, queue_names: Sequence[str] | None = None
    ) -> list[LongRun]:
        """Return the jobs in slots of some queues, the longest first; None means all.

        Workers that have fallen silent are included: their jobs are in progress until
        another worker takes them over.
        """
        rows = self._database.read_one(
            "longest_runs",
            **in_queues(queue_names),
            limit=limit,
        )
        return [LongRun(*_run_values(row[:-3]), *row[-3:]) for row in rows]


def _burden(parts: defaultdict[str, list[Row]]) -> Burden:
    loads: defaultdict[str, list[QueueLoad]] = defaultdict(list)
    running: defaultdict[str, list[SlotRun]] = defaultdict(list)
    rescued: defaultdict[str, list[RescuedJob]] = defaultdict(list)
    for worker_id, queue, _, _, _, slots, idle, *_, busy in sorted(parts["load"]):
        loads[worker_id].append(QueueLoad(queue, int(slots), int(idle), int(busy)))
    for worker_id, queue, slot_id, *run, _, _, _ in parts["run"]:
        running[worker_id].append(SlotRun(*_run_values((slot_id, queue, *run))))
    for worker_id, queue, _, job_id, kind, at, ended, *states, _ in parts["rescued"]:
        status, ending = states
        job = RescuedJob(
            job_id, queue, kind, from_micros(at), from_micros(ended), status, ending
        )
        rescued[worker_id].append(job)
    for runs in running.values():
        runs.sort(key=_place)
    is_whole = max(len(parts["run"]), len(parts["rescued"])) < MAX_RUNS
    claimed = {worker: int(jobs) for worker, _, _, _, _, jobs, *_ in parts["claimed"]}
    return Burden(loads, running, rescued, _use(parts["use"]), is_whole, claimed)


def _run_values(row: Row) -> tuple[str, str, str, str, datetime, int]:
    """Return the values of a :class:`SlotRun`."""
    slot_id, queue, job_id, kind, at, run_us = row
    run_ms = max(run_us, 0) // MILLISECOND_US
    return slot_id, queue, job_id, kind, from_micros(at), run_ms


def _place(run: SlotRun) -> tuple[str, int, str]:
    return run.queue_name, slot_number(run.slot_id, run.queue_name) or 0, run.slot_id


def _use(rows: Sequence[Row]) -> dict[str, WorkerUse]:
    """Return the newest sample of each worker."""
    newest: dict[str, WorkerUse] = {}
    for worker_id, _, _, _, _, at, rss_bytes, _, _, cpu_pct in rows:
        use = WorkerUse(from_micros(at), float(cpu_pct), int(rss_bytes))
        if worker_id not in newest or newest[worker_id].sampled_at < use.sampled_at:
            newest[worker_id] = use
    return newest
