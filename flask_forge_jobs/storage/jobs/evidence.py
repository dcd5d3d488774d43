"""EvidenceStore: reads the evidence of a job or a queue, in two round trips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import islice
from typing import Any

from flask_forge_jobs.errors import JobNotFoundError, QueueNotFoundError
from flask_forge_jobs.model.attempts import Attempt
from flask_forge_jobs.model.evidence import (
    MAX_AHEAD,
    MAX_NAMED_JOBS,
    MAX_RUN_TIMES,
    CancelledBatch,
    Evidence,
    JobFacts,
    KnownParent,
    KnownWorker,
    NamedJob,
)
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import (
    SECOND_US,
    from_micros,
    optional_from_micros,
    to_micros,
)
from flask_forge_jobs.model.jobs import WAITING, Job
from flask_forge_jobs.model.limits import RateLimit, awaited_rate_limit
from flask_forge_jobs.model.queues import QueueCounts, QueueSettings
from flask_forge_jobs.model.steps import StepsOfJob
from flask_forge_jobs.model.ties import JobTies
from flask_forge_jobs.model.workers import LIVE_WITHIN_S, kinds_from_text
from flask_forge_jobs.storage.database import Executor, Parameter, Row, encode_names
from flask_forge_jobs.storage.jobs.reader import with_attempts
from flask_forge_jobs.storage.rows import (
    facts_from_row,
    first_row,
    queue_from_row,
    reader_of,
)

_FACTS = len(fields(JobFacts))
_COUNTS = len(fields(QueueCounts))
_NO_JOB: dict[str, Parameter] = {
    "id": None, "kind": None, "line": None, "concurrency_key": None, "dedupe_key": None,
    "priority": None, "scheduled_at": None, "is_waiting": False, "scope": None,
    "batch_id": None,
}  # fmt: skip


def _number(jobs: int | None) -> int:
    return jobs or 0


_worker_from_row = reader_of(
    KnownWorker,
    queues=lambda names: tuple((names or "").split(",")),
    kinds=kinds_from_text,
    seen_at=from_micros,
    knows_kind=lambda knows: None if knows is None else knows > 0,
    slots=_number,
    running=_number,
    running_here=_number,
)


class EvidenceStore:
    """Reads the evidence of a job or a queue."""

    def __init__(self, database: Executor) -> None:
        self._database = database

    def job(self, job_id: str) -> tuple[JobFacts, QueueSettings]:
        """Return a job and the settings of its queue, by default the defaults.

        Raises:
            JobNotFoundError: No job has this id.
        """
        rows = self._database.read_one("job_facts", id=job_id)
        row = first_row(rows, JobNotFoundError, job_id)
        facts = facts_from_row(row[:_FACTS])
        return facts, _settings_of(facts, row[_FACTS:])

    def job_in_full(
        self, job_id: str
    ) -> tuple[Job, tuple[Attempt, ...], StepsOfJob, JobTies, JobFacts, QueueSettings]:
        """Return the same, and the job with its attempts, the oldest first.

        Its steps and its ties come with it.

        Raises:
            JobNotFoundError: No job has this id.
        """
        rows = self._database.read_one("job_in_full", id=job_id)
        values = iter(first_row(rows, JobNotFoundError, job_id))
        whole = with_attempts(values)
        facts = facts_from_row(tuple(islice(values, _FACTS)))
        return *whole, facts, _settings_of(facts, tuple(values))

    def queue(self, name: str) -> tuple[QueueSettings, QueueCounts, datetime | None]:
        """Return settings and counts of a queue, and its oldest due job's due time.

        Raises:
            QueueNotFoundError: No queue has this name.
        """
        rows = self._database.read_one("queue_facts", name=name)
        row = first_row(rows, QueueNotFoundError, name)
        counts = QueueCounts(*(int(number or 0) for number in row[:_COUNTS]))
        due_us, *settings = row[_COUNTS:]
        return queue_from_row(tuple(settings)), counts, optional_from_micros(due_us)

    def around_job(self, job: JobFacts, queues: Collection[str] | None) -> Evidence:
        """Return the evidence of a job; ``queues`` are the caller's, None means all."""
        return self._evidence(
            job.queue_name,
            queues,
            {
                "id": job.id,
                "kind": job.kind,
                "line": f"\n{job.kind}\n",
                "concurrency_key": job.concurrency_key,
                "dedupe_key": job.dedupe_key if job.status.is_final else None,
                "priority": job.priority,
                "scheduled_at": to_micros(job.scheduled_at),
                "is_waiting": job.status in WAITING,
                "scope": awaited_rate_limit(job.last_error),
                "batch_id": job.batch_id,
            },
        )

    def around_queue(self, name: str) -> Evidence:
        """Return the evidence of a queue."""
        return self._evidence(name, None, _NO_JOB | {"is_waiting": True})

    def _evidence(
        self, queue_name: str, queues: Collection[str] | None, job: dict[str, Parameter]
    ) -> Evidence:
        rows = self._database.read_one(
            "evidence",
            queue_name=queue_name,
            rows=encode_names("name", sorted(queues or ())),
            within_us=int(LIVE_WITHIN_S * SECOND_US),
            named=MAX_NAMED_JOBS,
            max_ahead=MAX_AHEAD + 1,
            max_times=MAX_RUN_TIMES,
            **job,
        )
        sorts: defaultdict[str, list[Row]] = defaultdict(list)
        for sort, *values in rows:
            sorts[sort].append(tuple(values))
        return _evidence_of(sorts)


