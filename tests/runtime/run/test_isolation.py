"""Processes of tasks, real ones; with real workers in ``cli/test_isolation.py``."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.runtime.run import isolation
from flask_forge_jobs.runtime.run.isolation import (
    IsolatingRegistry,
    TaskProcess,
    TaskProcesses,
    check_isolation,
    has_ended,
    isolated_kinds,
)
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.worker import RuntimeHandle
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.supervision import Supervision
from tests.support.backends import postgres_first, sqlite_first
from tests.support.clocks import MovingClock
from tests.support.costs import no_hang
from tests.support.isolated_tasks import command, make_registry
from tests.support.leaks import assert_leaks_nothing
from tests.support.processes import is_alive
from tests.support.runtimes import (
    LIMIT_S,
    NO_RATE_LIMITS,
    QuickTask,
    add,
    registry_of,
    wait_for_status,
)
from tests.support.waiting import wait_until

# None of these tests touches the database from the process of a task.
NO_DATABASE = "sqlite:////nowhere/queue.sqlite"
CLOCK = SystemClock()
# A process that is ready at once and then deaf.
READY = """
import os, socket, time
worker = socket.socket(fileno=int(os.environ["FORGE_JOBS_TASK_CHANNEL"]))
worker.sendall(b'{"ready":true}\\n')
time.sleep(600)
"""
MANY = 200


class Run:
    """A job in a process of its own, seen from its slot thread."""

    def __init__(
        self,
        kind: str,
        *,
        timeout_s: float | None = None,
        job_id: str = "job-1",
        clock: Clock = CLOCK,
    ) -> None:
        self.progress: list[str] = []
        self.token = CancelToken()
        self._timeout_s = timeout_s
        self._clock = clock
        self._kind = kind
        self._job_id = job_id
        self._outcomes: list[Outcome] = []
        self._thread = threading.Thread()

    def of(self, processes: TaskProcesses, **payload: object) -> Outcome:
        """Run it to its end."""
        now, limit_s = self._clock.monotonic(), self._timeout_s
        deadline = None if limit_s is None else now + limit_s
        context = TaskContext(
            job_id=self._job_id,
            kind=self._kind,
            queue_name="default",
            attempt=2,
            max_attempts=5,
            worker_id="host-1",
            cancel=self.token,
            deadline=deadline,
            clock=self._clock,
            enqueue_job=_no_enqueue,
            progress_sink=self.progress.append,
            rate_limits=NO_RATE_LIMITS,
        )
        return processes.run(context, json.dumps(payload))

    def begin(self, processes: TaskProcesses, **payload: object) -> None:
        """Run it on another thread."""
        self._thread = threading.Thread(
            target=lambda: self._outcomes.append(self.of(processes, **payload))
        )
        self._thread.start()

    def end(self) -> Outcome:
        """Wait for its end."""
        self._thread.join(LIMIT_S)
        (outcome,) = self._outcomes
        return outcome


def _no_enqueue(job: NewJob) -> EnqueueResult:
    raise AssertionError(job)


@contextlib.contextmanager
def started(
    line: Sequence[str] | None = None, *, grace_s: float = LIMIT_S
) -> Iterator[TaskProcesses]:
    processes = TaskProcesses(
        command(NO_DATABASE) if line is None else line, grace_s=grace_s, clock=CLOCK
    )
    try:
        yield processes
    finally:
        processes.close()


@pytest.fixture
def processes() -> Iterator[TaskProcesses]:
    with started() as found:
        yield found


def result_of(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Done), outcome
    assert outcome.result is not None
    found: dict[str, Any] = json.loads(outcome.result)
    return found


def pid_in(path: Path) -> int:
    wait_until(path.exists, f"{path.name} is written")
    return int(path.read_text(encoding="utf-8"))


# -- a run ---------------------------------------------------------------------------


def test_a_task_sees_its_job_in_a_process_of_its_own(processes: TaskProcesses) -> None:
    run = Run("describe", timeout_s=60)

    seen = result_of(run.of(processes, text="ö\n\u2028"))

    pid = seen.pop("pid")
    assert pid != os.getpid()
    assert seen == {
        "parent": os.getpid(),
        "group": pid,
        "text": "ö\n\u2028",
        "job": "job-1",
        "queue": "default",
        "attempt": 2,
        "most": 5,
        "host": "host-1",
        "has_limit": True,
        "is_main_thread": True,
        "channel": None,
    }
    assert run.progress == ['{"at":"work"}']


def test_a_process_is_used_again(processes: TaskProcesses) -> None:
    pids = {
        result_of(Run("describe").of(processes, text=str(n)))["pid"] for n in range(5)
    }

    assert len(pids) == 1


def test_jobs_at_the_same_time_have_processes_of_their_own(
    processes: TaskProcesses, tmp_path: Path
) -> None:
    held = Run("hold")
    held.begin(processes, folder=str(tmp_path))
    first = pid_in(tmp_path / "started")

    second = result_of(Run("describe").of(processes, text=""))["pid"]
    held.token.cancel(CancelReason.USER)
    held.end()

    assert first != second


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ("plain", Done('"plain"')),
        ("raise", Failed("ValueError: no good")),
        ("exit", Failed("SystemExit: enough")),
    ],
)
def test_outcomes_come_back_as_they_are(
    processes: TaskProcesses, how: str, outcome: Outcome
) -> None:
    assert Run("end_as").of(processes, how=how) == outcome


def test_raised_outcomes_come_back_as_they_are(processes: TaskProcesses) -> None:
    dead = Run("end_as").of(processes, how="dead")
    throttled = Run("end_as").of(processes, how="throttled")

    assert isinstance(dead, Dead)
    assert dead.message == "never"
    assert 'raise Dead("never")' in (dead.traceback or "")
    assert isinstance(throttled, Throttled)
    assert (throttled.retry_after_s, throttled.scope) == (7.5, "job")


def test_the_largest_payload_and_result_pass(processes: TaskProcesses) -> None:
    """Both are larger than what a socket takes at once."""
    text = "\u20ac" * 10_000
    payload = "x" * 1_000_000

    seen = result_of(Run("describe").of(processes, text=text))
    refused = Run("end_as").of(processes, how=payload)

    assert seen["text"] == text
    unkept = f"{len(payload) + 2} bytes of JSON exceed 65536"
    assert refused == Done(result_error=unkept)


# -- stops ---------------------------------------------------------------------------


def test_a_time_limit_stops_a_task_that_sleeps(
    processes: TaskProcesses, tmp_path: Path
) -> None:
    """B9: at once, not when the sleep is over, and the task may clean up.

    Whatever handlers the task before it has left.
    """
    Run("end_as").of(processes, how="deaf")  # and loads the application
    run = Run("hold", timeout_s=2.0)
    began_at = time.monotonic()

    with no_hang():
        outcome = run.of(processes, folder=str(tmp_path))
    took_s = time.monotonic() - began_at

    assert outcome == Failed("CancelledError: cancelled: timeout")
    assert run.token.reason is CancelReason.TIMEOUT
    assert (tmp_path / "heard").read_text() == "timeout"
    assert took_s >= 2.0
    assert not is_alive(pid_in(tmp_path / "started"))


@pytest.mark.parametrize(
    ("reason", "finalizes"), [(CancelReason.USER, False), (CancelReason.LOST, True)]
)
def test_a_cancelled_task_learns_why(
    processes: TaskProcesses, tmp_path: Path, reason: CancelReason, *, finalizes: bool
) -> None:
    """Also if Python drops the first interrupt, as it does in a finalizer."""
    run = Run("hold")
    run.begin(processes, folder=str(tmp_path), finalizes=finalizes)
    pid = pid_in(tmp_path / "started")

    run.token.cancel(reason)

    assert run.end() == Failed(f"CancelledError: cancelled: {reason}")
    assert not is_alive(pid)


def test_a_deaf_task_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    """A9: TERM, the grace, KILL, for the whole group."""
    with started(grace_s=0.3) as processes:
        run = Run("hold")
        run.begin(processes, folder=str(tmp_path), deaf=True, helper=True)
        pids = [pid_in(tmp_path / name) for name in ("started", "helper")]

        run.token.cancel(CancelReason.USER)
        outcome = run.end()

        assert outcome == Failed("its process was killed by signal 9 (SIGKILL)")
        assert (tmp_path / "heard").read_text() == "user"
        wait_until(lambda: not any(map(is_alive, pids)), "nobody is left")


def test_a_job_that_is_cancelled_before_it_is_sent_does_not_start() -> None:
    """The cancel would be lost, or land within the payload."""
    with started([sys.executable, "-S", "-c", READY], grace_s=600.0) as processes:
        run = Run("describe")
        run.begin(processes, text="x" * 1_000_000)  # more than a socket takes
        wait_until(lambda: any(p.is_ready for p in [*processes._busy]), "it is ready")

        run.token.cancel(CancelReason.USER)
        outcome = run.end()

    assert outcome == Failed("its process was killed by signal 9 (SIGKILL)")


def test_a_task_that_is_done_when_it_is_stopped_is_done(
    processes: TaskProcesses, tmp_path: Path
) -> None:
    run = Run("finish_late")
    run.begin(processes, folder=str(tmp_path))
    wait_until(lambda: run.progress, "it is ready to notice")

    run.token.cancel(CancelReason.USER)

    assert run.end() == Done('"done all the same"')
    assert set(run.progress) == {'"waiting"'}


@pytest.fixture
def others() -> set[psutil.Process]:
    """Children that earlier tests have left, such as multiprocessing's tracker."""
    return set(psutil.Process().children())


