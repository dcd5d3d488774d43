"""A fleet of real worker processes, each killed and replaced at will."""

from __future__ import annotations

import contextlib
import fcntl
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.runtime.duties.reaper import SWEEPS_PER_LEASE
from flask_forge_jobs.runtime.foreground import EXIT_TAINTED
from tests.acceptance.application import LEDGER_VARIABLE, SWEEPS_SUFFIX
from tests.acceptance.ledger import Kill, Life, Run
from tests.acceptance.serving import FACTORY
from tests.support.programs import environment, script
from tests.support.sql import Sql

STOP_LIMIT_S = 90.0
# After which a commit that was under way at a stop is visible, as a rule; well within a
# lease.
SETTLE_S = 0.2
# How often to look for a worker that holds jobs, and how long it runs in between. On a
# busy machine all of them may have been killed and take a while to start.
MAX_STOPS = 4_000
BETWEEN_STOPS_S = 0.02
# The others write for milliseconds only. Not longer: who is looked at is stopped, and a
# worker that is stopped again and again loses its lease without a stall.
LOCK_LIMIT_S = 0.1
GATE_LOOKS = 20


@dataclass(slots=True)
class Worker:
    """One worker process: its name in the registry, and when it was started."""

    name: str
    process: subprocess.Popen[bytes]
    from_ns: int


