"""Changes plain jobs by one statement, on PostgreSQL, where others take several trips.

A job is plain if nothing else comes of its change: a job that ends or begins anew then
has no batch, nobody waits for it, and no follow-up is declared. Most jobs are plain.
The statement changes all of its jobs or none, and takes the audit entry along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.bulk import BulkChange, JobAction
from flask_forge_jobs.model.claims import entry_around_attempt
from flask_forge_jobs.model.dedupe_keys import MARK
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.run_end import cancelled_message
from flask_forge_jobs.storage.database import Parameter, encode_names
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.rows import job_from_row
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement

_STATEMENTS = {
    JobAction.DELETE: "delete_plain",
    JobAction.CANCEL: "cancel_plain",
    JobAction.RETRY: "retry_plain",
    JobAction.RUN_NOW: "run_plain_now",
    JobAction.RESCHEDULE: "reschedule_plain",
}
# Of a reschedule.
_UNCHANGED: Mapping[str, Parameter] = {
    "priority": None,
    "queue_name": None,
    "own_mark": MARK,
    "may_wait": False,
}


class PlainChanges:
    """Makes the changes of an operator that concern plain jobs only."""

    def __init__(
        self, database: StoreExecutor, clock: Clock, settlement: Settlement
    ) -> None:
        self._database = database
        self._clock = clock
        self._settlement = settlement
        self._has_trips = database.backend == "postgres"

    def make(
        self,
        action: JobAction,
        job_ids: Sequence[str],
        status: JobStatus | None = None,
        run_at: datetime | None = None,
        *,
        reason: str | None = None,
        **values: Parameter,
    ) -> BulkChange | None:
        """Change the jobs, or none of them; None if this takes more than a statement.

        A ``status`` limits it to jobs in this state; a ``run_at`` in the past means
        now. The ``reason`` of a cancel is masked, and ``values`` are those of
        :func:`.bulk.reschedule`.
        """
        if not self._has_trips:
            return None
        if action is JobAction.RESCHEDULE:
            start_us = None if run_at is None else to_micros(run_at)
            values = {**_UNCHANGED, **values, "run_at": start_us}
        elif action is JobAction.CANCEL:
            message = cancelled_message(reason)
            before, behind = entry_around_attempt(self._clock.now_us(), message)
            values |= {"error": message, "reason": reason}
            values |= {"entry_before": before, "entry_behind": behind}
        rows = self._database.at_once(
            _STATEMENTS[action],
            len(job_ids),
            rows=encode_names("job_id", job_ids),
            status=None if status is None else status.value,
            **values,
        )
        if not rows:
            return None
        if rows[0][1] is None:  # of a first try, whose answer was lost
            return BulkChange(len(job_ids), len(job_ids) * rows[0][0])
        asked = sum(row[0] for row in rows)
        if action is JobAction.CANCEL:
            ended = [row[1:3] for row in rows if not row[0]]
            self._settlement.after_commit(Settled(cancelled=ended))
        elif action is not JobAction.DELETE:
            for queue_name in sorted({row[1] for row in rows}):
                self._database.wake(queue_name)
        job = None if rows[0][3] is None else job_from_row(json.loads(rows[0][3]))
        return BulkChange(len(rows), asked, [], job)
