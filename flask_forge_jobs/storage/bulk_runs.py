"""BulkRunStore: bulk runs, and the stores of the process that works on one.

Each batch of a run stores what it changes, its audit entry, the place in the walk and a
longer lease in one transaction. It is rolled back if the run was stopped or has another
holder, so nothing is done twice, and nothing after a stop.
"""

from __future__ import annotations

import json

from flask_forge_jobs.errors import (
    BulkRunNotFoundError,
    ConflictError,
    TooManyBulkRunsError,
)
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import (
    BulkRun,
    BulkRunState,
    NewBulkRun,
    RunAuthor,
)
from flask_forge_jobs.model.instants import (
    DAY_US,
    SECOND_US,
    from_micros,
    optional_from_micros,
    optional_to_micros,
)
from flask_forge_jobs.storage.database import Database, Query, Row, Transaction
from flask_forge_jobs.storage.entries import append_batch_entry
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.request_batches import BatchExecutor
from flask_forge_jobs.storage.rows import first_row, reader_of

logger = get_logger(__name__)

_ID = 8  # its place in bulk_run_columns
# A process that works on a run renews its lease with each batch, which takes
# milliseconds; one that has died is missed for so long.
LEASE_S = 15.0
KEPT_US = 7 * DAY_US
# Runs that have not ended. Requests that come at the same moment may exceed it.
MAX_OF_ACTOR = 20
MAX_OF_ALL = 100
_LEASE_US = int(LEASE_S * SECOND_US)
_ACCEPTED = 202


class RunLostError(ConflictError):
    """The run was stopped, or another process works on it."""


class BulkRunStore:
    """Stores bulk runs."""

    def __init__(self, database: StoreExecutor, ids: UlidGenerator) -> None:
        self._database = database
        self._ids = ids

    def add(self, run: NewBulkRun, holder: str) -> str:
        """Store a run with a lease for its holder; return its id. Old ones go.

        Raises:
            TooManyBulkRunsError: Too many runs have not ended.
        """
        author = run.author
        run_id = self._ids.new()

        def work(transaction: Transaction) -> None:
            transaction.defer("prune_bulk_runs", kept_us=KEPT_US)
            ((of_actor, of_all),) = transaction.all(
                "open_bulk_runs", actor=author.actor
            )
            if of_actor >= MAX_OF_ACTOR:
                raise TooManyBulkRunsError(MAX_OF_ACTOR, "of this caller ")
            if of_all >= MAX_OF_ALL:
                raise TooManyBulkRunsError(MAX_OF_ALL)
            transaction.defer(
                "add_bulk_run",
                id=run_id,
                action=str(run.action),
                jobs=json.dumps(run.jobs),
                run_at=optional_to_micros(run.run_at),
                matched=run.matched,
                actor=author.actor,
                address=author.address,
                request_id=author.request_id,
                arguments=author.arguments,
                holder=holder,
                lease_us=_LEASE_US,
            )

        self._database.write(work)
        return run_id

    def get(self, run_id: str) -> BulkRun:
        """Return a run.

        Raises:
            BulkRunNotFoundError: There is none.
        """
        name, values = run_query(run_id)
        rows = self._database.read_one(name, **values)
        return _run(first_row(rows, BulkRunNotFoundError, run_id))

    def newest(self, limit: int) -> list[BulkRun]:
        """Return runs, the newest first, without those that cannot be read."""
        rows = self._database.read_one("bulk_runs", limit=limit, lease_us=_LEASE_US)
        runs = []
        for row in rows:
            try:
                runs.append(_run(row))
            except ValueError as error:
                logger.warning("bulk run %s cannot be read: %s", row[_ID], error)
        return runs

    def lapsed(self, limit: int) -> list[str]:
        """Return the ids of runs that no process works on."""
        rows = self._database.read_one(
            "lapsed_bulk_runs", limit=limit, lease_us=_LEASE_US
        )
        return [str(run_id) for (run_id,) in rows]

    def take(self, run_id: str, holder: str) -> bool:
        """Take or renew the lease of a run; return whether the holder has it."""
        return bool(
            self._database.execute(
                "take_bulk_run", id=run_id, holder=holder, lease_us=_LEASE_US
            )
        )

    def advance(self, batches: RunBatches, skipped: int) -> None:
        """Store the place that a step has reached, and the jobs that it skipped.

        Raises:
            RunLostError: The run has ended or has another holder.
        """
        self._database.write(lambda tx: batches.advance(tx, skipped=skipped))

    def end(
        self, run_id: str, holder: str, state: BulkRunState, error: str | None = None
    ) -> bool:
        """End a run; return whether the holder still had it."""
        return bool(
            self._database.execute(
                "end_bulk_run", id=run_id, holder=holder, state=str(state), error=error
            )
        )

    def stop(self, run_id: str) -> bool:
        """Stop a run before its next batch; return whether it was running."""
        return bool(self._database.sole("stop_bulk_run", id=run_id))


def run_query(run_id: str) -> Query:
    """Return what :meth:`BulkRunStore.get` reads."""
    return "bulk_run", {"id": run_id, "lease_us": _LEASE_US}


class RunBatches:
    """The batches of one run by one holder.

    Set ``place`` before a batch that stores it; None leaves the stored one.
    """

    def __init__(self, database: Database, run: BulkRun, holder: str) -> None:
        self.database = database
        self._run = run
        self._holder = holder
        self.place: str | None = None

    def executor(self, recorder: Recorder | None = None) -> StoreExecutor:
        """Return the executor of the stores of the run."""
        return BatchExecutor(self.database, recorder, self.advance)

    def advance(
        self, transaction: Transaction, changed: int = 0, skipped: int = 0
    ) -> None:
        """Store the progress of a batch in its transaction.

        Raises:
            RunLostError: The run has ended or has another holder.
        """
        rows = transaction.all(
            "advance_bulk_run",
            id=self._run.id,
            holder=self._holder,
            changed=changed,
            skipped=skipped,
            place=self.place,
            lease_us=_LEASE_US,
        )
        if not rows:
            raise RunLostError(f"bulk run {self._run.id} was stopped or taken over")
        if changed:
            append_batch_entry(transaction, self._record(changed))

    def _record(self, changed: int) -> AuditRecord:
        author = self._run.author
        return AuditRecord(
            actor=author.actor,
            action="jobs_act",
            target=self._run.id,
            address=author.address,
            request_id=author.request_id,
            status=_ACCEPTED,
            changed=changed,
            arguments=author.arguments,
        )


_run_from_row = reader_of(
    BulkRun,
    action=JobAction,
    jobs=json.loads,
    author=lambda values: RunAuthor(*values),
    run_at=optional_from_micros,
    state=BulkRunState,
    created_at=from_micros,
    ended_at=optional_from_micros,
    is_lapsed=bool,
)


def _run(row: Row) -> BulkRun:
    return _run_from_row((*row[:3], row[3:7], *row[7:]))