def test_a_stop_before_the_process_is_ready_leaves_it_to_the_next_job(
    others: set[psutil.Process], processes: TaskProcesses
) -> None:
    """Else a task whose limit is shorter than the start would never run."""
    early = Run("describe", timeout_s=0.0).of(processes, text="")
    (child,) = set(psutil.Process().children()) - others

    seen = result_of(Run("describe").of(processes, text=""))

    assert early == Failed("stopped before its process was ready")
    assert seen["pid"] == child.pid


# -- ends that nobody asked for ------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("exit", "ended with exit status 3"),
        ("segfault", "was killed by signal 11 (SIGSEGV)"),
        ("kill", "was killed by signal 9 (SIGKILL)"),
    ],
)
def test_a_process_that_dies_fails_its_job_only(
    processes: TaskProcesses, how: str, status: str
) -> None:
    """A9"""
    outcome = Run("die").of(processes, how=how)

    assert outcome == Failed(f"its process {status}")
    assert Run("end_as").of(processes, how="well") == Done('"well"')


@pytest.mark.parametrize("how", ["exit", "return", "exec"])
def test_a_forked_child_that_comes_back_gives_no_answer(
    processes: TaskProcesses, how: str
) -> None:
    """It would be taken for that of the task, and that for the next job's."""
    with no_hang():
        outcome = Run("fork").of(processes, how=how)

    assert outcome == Done("1")
    assert Run("fork").of(processes, how="terminate") == Done("-15")
    assert Run("end_as").of(processes, how="raise") == Failed("ValueError: no good")


