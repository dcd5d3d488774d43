"""One pass each of the periodic work of a worker.

For programs without a worker process, such as a cron job or a test. Running them while
workers run is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.cron import FiringReport
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.workers import shares
from flask_forge_jobs.runtime.duties.cron import without_failures
from flask_forge_jobs.runtime.duties.membership import SILENT_S
from flask_forge_jobs.runtime.duties.metrics import fold_metrics
from flask_forge_jobs.runtime.plan import DEFAULT_LEASE_S
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.registry import TaskRegistry, TaskRouter, attempts_of_kind
from flask_forge_jobs.tasks.routing import DefaultRouter

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReapReport:
    """How many jobs :func:`reap_once` rescued, and how many workers it removed."""

    jobs: int
    workers: int


@dataclass(frozen=True, slots=True)
class RebalanceReport:
    """The result of :func:`rebalance_once`.

    Args:
        shares: How many jobs each worker may run at once, by queue and worker id.
        unserved: The queues that may run jobs but have no worker.
    """

    shares: Mapping[tuple[str, str], int]
    unserved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoldReport:
    """How many rows of metrics :func:`fold_metrics_once` wrote, merged and dropped."""

    written: int
    merged: int
    dropped: int


def cron_tick_once(
    storage: Storage,
    router: Callable[[str], str] | None = None,
    *,
    registry: TaskRegistry | None = None,
) -> FiringReport:
    """Fire the schedules that are due; each time fires once, also beside workers.

    Args:
        storage: The stores.
        router: Names the queue when neither the schedule nor the task does; by default
            ``default``.
        registry: The tasks, such as ``forge.registry``. A job takes its task's queue
            and attempts where the schedule names none; without its task 5 attempts.

    Raises:
        StorageError: The database could not be used.
    """
    tasks = TaskRegistry() if registry is None else registry
    chosen = TaskRouter(tasks, DefaultRouter() if router is None else router)
    return storage.cron.fire_due(
        without_failures(chosen), partial(attempts_of_kind, tasks)
    )


def reap_once(storage: Storage, *, lease_s: float = DEFAULT_LEASE_S) -> ReapReport:
    """Rescue the jobs of silent workers, and remove these workers.

    Uses the database's clock. Unlike the reaper of a worker, which watches heartbeats
    itself, this pass mistakes a jump of that clock for silence.

    Args:
        storage: The stores.
        lease_s: Seconds of silence of a job and its worker, more than 0, default 60; at
            least ``FORGE_JOBS_LEASE_S`` of the workers.

    Raises:
        InvalidInputError: ``lease_s`` is not more than 0.
        StorageError: The database could not be used.
    """
    if not lease_s > 0:
        raise InvalidInputError("lease_s", f"{lease_s!r} is not more than 0")
    running = storage.jobs.running()
    ages_s = {
        worker.worker_id: age_s for worker, age_s in storage.workers.heartbeat_ages()
    }
    silent = [worker_id for worker_id, age_s in ages_s.items() if age_s >= lease_s]
    alive = ages_s.keys() - silent
    stale = [
        job
        for job in running
        if job.silent_us >= lease_s * SECOND_US and job.worker_id not in alive
    ]
    rescued = storage.jobs.rescue(stale)
    storage.workers.reap(silent)
    return ReapReport(rescued, len(silent))


def rebalance_once(storage: Storage) -> RebalanceReport:
    """Compute how many jobs of each queue each worker may run.

    Writes nothing: every worker computes the same once a second for itself. Logs a
    warning for each queue without a worker.

    Raises:
        StorageError: The database could not be used.
    """
    totals = {queue.name: queue.max_workers for queue in storage.queues.all()}
    there = {
        worker.worker_id: worker.queues for worker in storage.workers.live(SILENT_S)
    }
    by_worker = shares(totals, there)
    served = {queue for queue, _ in by_worker}
    unserved = tuple(
        name for name in sorted(totals) if totals[name] and name not in served
    )
    for name in unserved:
        logger.warning("no worker serves queue %s", one_line(name))
    return RebalanceReport(by_worker, unserved)


def fold_metrics_once(storage: Storage, clock: Clock | None = None) -> FoldReport:
    """Write this process's metrics, merge those of all processes, drop old ones.

    Metrics are merged ten minutes after their time bucket has ended; those of half an
    hour and a day as soon as their source is twenty minutes old.

    Args:
        storage: The stores.
        clock: Source of time; the system clock by default.

    Raises:
        StorageError: The database could not be used.
    """
    written = storage.flusher.flush()
    merged, dropped = fold_metrics(
        storage.metrics, storage.samples, clock or SystemClock()
    )
    return FoldReport(written, merged, dropped)
