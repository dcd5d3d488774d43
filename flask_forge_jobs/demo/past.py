"""The past hours of the shop: its tasks, run at once under a clock that is set.

The jobs, attempts, lines, firings and lost workers come from the same stores, tasks and
rules as later ones; only the time is made up.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, islice

from flask import Flask

from flask_forge_jobs.demo import cities, shop
from flask_forge_jobs.demo.flows import PAUSED_FOR_US
from flask_forge_jobs.demo.past_clock import PastClock
from flask_forge_jobs.demo.shop import HOUR_US
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.instants import MILLISECOND_US, SECOND_US
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.runtime.plan import RuntimePlan, WorkerOptions
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.log_capture import capturing
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import logger as database_logger
from flask_forge_jobs.tasks.registry import TaskRegistry

MINUTE_US = 60 * SECOND_US
# Of the first order since nothing writes entries; one comes each second.
FIRST_ORDER = 4710
STEP_US = 2 * MINUTE_US
_QUEUES = ("orders", "mail", "media", "search", "reports", shop.LEDGER)
_THREADS = 8
# The worker before the present ones.
FORMER = "worker-0"
# A worker that died, and when it was last seen, was found missing, and its jobs ran.
LOST, LOST_US = "media-2", 34 * MINUTE_US
_MISSING_US, _MADE_UP_US = 33 * MINUTE_US, 32 * MINUTE_US


@contextlib.contextmanager
def past_of(app: Flask, begin_us: int) -> Iterator[tuple[Storage, PastClock]]:
    """Open the stores of an application under a clock of their own."""
    clock = PastClock(begin_us)
    # Without waiting for the disk: nothing is lost that could not be made again.
    settings = replace(state_of(app).database.settings, synchronous="OFF")
    storage = open_storage(settings, clock=clock, jitter=None)
    # The figures of the past are made apart.
    storage.recorder.on_activity = lambda: None
    with contextlib.closing(storage), _in_silence(database_logger.logger):
        yield storage, clock
        storage.recorder.take()


# When something happens, and what.
Moment = tuple[int, Callable[[], object]]


class Past:
    """Runs the jobs of the past."""

    def __init__(self, storage: Storage, clock: PastClock, now_us: int) -> None:
        self.storage = storage
        self.clock = clock
        self.now_us = now_us
        registry = TaskRegistry()
        for task in shop.TASKS:
            registry.add(task)
        self._plan = plan = RuntimePlan(
            storage=storage,
            registry=registry,
            scope=contextlib.nullcontext,
            clock=clock,
            ids=UlidGenerator(clock),
            jitter=None,
            router=queue_of,
            worker=WorkerOptions(threads=_THREADS, lease_s=60, cancel_grace_s=10),
        )
        self._mapper = OutcomeMapper(QueueSettings, None, plan.mask, registry.get)
        self._runner = plan.runner(
            registry, FORMER, concurrency=None, log_settings=plan.log_settings
        )

    def play(self, operations: Iterable[Moment]) -> None:
        """Let the past happen, up to now."""
        moments = sorted([*operations, *self._moments()], key=lambda each: each[0])
        # The pages show what tasks log.
        with capturing(self._plan.log_settings), _in_silence(shop.logger):
            for at_us, act in moments:
                self._fire_until(at_us)
                self.clock.set(at_us)
                act()
            self._fire_until(self.now_us)

    def _moments(self) -> list[Moment]:
        """Return what happens beside the schedules."""
        moments: list[Moment] = [
            (self.now_us - ago_us, partial(self._run, jobs))
            for ago_us, jobs in [*_troubles(), *_retrying(), *_orders()]
        ]
        # Attempts to come of those that have failed.
        moments += [
            (self.now_us - minutes * MINUTE_US, self._run)
            for minutes in (_STUCK_MINUTES - 2, _STUCK_MINUTES - 8)
        ]
        moments += [
            (self.now_us - LOST_US, self._die),
            (self.now_us - _MISSING_US, self._reap),
            (self.now_us - _MADE_UP_US, self._run),
        ]
        return moments + cities.past_reports(self.storage, self._run, self.now_us)

    def _fire_until(self, until_us: int) -> None:
        """Fire the schedules that are due before an instant, each in time."""
        while True:
            ahead = self.storage.cron.ahead()
            # A job may have moved the clock past a firing.
            due_s = ahead.next_s if ahead.overdue_s is None else 0.0
            if due_s is None:
                return
            due_us = self.clock.now_us() + int(due_s * SECOND_US)
            if due_us >= until_us:
                return
            self.clock.set(due_us + SECOND_US // 5)
            self.storage.cron.fire_due(queue_of, _attempts_of)
            self._run()

    # -- the worker --------------------------------------------------------------------

    def _run(self, jobs: Sequence[NewJob] = ()) -> None:
        """Enqueue jobs, and run all that are due."""
        self.storage.jobs.enqueue_many(jobs)
        self.clock.move(0.012)
        demand = dict.fromkeys(_QUEUES, 20)
        claimed = self.storage.jobs.exchange(FORMER, (), demand).claimed
        begin_us = self.clock.now_us()
        ended = []
        for number, job in enumerate(claimed):
            self.clock.set(begin_us)
            update = self._end_of(job, number % 3)
            if update is not None:
                ended.append((self.clock.now_us(), number, update))
        for end_us, _, update in sorted(ended, key=lambda each: each[:2]):
            self.clock.set(end_us)
            self.storage.jobs.finish(FORMER, [update])

    def _end_of(self, job: ClaimedJob, slot: int) -> JobUpdate | None:
        """Run a job, and return its end."""
        begin_us, at_s = self.clock.now_us(), self.clock.monotonic()
        execution = Execution(job, claimed_at=at_s, started_at=at_s + 0.001, slot=slot)
        self.clock.move(0.001)
        outcome = self._runner.run(execution)
        execution.ended_at = self.clock.monotonic()
        update = self._mapper.update(execution, outcome)
        logged = execution.reports and execution.reports.last_lines()
        if update is not None and logged:
            # The records have the time of the system.
            lines = [
                line._replace(at_us=begin_us + (number + 1) * MILLISECOND_US)
                for number, line in enumerate(logged.lines)
            ]
            update.logged = replace(logged, lines=lines)
        return update

    def _die(self) -> None:
        """Let another worker take two jobs, and be heard of no more."""
        order = FIRST_ORDER - 100
        self.storage.jobs.enqueue_many(
            [
                shop.transcode_video.job(order=order, seconds=43),
                shop.resize_image.job(order=order, sizes=[64, 256, 1024]),
            ]
        )
        jobs = self.storage.jobs.claim("media", LOST, 2)
        slots = [
            SlotReport(f"{LOST}-{number}", "media", current_job_id=job.id)
            for number, job in enumerate(jobs)
        ]
        process = WorkerProcess(
            version="0.1.0", host="media-host", pid=412, up_us=7 * HOUR_US, threads=3
        )
        self.storage.workers.beat(LOST, LOST, ["media"], slots, process=process)

    def _reap(self) -> None:
        """Find out that it has died."""
        running = self.storage.jobs.running()
        self.storage.workers.reap([LOST])
        self.storage.jobs.rescue(job for job in running if job.worker_id == LOST)


def queue_of(kind: str) -> str:
    """Return the queue of a task."""
    return next(str(task.defaults.queue) for task in shop.TASKS if task.kind == kind)


def _attempts_of(kind: str) -> int:
    return next(task.defaults.max_attempts for task in shop.TASKS if task.kind == kind)


# -- the jobs --------------------------------------------------------------------------

_STUCK_MINUTES = 190
_DECLINED, _BROKEN, _RETRYING = 9, 5, 6


def orders_with(salt: str, share: float) -> Iterator[int]:
    """Yield the orders with a trouble; see :func:`.shop.share`."""
    return (order for order in count(1) if shop.share(order, salt) < share)


def _troubles() -> Iterator[tuple[int, list[NewJob]]]:
    """Yield jobs that end as dead, and how long ago they ran."""
    declined = orders_with("declined", shop.DECLINED)
    for number, order in enumerate(islice(declined, _DECLINED)):
        job = shop.charge_card.job(order=order, cents=900 + order * 37 % 9000)
        yield (45 + 137 * number) * MINUTE_US, [job]
    broken = orders_with("broken", shop.BROKEN)
    for number, order in enumerate(islice(broken, _BROKEN)):
        job = shop.resize_image.job(order=order, sizes=[64, 256, 1024])
        yield (71 + 251 * number) * MINUTE_US, [job]
    stuck = next(orders_with("stuck", shop.STUCK))
    video = shop.transcode_video.job(order=stuck, seconds=43)
    yield _STUCK_MINUTES * MINUTE_US, [video]


def _retrying() -> Iterator[tuple[int, list[NewJob]]]:
    """Yield jobs that wait for their second attempt when the demo begins."""
    reset = orders_with("reset", shop.RESET)
    for number, order in enumerate(islice(reset, _RETRYING)):
        job = shop.send_receipt.job(order=order, to=f"customer{order}@shop.example")
        yield (20 + 43 * number) * SECOND_US, [job]
    timeout = next(orders_with("timeout", shop.TIMEOUT))
    yield 9 * SECOND_US, [shop.charge_card.job(order=timeout, cents=4200)]


def _orders() -> Iterator[tuple[int, list[NewJob]]]:
    """Yield the jobs since nothing writes entries, all that fail or wait, some others.

    The rest is gone, as if it had been deleted by now.
    """
    orders = range(FIRST_ORDER, FIRST_ORDER + PAUSED_FOR_US // SECOND_US)
    size = STEP_US // SECOND_US
    for start in orders[::size]:
        jobs = [job for order in orders_of(start, size) for job in shop.jobs_of(order)]
        kept: Mapping[str, int] = {"write_entry": size, "close_order": size}
        chosen = [
            job
            for kind in [task.kind for task in shop.TASKS]
            for job in [each for each in jobs if each.kind == kind][: kept.get(kind, 1)]
            if kind != "transcode_video"
        ]
        yield PAUSED_FOR_US - (start - FIRST_ORDER) * SECOND_US, chosen


def orders_of(first: int, size: int) -> range:
    """Return so many orders."""
    return range(first, first + size)


@contextlib.contextmanager
def _in_silence(logger: logging.Logger) -> Iterator[None]:
    """Keep what a logger logs from the console."""
    nowhere = logging.NullHandler()
    logger.propagate = False
    logger.addHandler(nowhere)
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(nowhere)