def test_the_answer_of_another_job_is_dropped() -> None:
    script = r"""
import json, os, socket
worker = socket.socket(fileno=int(os.environ["FORGE_JOBS_TASK_CHANNEL"]))
worker.sendall(b'{"ready":true}\n')
for line in worker.makefile():
    for job_id in ("job-0", json.loads(line)["run"]["id"]):
        done = {"done": json.dumps(job_id), "result_error": None}
        worker.sendall(json.dumps({"outcome": done, "id": job_id}).encode() + b"\n")
"""
    with started([sys.executable, "-S", "-c", script]) as processes:
        outcomes = [
            Run("describe", job_id=job_id).of(processes)
            for job_id in ("job-1", "job-2")
        ]

    assert outcomes == [Done('"job-1"'), Done('"job-2"')]


def test_a_process_that_died_while_idle_is_replaced(processes: TaskProcesses) -> None:
    first = result_of(Run("describe").of(processes, text=""))["pid"]
    (idle,) = processes._idle
    os.kill(first, 9)
    wait_until(lambda: has_ended(idle), "it is dead")

    assert result_of(Run("describe").of(processes, text=""))["pid"] != first


def test_an_application_that_does_not_load_fails_the_job() -> None:
    with started([sys.executable, "-c", "raise SystemExit(5)"]) as processes:
        outcome = Run("describe").of(processes, text="")

    assert outcome == Failed("its process ended with exit status 5 before it was ready")


