"""The application that the acceptance tests start as real processes.

Programs find it by its path, so it imports nothing of the tests: what runs is the
installed package. Configuration comes from ``FLASK_FORGE_JOBS_...`` variables.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, request

from flask_forge_jobs import ForgeJobs, TaskContext
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import LONGEST_WAIT_S
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.model.claims import HeartbeatReport
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.runtime.duties.heartbeat import Heartbeat
from flask_forge_jobs.runtime.duties.reaper import Reaper
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.jobs.queue import JobQueue

PATH = Path(__file__)
LEDGER_VARIABLE = "ACCEPTANCE_LEDGER"
# Beside the ledger: when a worker process has looked for silent ones.
SWEEPS_SUFFIX = "-sweeps"
# Likewise: when it has begun and ended each heartbeat.
BEATS_SUFFIX = "-beats"
# Makes the factory use its storage; under --preload that is before the server forks.
EAGER_VARIABLE = "ACCEPTANCE_EAGER"
# Makes every request come from an address of its own, as if there were many clients.
MANY_CLIENTS_VARIABLE = "ACCEPTANCE_MANY_CLIENTS"
# Makes every server process run jobs beside its requests, and serves ``/hang``.
EMBEDDED_VARIABLE = "ACCEPTANCE_EMBEDDED"
EMBEDDED_THREADS = 4
# Makes the package do so.
SETTING_VARIABLE = "FLASK_FORGE_JOBS_EMBEDDED_WORKER"
# Seconds by which the clock of the process is wrong.
SKEW_VARIABLE = "ACCEPTANCE_SKEW_S"
# A file that says by how many seconds it is wrong now, for a clock that jumps.
JUMP_VARIABLE = "ACCEPTANCE_JUMP"
HANG_S = 600.0
# Once this file is there, heartbeats hang, or fail, as its content says.
HEARTBEAT_VARIABLE = "ACCEPTANCE_HEARTBEAT"
HANGS, FAILS = "hangs", "fails"
PROCESS_HEADER = "X-Answered-By"
STARTED, ENDED, FAILED = "S", "E", "F"
# Before it takes a token; started after that.
ASKED = "A"
# A child that a task has forked is about to enqueue a job, and has; or it does not end
# as it should.
TRIES, ENQUEUED, BROKEN = "T", "Q", "X"
KIND, FORKING_KIND = "acceptance.work", "acceptance.forking"
# No child takes this long; it only turns a hang into a line of the ledger.
CHILD_LIMIT_S = 40.0
STATUS_LIMIT_S = 1.0
# Of a child that may not open the SQLite file, as one whose fork could wait no longer.
REFUSED, REFUSED_STATUS = "was open when this process was forked", 3
# What a run logs that gets to its end; a child that it forks logs one line more, which
# nobody keeps.
LINES, LINE_OF_CHILD = 4, 99
# Above every number of crashes and failures that a job can live through.
MAX_ATTEMPTS = 25
METERED_KIND, BUCKET = "acceptance.metered", "acceptance"
LIMITED_KIND, PERMITS = "acceptance.limited", 2
PART_KIND, BATCH_ENDED_KIND = "acceptance.part", "acceptance.batch_ended"
PART_S = 0.002
# Keeps every thread of its process out: the first in a worker, the second apart.
HOG_KIND, HOG_APART_KIND = "acceptance.hog", "acceptance.hog_apart"


class LedgerWriter:
    """Appends what a task does to a file that no product code knows of.

    One ``write`` a line on a descriptor opened with ``O_APPEND``, so lines of many
    processes do not mix, and what was written survives ``kill -9`` in the page cache.
    """

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)

    def note(self, event: str, context: TaskContext, job_id: str = "") -> None:
        """Append one line: event, job, attempt, owner and process, and the time.

        Args:
            event: What happens.
            context: Of the run.
            job_id: The job it happens to; that of the run by default.
        """
        line = (
            f"{event} {job_id or context.job_id} {context.attempt} "
            f"{context.worker_id}/{os.getpid()} {time.monotonic_ns()}\n"
        )
        os.write(self._descriptor, line.encode("ascii"))


class NumberedLines:
    """Logs lines that name their run and count from 0 in it."""

    def __init__(self, context: TaskContext) -> None:
        self._context = context
        self._count = itertools.count()
        self._logger = logging.getLogger("acceptance.lines")
        # They are for the store; the log of a worker stays readable.
        self._logger.propagate = False

    def add(self, number: int | None = None) -> None:
        """Log the next line, or the one of this number."""
        context = self._context
        if number is None:
            number = next(self._count)
        self._logger.info(
            "%s %s %s %s", context.job_id, context.attempt, context.worker_id, number
        )

    def add_in_thread(self) -> None:
        """Log the next line in a thread of its own."""
        thread = threading.Thread(target=self.add)
        thread.start()
        thread.join()


class ManyClients:
    """Gives each request an address of its own."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._numbers = itertools.count(1)

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request."""
        number = next(self._numbers)
        environ["REMOTE_ADDR"] = (
            f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        )
        return self._application(environ, start_response)


class SkewedClock(SystemClock):
    """A clock that is wrong by so many seconds, always.

    Args:
        skew_s: Positive when it is ahead.
    """

    def __init__(self, skew_s: float) -> None:
        self._skew_us = int(skew_s * SECOND_US)

    def now_us(self) -> int:
        """Return what this clock takes for the present."""
        return super().now_us() + self._skew_us


class JumpingClock(SystemClock):
    """A clock that is wrong by what a file says at present; by nothing without one.

    Args:
        path: The file; it holds seconds as a decimal number.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def now_us(self) -> int:
        """Return what this clock takes for the present."""
        try:
            skew_s = float(self._path.read_text())
        except FileNotFoundError:
            skew_s = 0.0
        return super().now_us() + int(skew_s * SECOND_US)


