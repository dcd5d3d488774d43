"""Bulk runs: bulk actions on many jobs, which go on after the request that began them.

The process that accepts a run works on it in a thread. If it dies, the lease of the run
lapses, and a worker or a process that is asked about the run goes on from the last
batch. See :mod:`flask_forge_jobs.storage.bulk_runs` for what a batch stores.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from uuid import uuid4

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.handlers.bulk import check_expected
from flask_forge_jobs.handlers.bulk_actions import Instruction
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.bulk_runs import (
    BulkRun,
    NewBulkRun,
    RunAuthor,
    conditions_of,
)
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.bulk_runs import run_query
from flask_forge_jobs.storage.bulk_walk import work_on

logger = get_logger(__name__)

# Runs that one process works on at the same time.
MAX_THREADS = 2


def begin(
    storage: Storage,
    instruction: Instruction,
    author: RunAuthor,
    holder: str,
    *,
    within: Sequence[str] | None = None,
) -> BulkRun:
    """Store a run of an instruction on a filter; ``holder`` works on it.

    A filter without queues means ``within``; None means all.

    Raises:
        InvalidInputError: It has no condition, and does not say ``all``.
        CountDiffersError: Another number of jobs matches than expected.
    """
    job_filter = instruction.filter_within(within)
    matched = storage.job_reader.total(job_filter)
    if instruction.expected is not None:
        check_expected(instruction.expected, matched)
    run = NewBulkRun(
        action=instruction.action,
        jobs=conditions_of(job_filter),
        matched=matched,
        author=author,
        run_at=instruction.run_at,
    )
    return storage.bulk_runs.get(storage.bulk_runs.add(run, holder))


def stop(storage: Storage, run_id: str) -> None:
    """Stop a run before its next batch, unless it has ended."""
    storage.expect(run_query(run_id))
    storage.bulk_runs.stop(run_id)


class BulkRunner(PerProcess):
    """Works on runs in threads of this process; ``holder`` names it in their leases."""

    def __init__(self) -> None:
        self.stay_own()

    def _begin(self) -> None:
        self._holder = f"web-{uuid4().hex}"
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}

    @property
    def holder(self) -> str:
        """The name of this process."""
        self.stay_own()
        return self._holder

    def start(self, storage: Storage, run_id: str) -> threading.Thread | None:
        """Work on a run, unless this process does or has enough to do.

        What is left alone here is taken over by a worker when its lease lapses.
        """
        self.stay_own()
        with self._lock:
            alive = {
                key: each for key, each in self._threads.items() if each.is_alive()
            }
            self._threads = alive
            if run_id in alive or len(alive) >= MAX_THREADS:
                return alive.get(run_id)
            thread = threading.Thread(
                target=self._work,
                args=(storage, run_id),
                daemon=True,
                name=f"forge-bulk-run-{run_id[-7:]}",
            )
            alive[run_id] = thread
            thread.start()
            return thread

    def _work(self, storage: Storage, run_id: str) -> None:
        try:
            work_on(storage, run_id, self._holder, lambda: False)
        except StorageError as error:
            logger.warning("bulk run %s waits for the database: %s", run_id, error)
