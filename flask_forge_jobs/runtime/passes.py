"""Passes: one turn each of what worker processes do over and over.

For programs that have no worker process at hand: a timer of the operating system, a
test, a look into what would happen. Beside workers they are safe at any time, for
whatever these do is fenced by the rows that it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.cron import FiringReport
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.one_line import one_line
from flask_forge_jobs.model.shares import shares
from flask_forge_jobs.runtime.cron import without_failures
from flask_forge_jobs.runtime.membership import SILENT_S
from flask_forge_jobs.runtime.plan import DEFAULT_LEASE_S
from flask_forge_jobs.runtime.upkeep import fold_metrics
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.routing import DefaultRouter

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReapReport:
    """What :func:`reap_once` did.

    Args:
        jobs: How many jobs were given back, or ended for good.
        workers: How many workers were removed.
    """

    jobs: int
    workers: int


@dataclass(frozen=True, slots=True)
class RebalanceReport:
    """What :func:`rebalance_once` found.

    Args:
        shares: How many jobs each worker may run at once, by queue and worker id.
        unserved: Queues that have workers and no process that serves them, by name.
    """

    shares: Mapping[tuple[str, str], int]
    unserved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoldReport:
    """How many rows of figures :func:`fold_metrics_once` handled.

    Args:
        written: Stored of what this process has counted.
        merged: Merged with those of other processes.
        dropped: Dropped as too old.
    """

    written: int
    merged: int
    dropped: int


def cron_tick_once(
    storage: Storage, router: Callable[[str], str] | None = None
) -> FiringReport:
    """Fire the schedules that are due, whoever leads.

    Each instant is fired once, also when a worker process looks at the same moment.

    Args:
        storage: Has the schedules.
        router: Names the queue of a kind for schedules that name none; everything goes
            to ``default`` by default.

    Raises:
        StorageError: The database could not be used.
    """
    chosen = DefaultRouter() if router is None else router
    return storage.cron.fire_due(without_failures(chosen))


def reap_once(storage: Storage, *, lease_s: float = DEFAULT_LEASE_S) -> ReapReport:
    """Give back the jobs of worker processes that fell silent, and remove these.

    Silence is measured by the database's clock. A worker process watches the heartbeats
    itself and so outlives a jump of that clock; this pass cannot.

    Args:
        storage: Has the jobs and the registry of workers.
        lease_s: Seconds of silence that end ownership, more than 0, default 60; not
            less than ``FORGE_JOBS_LEASE_S`` of the workers, which beat six times
            within it.

    Raises:
        InvalidInputError: ``lease_s`` is not more than 0.
        StorageError: The database could not be used.
    """
    if not lease_s > 0:
        raise InvalidInputError("lease_s", f"{lease_s!r} is not more than 0")
    stale = [
        job for job in storage.jobs.running() if job.silent_us >= lease_s * SECOND_US
    ]
    silent = [
        worker.worker_id
        for worker, age_s in storage.workers.heartbeat_ages()
        if age_s >= lease_s
    ]
    rescued = storage.jobs.rescue(stale)
    storage.workers.reap(silent)
    return ReapReport(rescued, len(silent))


def rebalance_once(storage: Storage) -> RebalanceReport:
    """Work out how the workers of the queues are shared out, and who serves none.

    Nothing is written: each worker process works the same out every second, for itself,
    and goes by it. A paused queue has its share and runs nothing. A queue that nobody
    serves is logged.

    Args:
        storage: Has the queues and the registry of workers.

    Raises:
        StorageError: The database could not be used.
    """
    totals = {queue.name: queue.max_workers for queue in storage.queues.all()}
    there = {
        worker.worker_id: worker.queues for worker in storage.workers.live(SILENT_S)
    }
    found = shares(totals, there)
    served = {queue for queue, _ in found}
    unserved = tuple(
        name for name in sorted(totals) if totals[name] and name not in served
    )
    for name in unserved:
        logger.warning("no worker process serves queue %s", one_line(name))
    return RebalanceReport(found, unserved)


def fold_metrics_once(storage: Storage, clock: Clock | None = None) -> FoldReport:
    """Store this process's figures, merge those of all processes, drop old ones.

    Figures are merged once their bucket has been over for ten minutes. A second call
    right after the first one finds nothing to do.

    Args:
        storage: Has the figures.
        clock: Tells what is over and what is old; the system's by default.

    Raises:
        StorageError: The database could not be used.
    """
    written = storage.flusher.flush()
    merged, dropped = fold_metrics(
        storage.metrics, storage.samples, clock or SystemClock()
    )
    return FoldReport(written, merged, dropped)