def clock_of_the_process() -> SystemClock:
    """Return the clock that the environment asks for."""
    if path := os.environ.get(JUMP_VARIABLE):
        return JumpingClock(Path(path))
    return SkewedClock(float(os.environ.get(SKEW_VARIABLE, "0")))


def create_app() -> Flask:
    """Return the application; nothing is opened unless a variable asks for it."""
    app = Flask("acceptance", static_folder=None)
    app.config.from_prefixed_env()
    # Every server of these tests listens on loopback only.
    forge = ForgeJobs(app, open_to_loopback=True, clock=clock_of_the_process())
    path = os.environ.get(LEDGER_VARIABLE)
    if path:
        _note_sweeps(Path(f"{path}{SWEEPS_SUFFIX}"))
        _note_beats(Path(f"{path}{BEATS_SUFFIX}"))
        ledger = LedgerWriter(path)
        _register_work(forge, ledger)
        _register_forking(forge, app, ledger)
        _register_limited(forge, ledger)
        _register_batches(forge, ledger)
        if not {EMBEDDED_VARIABLE, SETTING_VARIABLE} & os.environ.keys():
            # One of them needs a process of its own, which only the command starts.
            _register_hogs(forge, ledger)

    if os.environ.get(HEARTBEAT_VARIABLE):
        _let_heartbeats_break(Path(os.environ[HEARTBEAT_VARIABLE]))

    if os.environ.get(EAGER_VARIABLE):
        with app.app_context():
            forge.enqueue("acceptance.eager", {"pid": os.getpid()})
            forge.storage.job_reader.statistics()

    if os.environ.get(EMBEDDED_VARIABLE):
        _embed_a_worker(app)

    if os.environ.get(MANY_CLIENTS_VARIABLE):
        app.wsgi_app = ManyClients(app.wsgi_app)  # type: ignore[method-assign]

    @app.after_request
    def name_the_process(response: Response) -> Response:
        response.headers[PROCESS_HEADER] = str(os.getpid())
        return response

    return app


def _note_sweeps(path: Path) -> None:
    tick = Reaper.tick

    def noted(reaper: Reaper) -> None:
        """Append one line: the process, and until when it has counted silence."""
        tick(reaper)
        until_s = reaper._intervals._counted_until or 0.0
        with path.open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()} {int(until_s * 1e9)}\n")

    Reaper.tick = noted  # type: ignore[assignment,method-assign]


def _note_beats(path: Path) -> None:
    begin, renew = Heartbeat.__init__, Heartbeat._renew_lease

    def note(heartbeat: Heartbeat, began_s: float) -> None:
        """Append one line: owner and process, and the times."""
        owner = f"{heartbeat._renewal._worker_id}/{os.getpid()}"
        times = f"{int(began_s * 1e9)} {time.monotonic_ns()}"
        with path.open("a", encoding="ascii") as file:
            file.write(f"{owner} {times}\n")

    def begun(heartbeat: Heartbeat, *arguments: Any, **options: Any) -> None:
        begin(heartbeat, *arguments, **options)
        note(heartbeat, time.monotonic())

    def renewed(heartbeat: Heartbeat, now: float, began: float) -> None:
        renew(heartbeat, now, began)
        note(heartbeat, now)

    Heartbeat.__init__ = begun  # type: ignore[assignment,method-assign]
    Heartbeat._renew_lease = renewed  # type: ignore[assignment,method-assign]


def _embed_a_worker(app: Flask) -> None:
    state_of(app).runtime(EMBEDDED_THREADS).with_queues([DEFAULT_QUEUE]).start()

    @app.get("/hang")
    def hang() -> str:
        """Answer too late; with ``?deaf`` do not hear the server complain either."""
        if "deaf" in request.args:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGABRT])
        time.sleep(HANG_S)
        return "too late"