def test_an_application_that_hangs_fails_the_job(
    monkeypatch: pytest.MonkeyPatch, others: set[psutil.Process]
) -> None:
    monkeypatch.setattr(isolation, "START_LIMIT_S", 0.2)
    hangs = [sys.executable, "-c", "import time; time.sleep(600)"]
    with started(hangs) as processes:
        outcome = Run("describe").of(processes, text="")
        children = set(psutil.Process().children())

    assert outcome == Failed("its process was not ready within 0.2 s")
    assert children <= others


def test_an_application_that_hangs_is_ended_whatever_the_limits_of_its_jobs(
    others: set[psutil.Process],
) -> None:
    """Else each job of a short limit would wait for the same process, for ever."""
    clock = MovingClock()
    hangs = [sys.executable, "-c", "import time; time.sleep(600)"]
    with started(hangs) as processes:
        first = Run("describe", timeout_s=0.0, clock=clock).of(processes)
        clock.move(isolation.START_LIMIT_S)
        second = Run("describe", timeout_s=0.0, clock=clock).of(processes)
        children = set(psutil.Process().children())

    assert first == Failed("stopped before its process was ready")
    assert second == Failed("its process was not ready within 60 s")
    assert children <= others


def test_a_ready_process_is_used_before_one_that_loads() -> None:
    """Else a job may wait for the application although another process is idle."""
    with started([sys.executable, "-S", "-c", READY]) as processes:
        ready, loading = processes._take(), processes._take()
        ready.is_ready = True
        processes._keep(ready)
        processes._keep(loading)

        taken = [processes._take(), processes._take()]

        assert taken == [ready, loading]
        for process in taken:
            processes._discard(process)


def test_a_process_that_was_ready_in_time_is_used_however_late(tmp_path: Path) -> None:
    script = r"""
import json, os, pathlib, socket, sys
worker = socket.socket(fileno=int(os.environ["FORGE_JOBS_TASK_CHANNEL"]))
worker.sendall(b'{"ready":true}\n')
pathlib.Path(sys.argv[1]).touch()
for line in worker.makefile():
    done = {"done": "7", "result_error": None}
    told = {"outcome": done, "id": json.loads(line)["run"]["id"]}
    worker.sendall(json.dumps(told).encode() + b"\n")
"""
    clock = MovingClock()
    program = [sys.executable, "-S", "-c", script, str(tmp_path / "ready")]
    with started(program) as processes:
        early = Run("describe", timeout_s=0.0, clock=clock).of(processes)
        wait_until((tmp_path / "ready").exists, "the process is ready")
        clock.move(2 * isolation.START_LIMIT_S)

        outcome = Run("describe", timeout_s=60.0, clock=clock).of(processes)

    assert early == Failed("stopped before its process was ready")
    assert outcome == Done("7")


