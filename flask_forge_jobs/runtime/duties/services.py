"""The services of a worker: which duties it has, and which of them share a thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.runtime.duties.batch_checks import BatchChecks
from flask_forge_jobs.runtime.duties.bulk_runs import BulkRunDuty
from flask_forge_jobs.runtime.duties.counts import Upkeep
from flask_forge_jobs.runtime.duties.cron import Scheduler
from flask_forge_jobs.runtime.duties.gauges import Gauger
from flask_forge_jobs.runtime.duties.heartbeat import Heartbeat, beat_period_s
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.runtime.duties.membership import Membership
from flask_forge_jobs.runtime.duties.metrics import MetricsUpkeep
from flask_forge_jobs.runtime.duties.reaper import Reaper
from flask_forge_jobs.runtime.duties.registration import Registration
from flask_forge_jobs.runtime.duties.renewal import Renewal
from flask_forge_jobs.runtime.duties.retention import Sweeper
from flask_forge_jobs.runtime.duties.sampler import Sampler
from flask_forge_jobs.runtime.duties.strays import Strays
from flask_forge_jobs.runtime.duties.supervisor import Supervisor
from flask_forge_jobs.runtime.lease import Lease
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.plan import RuntimePlan
from flask_forge_jobs.runtime.service import Duty, Service

# These services leave the first half second to the first jobs: each of their threads
# opens a connection, which costs the server some milliseconds of CPU.
SETTLE_S = 0.5


class Services:
    """Everything that a worker does besides running jobs."""

    def __init__(
        self,
        plan: RuntimePlan,
        worker_id: str,
        lease: Lease,
        handover: Handover,
        *,
        strays: Strays,
        settings: dict[str, QueueSettings],
        notify: Callable[[str | None], object],
    ) -> None:
        storage = plan.storage
        duties: list[Duty] = []
        registration = Registration(
            storage.workers,
            worker_id,
            plan.worker,
            handover,
            lease,
            duties=duties,
            longest_s=beat_period_s(lease.length_s),
            kinds=plan.registry.kinds,
        )
        self._supervisor = _supervisor(
            plan, worker_id, lease, handover, settings=settings, notify=notify
        )
        self._heartbeat = Heartbeat(
            lease,
            Renewal(storage.jobs, worker_id, handover, strays, storage.recorder),
            registration,
            handover,
            database=storage.database,
            on_return=lambda: notify(None),
        )
        self._heart = Service(self._heartbeat)
        watch = Service(self._supervisor, _reaper(plan, lease), delay_s=SETTLE_S)
        upkeep = Service(*_upkeep(plan, worker_id), delay_s=SETTLE_S)
        cluster = Service(*_cluster_duties(plan, worker_id), delay_s=SETTLE_S)
        self._services = (watch, self._heart, upkeep, cluster)
        duties += [duty for each in self._services for duty in each.duties]

    def show(self) -> None:
        """Know the limits, and be visible; before the first claim."""
        self._supervisor.tick()
        self._heartbeat.show()

    def start(self) -> None:
        """Start the threads."""
        for service in self._services:
            service.start()

    @property
    def is_stuck(self) -> bool:
        """Whether the heartbeat hangs or has died."""
        return self._heartbeat.is_stuck or not self._heart.is_alive

    def stop(self) -> None:
        """Ask the threads to end."""
        for service in self._services:
            service.stop()

    def join(self, timeout_s: float) -> None:
        """Wait for each thread for so many seconds."""
        for service in self._services:
            service.join(timeout_s)


def _supervisor(
    plan: RuntimePlan,
    worker_id: str,
    lease: Lease,
    handover: Handover,
    *,
    settings: dict[str, QueueSettings],
    notify: Callable[[str | None], object],
) -> Supervisor:
    membership = Membership(
        plan.storage.workers,
        worker_id=worker_id,
        queue_names=plan.worker.queue_names,
        written_until=lambda: lease.shown_at,
    )
    return Supervisor(
        plan.storage.queues,
        membership,
        handover,
        settings,
        notify=notify,
        clock=plan.clock,
    )


def _reaper(plan: RuntimePlan, lease: Lease) -> Reaper:
    return Reaper(
        plan.storage.jobs,
        plan.storage.workers,
        lease_s=lease.length_s,
        written_until=lambda: lease.written_until,
    )


def _upkeep(plan: RuntimePlan, worker_id: str) -> tuple[Duty, ...]:
    """The side duties of every worker process."""
    storage, clock = plan.storage, plan.clock
    file = storage.database.file
    return (
        Upkeep(
            storage.job_admin,
            storage.errors,
            storage.batches,
            plan.batch_home.batch_open_s,
        ),
        Sampler(
            storage.samples,
            storage.recorder,
            worker_id=worker_id,
            directory=file.parent if file else Path.cwd(),
            clock=clock,
        ),
        MetricsUpkeep(storage.metrics, storage.samples, clock),
        BulkRunDuty(storage, worker_id, clock=clock),
    )


def _cluster_duties(plan: RuntimePlan, worker_id: str) -> tuple[Duty, ...]:
    """The duties of the leader; the long one yields to the others."""
    storage, clock = plan.storage, plan.clock
    leader = Leader(storage.leases, worker_id=worker_id, clock=clock)
    scheduler = Scheduler(
        storage.cron, leader, router=plan.router, registry=plan.registry, clock=clock
    )
    leader.on_gained = scheduler.wake
    others = (
        leader,
        scheduler,
        Gauger(storage, leader, clock=clock),
        BatchChecks(storage.batch_checker, leader, clock=clock),
    )
    sweeper = Sweeper(
        storage.retention, storage.errors, leader, others=others, clock=clock
    )
    return *others, sweeper