def _register_work(forge: ForgeJobs, ledger: LedgerWriter) -> None:
    @forge.task(kind=KIND, retry=1)
    def work(
        context: TaskContext,
        number: int,
        sleep_ms: int,
        *,
        again_ms: int | None = None,
        fails_once: bool = False,
    ) -> dict[str, object]:
        """Take some time, more when run again; fail at first when asked to."""
        ledger.note(STARTED, context)
        lines = NumberedLines(context)
        takes_ms = sleep_ms if again_ms is None or context.attempt == 1 else again_ms
        for _ in range(LINES - 1):
            lines.add()
            time.sleep(takes_ms / 1000 / (LINES - 1))
        lines.add()
        if fails_once and context.attempt == 1:
            ledger.note(FAILED, context)
            raise RuntimeError("fails once")
        ledger.note(ENDED, context)
        # Stored by whoever finishes the job, so the row tells which run that was.
        return {
            "number": number,
            "worker_id": context.worker_id,
            "attempt": context.attempt,
        }


def _register_forking(forge: ForgeJobs, app: Flask, ledger: LedgerWriter) -> None:
    def enqueue(context: TaskContext, job_id: str) -> None:
        ledger.note(TRIES, context, job_id)
        NumberedLines(context).add(LINE_OF_CHILD)
        payload = {"number": 0, "sleep_ms": 1}
        with app.app_context():
            try:
                forge.enqueue(KIND, payload, max_attempts=MAX_ATTEMPTS, job_id=job_id)
            except StorageError as error:
                if REFUSED not in str(error):
                    raise
                sys.exit(REFUSED_STATUS)
        ledger.note(ENQUEUED, context, job_id)

    @forge.task(kind=FORKING_KIND, retry=1)
    def forking(context: TaskContext, number: int, sleep_ms: int) -> dict[str, object]:
        """Fork a child that enqueues a job, while other threads go on."""
        del sleep_ms
        ledger.note(STARTED, context)
        lines = NumberedLines(context)
        lines.add()
        job_id = UlidGenerator().new()
        start = multiprocessing.get_context("fork").Process
        child = start(target=enqueue, args=(context, job_id))
        lines.add()
        began_at = time.monotonic()
        child.start()
        has_waited = time.monotonic() - began_at >= LONGEST_WAIT_S
        if not _has_ended_well(child, may_be_refused=has_waited):
            ledger.note(BROKEN, context)
            child.kill()
        lines.add_in_thread()
        lines.add()
        ledger.note(ENDED, context)
        return {
            "number": number,
            "worker_id": context.worker_id,
            "attempt": context.attempt,
        }


def _has_ended_well(child: BaseProcess, *, may_be_refused: bool) -> bool:
    """Wait for a child; return whether its exit status is one that it may have."""
    child.join(CHILD_LIMIT_S)
    # A thread that starts another child reaps this one, and then notes its status.
    ends_at = time.monotonic() + STATUS_LIMIT_S
    while child.exitcode is None and time.monotonic() < ends_at:
        time.sleep(0.001)
    return child.exitcode == 0 or (may_be_refused and child.exitcode == REFUSED_STATUS)


def _register_limited(forge: ForgeJobs, ledger: LedgerWriter) -> None:
    @forge.task(kind=METERED_KIND, retry=1)
    def metered(context: TaskContext) -> None:
        """Take a token of the budget that all share."""
        ledger.note(ASKED, context)
        context.rate_limit(BUCKET)
        ledger.note(STARTED, context)

    @forge.task(kind=LIMITED_KIND, retry=1, max_concurrent=PERMITS, key="account")
    def limited(context: TaskContext, account: int, sleep_ms: int) -> None:
        """Take some time, with few others of the same account beside it."""
        del account
        ledger.note(STARTED, context)
        time.sleep(sleep_ms / 1000)
        ledger.note(ENDED, context)


def _register_batches(forge: ForgeJobs, ledger: LedgerWriter) -> None:
    def part(context: TaskContext, ended: object = None) -> None:
        del ended
        ledger.note(STARTED, context)
        time.sleep(PART_S)
        ledger.note(ENDED, context)

    forge.task(kind=PART_KIND, retry=1)(part)
    forge.task(kind=BATCH_ENDED_KIND, retry=1)(part)


def _register_hogs(forge: ForgeJobs, ledger: LedgerWriter) -> None:
    def hog(context: TaskContext, hold_ms: int) -> dict[str, object]:
        """Keep the interpreter's lock for a while, unless run again."""
        ledger.note(STARTED, context)
        lines = NumberedLines(context)
        lines.add()
        if context.attempt == 1:
            # A C call that, unlike sleep(), does not let other threads run.
            ctypes.PyDLL(None).usleep(hold_ms * 1000)
        for _ in range(1, LINES):
            lines.add()
        ledger.note(ENDED, context)
        return {"worker_id": context.worker_id, "attempt": context.attempt}

    forge.task(kind=HOG_KIND, retry=1)(hog)
    forge.task(kind=HOG_APART_KIND, retry=1, isolation="process")(hog)


def _let_heartbeats_break(switch: Path) -> None:
    beat = JobQueue.heartbeat

    def heartbeat(jobs: JobQueue, *arguments: Any) -> HeartbeatReport:
        if switch.exists():
            if switch.read_text() == HANGS:
                time.sleep(HANG_S)
            raise RuntimeError("this heartbeat is broken")
        return beat(jobs, *arguments)

    JobQueue.heartbeat = heartbeat  # type: ignore[assignment,method-assign]