def test_a_process_that_loads_gets_no_signal_to_stop() -> None:
    """Nor does the next program of the thread that started it lose one."""
    script = (
        "import os, signal, sys; "
        "[os.kill(os.getpid(), number) for number in (1, 2, 15)]; "
        "sys.exit(sum(signal.sigpending()))"
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with started([sys.executable, "-S", "-c", script]) as processes:
        outcome = Run("describe").of(processes, text="")

    assert outcome == Failed(
        "its process ended with exit status 18 before it was ready"
    )
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_program_that_is_not_there_fails_the_job(tmp_path: Path) -> None:
    with started([str(tmp_path / "missing")]) as processes:
        outcome = Run("describe").of(processes, text="")

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("cannot start a process for the task: ")


@pytest.mark.parametrize("good_waits", [0, 1])
def test_a_worker_without_a_free_descriptor_keeps_no_process(
    good_waits: int, monkeypatch: pytest.MonkeyPatch, others: set[psutil.Process]
) -> None:
    """Neither one that loads nor one that is ready: nobody would use or end it."""
    waits = itertools.count()

    def supervise(*arguments: Any, **options: Any) -> Supervision:
        if next(waits) == good_waits:
            raise OSError(errno.EMFILE, "Too many open files")
        return Supervision(*arguments, **options)

    monkeypatch.setattr(isolation, "Supervision", supervise)
    with started([sys.executable, "-S", "-c", READY]) as processes:
        outcome = Run("describe").of(processes, text="")
        children = set(psutil.Process().children())

    assert outcome == Failed(
        "cannot start a process for the task: [Errno 24] Too many open files"
    )
    assert children <= others


@pytest.mark.parametrize(
    "line",
    ["no JSON", "[1]", pytest.param('{"x":"' + "x" * 9_000_000 + '"}', id="too long")],
)
def test_a_process_that_talks_nonsense_is_killed(
    line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "line").write_text(line + "\n")
    script = (
        "import os, socket, sys, time; "
        "worker = socket.socket(fileno=int(os.environ['FORGE_JOBS_TASK_CHANNEL'])); "
        "worker.sendall(open(sys.argv[1], 'rb').read()); time.sleep(600)"
    )
    program = [sys.executable, "-c", script, str(tmp_path / "line")]
    with started(program) as processes:
        outcome = Run("describe").of(processes, text="")

    assert outcome == Failed(
        "its process was killed by signal 9 (SIGKILL) before it was ready"
    )
    assert "job-1 sent an invalid message" in caplog.text


# -- the end of all ------------------------------------------------------------------


def test_close_ends_idle_and_busy_processes(tmp_path: Path) -> None:
    with started() as processes:
        Run("describe").of(processes, text="")
        held = Run("hold")
        held.begin(processes, folder=str(tmp_path), deaf=True)
        busy = pid_in(tmp_path / "started")
        idle = result_of(Run("describe").of(processes, text=""))["pid"]

        processes.close()

        assert held.end() == Failed("its process was killed by signal 9 (SIGKILL)")
        assert not is_alive(busy)
        assert not is_alive(idle)
        late = Run("describe").of(processes, text="")
        assert late == Failed(
            "cannot start a process for the task: the worker is stopping"
        )


def test_a_process_whose_job_ends_after_the_close_is_not_kept(
    processes: TaskProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TaskProcess.run
    used: list[TaskProcess] = []

    def run_until_closed(process: TaskProcess, *arguments: Any) -> Outcome | None:
        outcome = run(process, *arguments)
        used.append(process)
        processes.close()
        return outcome

    monkeypatch.setattr(TaskProcess, "run", run_until_closed)

    assert result_of(Run("describe").of(processes, text=""))

    (process,) = used
    assert process._socket.fileno() == -1  # it has been closed


@pytest.mark.long
def test_nothing_leaks_over_two_hundred_kills() -> None:
    """5.2: neither descriptors nor threads nor zombies."""
    script = (
        "import os, socket, signal; "
        "worker = socket.socket(fileno=int(os.environ['FORGE_JOBS_TASK_CHANNEL'])); "
        "worker.sendall(b'{\"ready\":true}\\n'); worker.recv(9); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = Failed("its process was killed by signal 9 (SIGKILL)")
    with started([sys.executable, "-S", "-c", script]) as processes:

        def run() -> None:
            assert Run("die").of(processes) == killed

        run()  # opens what stays open
        assert_leaks_nothing(run, MANY)


# -- in a runtime, on both backends --------------------------------------------------


@contextlib.contextmanager
def working(
    storage: Storage, url: str, *more: QuickTask, **options: Any
) -> Iterator[RuntimeHandle]:
    registry = make_registry()
    for task in more:
        registry.add(task)
    runtime = QueueRuntime(storage, registry, jitter=None, **options)
    handle = runtime.with_queues(["default"]).with_task_command(command(url)).start()
    try:
        yield handle
    finally:
        handle.shutdown_graceful(0.0)


def test_a_job_runs_reports_and_enqueues_from_its_process(
    storage: Storage, database_url: str
) -> None:
    with working(storage, database_url):
        first = add(storage, "describe", payload='{"text":"x"}')
        second = add(storage, "follow_up")
        done = wait_for_status(storage, first, JobStatus.DONE)
        followed = wait_for_status(storage, second, JobStatus.DONE)
        third = add(storage, "go_on")
        went_on = wait_for_status(storage, third, JobStatus.DONE)

    assert json.loads(done.result or "")["job"] == first
    follower = storage.job_reader.get(json.loads(followed.result or ""))
    assert (follower.kind, follower.queue_name) == ("quick", "elsewhere")
    assert json.loads(went_on.result or "") == [0, {"place": 7}]


@sqlite_first
def test_a_job_has_one_permit_and_the_buckets_of_all(
    storage: Storage, database_url: str
) -> None:
    """Taken in the worker; a second one in the process would never be free."""
    storage.rate_limits.put("slack", 1, 0.001)
    with working(storage, database_url):
        first = add(storage, "wait_a_turn")
        wait_for_status(storage, first, JobStatus.DONE)
        second = add(storage, "wait_a_turn")
        wait_until(
            lambda: storage.job_reader.get(second).throttle_attempts == 1,
            "the empty bucket has put the job off",
        )
        job = storage.job_reader.get(second)

    assert (job.status, job.attempts) == (JobStatus.PENDING, 0)


@sqlite_first
def test_progress_is_stored_while_the_task_runs(
    storage: Storage, database_url: str, tmp_path: Path
) -> None:
    with working(storage, database_url):
        job_id = add(
            storage, "finish_late", payload=json.dumps({"folder": str(tmp_path)})
        )
        wait_until(
            lambda: '"waiting"' in (storage.job_reader.get(job_id).progress or ""),
            "the progress is stored",
        )
        storage.job_admin.cancel(job_id)
        job = wait_for_status(storage, job_id, JobStatus.DONE)

    assert job.result == '"done all the same"'


@sqlite_first
def test_lines_that_an_isolated_task_logs_are_kept(
    storage: Storage, database_url: str
) -> None:
    """In order, of each run its own; a thread of the first one logs on."""
    ids = []
    with working(storage, database_url):
        for count in (3, 2):
            job_id = add(storage, "log_lines", payload=f'{{"count":{count}}}')
            wait_for_status(storage, job_id, JobStatus.DONE)
            ids.append(job_id)

    texts = [
        [line.text for line in storage.logs.page(job_id, 0, -1, 10)[0]]
        for job_id in ids
    ]
    assert texts == [["line 0", "line 1", "line 2"], ["line 0", "line 1"]]


@sqlite_first
def test_lines_of_an_isolated_task_outlive_its_process(
    storage: Storage, database_url: str, tmp_path: Path
) -> None:
    payload = json.dumps({"folder": str(tmp_path)})
    with working(storage, database_url):
        job_id = add(storage, "log_until_killed", payload=payload, max_attempts=1)
        pid = pid_in(tmp_path / "started")
        wait_until(
            lambda: storage.logs.page(job_id, 0, -1, 10)[0], "the line is stored"
        )
        os.kill(pid, signal.SIGKILL)
        wait_for_status(storage, job_id, JobStatus.DEAD)

    (line,) = storage.logs.page(job_id, 0, -1, 10)[0]
    assert (line.logger, line.text) == ("isolated", "begun, token=[redacted]")


def test_a_crash_costs_one_attempt_and_nothing_else(
    storage: Storage, database_url: str
) -> None:
    """A9: the worker and its other jobs go on."""
    with working(storage, database_url, QuickTask()) as handle:
        pill = add(storage, "die", payload='{"how":"kill"}', max_attempts=1)
        dead = wait_for_status(storage, pill, JobStatus.DEAD)
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        abandoned = handle.abandoned_count

    assert dead.last_error == "its process was killed by signal 9 (SIGKILL)"
    assert (dead.attempts, dead.crashes, abandoned) == (1, 0, 0)


@postgres_first
def test_a_time_limit_ends_a_deaf_job_and_keeps_its_slot(
    storage: Storage, database_url: str, tmp_path: Path
) -> None:
    """Killed and reaped before the slot is given up."""
    payload = json.dumps({"folder": str(tmp_path), "deaf": True})
    with working(storage, database_url, cancel_grace_s=0.2) as handle:
        wait_for_status(
            storage, add(storage, "describe", payload='{"text":""}'), JobStatus.DONE
        )
        job_id = add(storage, "hold", payload=payload, timeout_s=3.0, max_attempts=1)
        job = wait_for_status(storage, job_id, JobStatus.DEAD)
        abandoned = handle.abandoned_count

    assert job.last_error == "timed out after 3s"
    assert abandoned == 0
    assert not is_alive(pid_in(tmp_path / "started"))


@postgres_first
def test_a_shutdown_ends_the_process_before_the_job_goes_back(
    storage: Storage, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else may start it while it still runs here."""
    payload = json.dumps({"folder": str(tmp_path), "deaf": True})
    close = TaskProcesses.close
    held: list[str] = []
    with working(storage, database_url) as handle:
        job_id = add(storage, "hold", payload=payload)
        pid = pid_in(tmp_path / "started")

        def note_and_close(processes: TaskProcesses, farewell_s: float) -> None:
            held.extend(run.job.id for run in handle.running())
            close(processes, farewell_s)

        monkeypatch.setattr(TaskProcesses, "close", note_and_close)
        handle.shutdown_graceful(0.0, last_call_s=0.0)  # else the job ends by itself

        job = storage.job_reader.get(job_id)
        assert held == [job_id]
        assert not is_alive(pid)
        assert (job.status, job.attempts) == (JobStatus.PENDING, 0)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_worker_that_cannot_start_processes_does_not_start(storage: Storage) -> None:
    runtime = QueueRuntime(storage, make_registry()).with_queues(["default"])

    with pytest.raises(ConfigurationError, match=r"describe, die, .* own; only"):
        runtime.start()


def test_another_system_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    check_isolation(registry_of(QuickTask()), ())
    with pytest.raises(ConfigurationError, match=r"need Linux 5\.3"):
        check_isolation(make_registry(), ["worker"])


# -- which tasks ---------------------------------------------------------------------


def test_only_tasks_that_ask_for_it_are_isolated() -> None:
    registry = make_registry()
    quick = QuickTask()
    registry.add(quick)
    with started() as processes:
        seen = IsolatingRegistry(registry, processes)
        stand_in = seen.get("hold")

        assert "quick" not in isolated_kinds(registry)
        assert seen.get("quick") is quick
        assert seen.get("missing") is None
        assert stand_in is not None
        assert (stand_in.kind, stand_in.timeout_s) == ("hold", None)


def test_a_registry_without_them_has_none() -> None:
    assert isolated_kinds(registry_of(QuickTask())) == []
    assert isolated_kinds(TaskRegistry()) == []