class Fleet:
    """Starts ``flask forge-jobs worker`` several times; no parent watches them.

    Args:
        database_url: The database they share.
        folder: Holds the ledger and the log.
        sql: Tells under which name a worker owned what.
        threads: Most jobs at once in each process.
        lease_s: ``FORGE_JOBS_LEASE_S``.
        environ: Further variables of every worker.
    """

    def __init__(
        self,
        database_url: str,
        folder: Path,
        sql: Sql,
        *,
        threads: int,
        lease_s: float,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.ledger = folder / "ledger"
        self.log = folder / "workers.log"
        self.workers: list[Worker] = []
        self.lives: list[Life] = []
        # Workers that ended by themselves and asked to be replaced.
        self.replaced: list[Worker] = []
        self.complaints: list[str] = []
        self._folder = folder
        self._sql = sql
        self._settings = DatabaseSettings.from_url(database_url)
        self._threads = threads
        self.lease_ns = int(lease_s * 1e9)
        self._longest_ns = int(2e9 * lease_s / SWEEPS_PER_LEASE)
        self._count = 0
        self._environ = environment(
            database_url,
            FLASK_FORGE_JOBS_LEASE_S=str(lease_s),
            **{LEDGER_VARIABLE: str(self.ledger)},
            **environ,
        )

    def start(self, *options: str, **environ: str) -> Worker:
        """Start one more worker."""
        worker = self.spawn(*options, **environ)
        self.workers.append(worker)
        return worker

    def spawn(self, *options: str, **environ: str) -> Worker:
        """Start a worker that is none of the fleet's own; see :meth:`start`."""
        name = f"w{self._count}"
        self._count += 1
        command = [script("flask"), "--app", FACTORY, "forge-jobs", "worker"]
        command += ["--quiet", "--threads", str(self._threads), "--name", name]
        command += options
        from_ns = time.monotonic_ns()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self._environ | environ,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return Worker(name, process, from_ns)

    def replace_ended(self) -> None:
        """Replace the workers that ended by themselves, as a supervisor does."""
        for _ in range(self._take_ended()):
            self.start()

    def _take_ended(self) -> int:
        ended = 0
        for worker in list(self.workers):
            status = worker.process.poll()
            if status is None:
                continue
            self.workers.remove(worker)
            self.note_end(worker, time.monotonic_ns())
            if status == EXIT_TAINTED:
                self.replaced.append(worker)
            else:
                self.complaints.append(f"worker {worker.name} ended: {status}")
            ended += 1
        return ended

    def gave_up(self) -> dict[int, int]:
        """Return when processes ended that asked to be replaced, by their id."""
        pids = {worker.process.pid for worker in self.replaced}
        return {life.pid: life.to_ns for life in self.lives if life.pid in pids}

    def kill(self, source: random.Random, count: int = 1) -> list[Kill]:
        """Kill random workers with SIGKILL, all at once, and tell what they held."""
        self.replace_ended()
        victims = source.sample(self.workers, count)
        for victim in victims:
            victim.process.kill()
        return [self._bury(victim) for victim in victims]

    def kill_one(self, worker: Worker) -> Kill:
        """Kill a worker of the fleet with SIGKILL, and tell what it held."""
        worker.process.kill()
        return self._bury(worker)

    def _bury(self, worker: Worker) -> Kill:
        worker.process.wait()
        # Taken when it is surely dead, so it wrote nothing later than this.
        at_ns = time.monotonic_ns()
        self.workers.remove(worker)
        self.note_end(worker, at_ns)
        worker_id = self._host_of(worker)
        return Kill(worker.process.pid, worker_id, at_ns, self.held_by(worker_id))

    def stall(self, source: random.Random, stall_s: float) -> Kill:
        """Stop a random worker that holds jobs for so long, then let it go on.

        Never one that was writing to SQLite: it would keep the only write lock, nobody
        could be given its jobs, and so nothing could be finished late. That is another
        fault (D1 of the matrix), which this one must not hide behind.
        """
        worker, stopped = self._stop_a_busy_one(source)
        pause = threading.Event()
        pause.wait(SETTLE_S)
        # A commit that was under way is visible by now, and nobody took the jobs yet.
        late = self.held_by(stopped.worker_id)
        pause.wait(stall_s - SETTLE_S)
        resumed_ns = time.monotonic_ns()
        worker.process.send_signal(signal.SIGCONT)
        return replace(stopped, held=stopped.held | late, resumed_ns=resumed_ns)

    def _stop_a_busy_one(self, source: random.Random) -> tuple[Worker, Kill]:
        for _ in range(MAX_STOPS):
            self.replace_ended()
            worker = source.choice(self.workers)
            worker_id = self._host_of(worker)
            worker.process.send_signal(signal.SIGSTOP)
            at_ns = time.monotonic_ns()
            held = self.held_by(worker_id)
            if held and self._is_writable():
                return worker, Kill(worker.process.pid, worker_id, at_ns, held)
            worker.process.send_signal(signal.SIGCONT)
            threading.Event().wait(BETWEEN_STOPS_S)
        raise TimeoutError(f"no worker held a job in {MAX_STOPS} looks")

    def find(self, worker_id: str) -> Worker | None:
        """Return the worker that has this id in the registry, if it lives."""
        rows = self._sql.run(
            "SELECT worker_name FROM forge_worker WHERE worker_id = ?", worker_id
        )
        names = [name for (name,) in rows]
        return next((each for each in self.workers if each.name in names), None)

    def pause(self, worker: Worker) -> None:
        """Stop a worker at a moment in which it keeps no lock of SQLite's."""
        for _ in range(MAX_STOPS):
            worker.process.send_signal(signal.SIGSTOP)
            if self._is_writable():
                return
            worker.process.send_signal(signal.SIGCONT)
            threading.Event().wait(BETWEEN_STOPS_S)
        raise TimeoutError(f"worker {worker.name} writes all the time")

    @staticmethod
    def resume(worker: Worker) -> None:
        """Let a worker go on."""
        worker.process.send_signal(signal.SIGCONT)

    def _is_writable(self) -> bool:
        path = self._settings.path
        return path is None or (_has_free_lock(path) and _has_free_gate(path))

    def _host_of(self, worker: Worker) -> str | None:
        # Also one that the others have lost: it may have come back by now.
        hosts = self._sql.run(
            "SELECT worker_id FROM forge_worker WHERE worker_name = ?", worker.name
        )
        return hosts[0][0] if hosts else None

    def held_by(self, worker_id: str | None) -> frozenset[Run]:
        """Return the runs that the store says a worker process owns."""
        rows = self._sql.run(
            "SELECT id, attempts FROM forge_job "
            "WHERE status = 'in_progress' AND worker_id = ?",
            worker_id,
        )
        return frozenset((job_id, int(attempt)) for job_id, attempt in rows)

    def stop(self) -> list[str]:
        """Stop every worker as an operator would; return all that went wrong."""
        # One that was started now would not know yet how to stop.
        self._take_ended()
        for worker in self.workers:
            worker.process.send_signal(signal.SIGTERM)
        complaints = list(self.complaints)
        for worker in self.workers:
            try:
                status = worker.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                complaints.append(f"worker {worker.name} did not stop")
                continue
            if status != 0:
                complaints.append(f"worker {worker.name} ended with status {status}")
            self.note_end(worker, time.monotonic_ns())
        return complaints

    def note_end(self, worker: Worker, at_ns: int) -> None:
        """Note when a worker watched the others, if it had started at all.

        On a busy machine a start takes longer than a lease, and a sweep that comes too
        late counts nobody's silence.
        """
        pid = worker.process.pid
        sweeps = _sweeps(Path(f"{self.ledger}{SWEEPS_SUFFIX}"), pid, worker.from_ns)
        if sweeps:
            gaps = tuple(
                (before, after)
                for before, after in pairwise((*sweeps, at_ns))
                if after - before > self._longest_ns
            )
            self.lives.append(Life(pid, sweeps[0], at_ns, gaps))

    def destroy(self) -> None:
        """Leave no process behind, whatever happened."""
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
            worker.process.wait()


def _sweeps(path: Path, pid: int, from_ns: int) -> list[int]:
    """Return when a process has swept; an earlier one may have had its id."""
    if not path.exists():
        return []
    lines = (map(int, line.split()) for line in path.read_text("ascii").splitlines())
    return [at_ns for each, at_ns in lines if each == pid and at_ns >= from_ns]


def _has_free_lock(path: Path) -> bool:
    """Whether nobody keeps SQLite's write lock."""
    with contextlib.closing(
        sqlite3.connect(path, timeout=LOCK_LIMIT_S, isolation_level=None)
    ) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def _has_free_gate(path: Path) -> bool:
    """Whether nobody keeps the lock that the package holds beside the file to write."""
    gate = Path(f"{path}.ckpt-lock")
    return not gate.exists() or _is_free(gate)


def _is_free(gate: Path) -> bool:
    with gate.open("rb") as file:
        for _ in range(GATE_LOOKS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                threading.Event().wait(LOCK_LIMIT_S / GATE_LOOKS)
            else:
                return True  # closing the file gives the lock back
    return False


@contextlib.contextmanager
def started(fleet: Fleet, count: int) -> Iterator[Fleet]:
    """Run a fleet of so many workers."""
    try:
        for _ in range(count):
            fleet.start()
        yield fleet
    finally:
        fleet.destroy()