def _settings_of(job: JobFacts, queue: Row) -> QueueSettings:
    is_known = queue[0] is not None
    return queue_from_row(queue) if is_known else QueueSettings(job.queue_name)


def _evidence_of(sorts: defaultdict[str, list[Row]]) -> Evidence:
    now_us = sorts["now"][0][5]
    evidence = Evidence(from_micros(now_us))
    for row in sorts["schema"]:
        evidence.schema_version, evidence.oldest_reader = row[5:7]
    evidence.workers = [
        _worker_from_row((*row[:6], sort == "live", *row[6:]))
        for sort in ("live", "gone")
        for row in sorts[sort]
    ]
    evidence.running = [_named(row) for row in sorts["running"]]
    evidence.holders = [_named(row) for row in sorts["holder"]]
    for row in sorts["key_holder"]:
        evidence.key_holder = _named(row)
    evidence.ahead = int(sorts["ahead"][0][5])
    started, since_us = sorts["rate"][0][5:7]
    evidence.started = started or 0
    evidence.counted_since = optional_from_micros(since_us)
    evidence.run_times = _merged([row[0] for row in sorts["run_times"]])
    for scope, refill, tokens, _, _, capacity, refilled_at, *_ in sorts["rate_limit"]:
        evidence.rate_limit = RateLimit(
            scope, capacity, float(refill), float(tokens), refilled_at, now_us
        )
    evidence.own_kinds = {row[0] for row in sorts["kind"]}
    evidence.parents = [_parent(row) for row in sorts["parent"]]
    for batch_id, name, _, _, _, cancelled_us, *_ in sorts["batch"]:
        evidence.batch = CancelledBatch(batch_id, name, from_micros(cancelled_us))
    return evidence


def _named(row: Sequence[Any]) -> NamedJob:
    job_id, queue_name, kind, worker_id, _, since_us, *_ = row
    return NamedJob(job_id, queue_name, kind, optional_from_micros(since_us), worker_id)


def _parent(row: Sequence[Any]) -> KnownParent:
    parent_id, name, queue_name, status, error, since_us, is_batch, *_ = row
    return KnownParent(
        id=parent_id,
        name=name or "",
        is_batch=bool(is_batch),
        queue_name=queue_name,
        status=status,
        since=optional_from_micros(since_us),
        error=error,
    )


def _merged(texts: Sequence[str]) -> Histogram:
    histogram = Histogram()
    for text in texts:
        if text:
            histogram.merge_text(text)
    return histogram
