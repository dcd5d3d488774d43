"""A dispatcher that goes round only when the test says so; no database, no thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.model.claims import ClaimBatch, ClaimedJob, HeartbeatReport
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.runtime.claim_schedule import ClaimSchedule, ExchangePace
from flask_forge_jobs.runtime.loop.dispatcher import Dispatcher
from flask_forge_jobs.runtime.loop.rounds import Rounds
from flask_forge_jobs.runtime.loop.time_limits import TimeLimits
from flask_forge_jobs.runtime.loop.writer import OutcomeWriter
from flask_forge_jobs.runtime.run.job_log import JobLog
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.recorder import Recorder
from tests.support.clocks import MovingClock
from tests.support.runtimes import Bench, HeldTask, QuickTask, claimed, registry_of
from tests.support.waiting import wait_until

OWNER = "host-1"
CANCEL_GRACE_S = 10.0
LEASE_S = 60.0


class ScriptedJobs:
    """Stands for the hot path: hands out what the test prepared and notes the rest."""

    def __init__(self) -> None:
        self.ready: dict[str, list[ClaimedJob]] = {}
        self.due_in_s: dict[str, float] = {}
        self.written: list[JobUpdate] = []
        self.demands: list[dict[str, int]] = []
        self.asked: list[list[str]] = []
        self.refused: list[str] = []
        self.error: BaseException | None = None
        self.late_error: Exception | None = None
        self.look_in_s: float | None = None
        self.bad_ids: set[str] = set()
        self.during_exchange: Callable[[], object] = lambda: None

    def exchange(
        self,
        owner: str,
        updates: Sequence[JobUpdate],
        demand: Mapping[str, int],
        *,
        promote: bool = True,
        places: object = None,
    ) -> ClaimBatch:
        del promote, places
        assert owner == OWNER
        self.demands.append(dict(demand))
        if self.error is not None:
            raise self.error
        if any(each.job.id in self.bad_ids and each.result for each in updates):
            raise StorageError("PostgreSQL refused the statement (22P05)")
        self.written.extend(updates)
        exchange = ClaimBatch(refused=list(self.refused), look_in_s=self.look_in_s)
        for name, count in demand.items():
            ready = self.ready.get(name, [])
            exchange.claimed.extend(ready[:count])
            del ready[:count]
        self.during_exchange()
        if self.late_error is not None:
            raise self.late_error
        return exchange

    def finish(self, owner: str, updates: Sequence[JobUpdate]) -> list[str]:
        return self.exchange(owner, updates, {}).refused

    def heartbeat(self, *arguments: Any) -> HeartbeatReport:
        del arguments
        if self.error is not None:
            raise self.error
        return HeartbeatReport(frozenset(), frozenset())

    def next_due_in_s(self, queue_names: Iterable[str]) -> float | None:
        names = list(queue_names)
        self.asked.append(names)
        if self.error is not None:
            raise self.error
        waits = [self.due_in_s[name] for name in names if name in self.due_in_s]
        return min(waits) if waits else None


class RoundsRig(Bench):
    """A dispatcher that goes round only when the test says so."""

    # For how long others have not seen this process.
    silent_s = 0.0

    def __init__(self, *tasks: HeldTask | QuickTask, **options: object) -> None:
        self.moving = MovingClock()
        queues = cast("Sequence[str]", options.get("queues", ("default",)))
        super().__init__(
            *queues,
            clock=self.moving,
            registry=registry_of(*tasks),
            threads=cast("int", options.get("threads", 2)),
            lease_s=LEASE_S,
        )
        self.recorder = Recorder(self.clock)
        self.jobs = ScriptedJobs()
        self.is_pushing = True
        for name in queues:
            self.handover.set_limit(name, 64)
        jobs = cast("JobQueue", self.jobs)
        self.writer = OutcomeWriter(
            jobs,
            OWNER,
            self.handover,
            OutcomeMapper(QueueSettings, None),
            self.recorder,
            job_log=JobLog(self.clock),
        )
        pace = ExchangePace()
        schedule = ClaimSchedule(queues, pace=pace)
        schedule.is_pushing = lambda: self.is_pushing
        self.rounds = Rounds(
            jobs,
            self.handover,
            self.writer,
            lease=self.lease,
            schedule=schedule,
            time_limits=TimeLimits(
                self.handover,
                stop_limit_s=self.runner.stop_limit_s,
                cancel_grace_s=CANCEL_GRACE_S,
            ),
        )
        self.pauses: list[float] = []
        self.dispatcher = Dispatcher(
            self.rounds,
            self.writer,
            self.inbox,
            self.clock,
            pace=pace,
            wait=self._wait,
        )

    def _wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.moving.move(seconds)

    def round(self) -> None:
        """Go round once, as the thread does."""
        self.lease.renew(
            self.clock.monotonic() - self.silent_s,
            self.clock.since_boot() - self.silent_s,
        )
        self.dispatcher._hear(0.0)
        self.pause_s()
        try:
            self.rounds.go()
        except StorageError as error:
            self.rounds.note_failure(error)

    def settle_down(self) -> None:
        """Go round until nothing more happens at this moment."""
        for _ in range(20):
            self.round()
            self.moving.move(0.03)  # longer than the pause before it asks what is due
            if not self.is_awake and self.pause_s() > 0:
                return
        raise AssertionError("the dispatcher does not come to rest")

    def pause_s(self) -> float:
        return self.dispatcher._pause_s()

    def feed(self, *jobs: ClaimedJob) -> None:
        """Take in jobs as a claim does."""
        self.rounds._take_in(jobs, self.clock.monotonic())

    def stop_claiming(self) -> None:
        self.lease.is_claiming = False
        self.handover.give_back_waiting()

    @property
    def written(self) -> list[tuple[str, JobStatus]]:
        return [(each.job.id, each.status) for each in self.jobs.written]


def known(rig: RoundsRig) -> set[str]:
    return {run.job_id for run in rig.writer.runs()}


def finished(rig: RoundsRig, *job_ids: str) -> None:
    """Let jobs end whose outcomes nobody has written yet."""
    rig.feed(*[claimed(job_id, "quick") for job_id in job_ids])
    wait_until(lambda: len(rig.ended) == len(job_ids), "all of them have ended")
