"""Tasks that run in a process of their own, and that process's program.

A task leaves traces in files, because nothing else leaves its process by itself.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.limits import ConcurrencyLimit
from flask_forge_jobs.model.outcomes import Dead, Snooze, Throttled
from flask_forge_jobs.runtime.run.task_child import serve_tasks, take_channel
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.tasks.cancellation import CancelledError
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import Isolation, Task, TaskHome
from flask_forge_jobs.tasks.process_groups import STOP_SIGNALS
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import DefaultRouter
from tests.support.commands import ROOT

SLEEPER = "import time; time.sleep(600)"
FOREVER_S = 600.0
_strays: list[tuple[threading.Event, threading.Thread]] = []


def describe(context: TaskContext, text: str) -> dict[str, object]:
    """Record what the task sees of its process."""
    context.set_progress({"at": "work"})
    left_s = context.seconds_left()
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgid(0),
        "text": text,
        "job": context.job_id,
        "queue": context.queue_name,
        "attempt": context.attempt,
        "most": context.max_attempts,
        "host": context.worker_id,
        "has_limit": left_s is not None and 0 < left_s <= 60,
        "is_main_thread": threading.current_thread() is threading.main_thread(),
        "channel": os.environ.get("FORGE_JOBS_TASK_CHANNEL"),
    }


def end_as(how: str) -> str:
    """End in one of the ways in which a task may end."""
    if how == "raise":
        raise ValueError("no good")
    if how == "exit":
        sys.exit("enough")
    if how == "dead":
        raise Dead("never")
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    if how == "throttled":
        raise Throttled(7.5, scope="job")
    return how


def die(how: str) -> None:
    """Take the process along."""
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


def log_lines(count: int) -> None:
    """Log from threads, of which one goes on in the next run of the process."""
    logger = logging.getLogger("isolated")
    while _strays:
        go_on, stray = _strays.pop()
        go_on.set()
        stray.join()
    print("printed")  # noqa: T201
    for number in range(count):
        thread = threading.Thread(target=logger.info, args=("line %s", number))
        thread.start()
        thread.join()
    go_on = threading.Event()

    def log_late() -> None:
        go_on.wait()
        logger.info("of an earlier run")

    stray = threading.Thread(target=log_late, daemon=True)
    stray.start()
    _strays.append((go_on, stray))


def log_until_killed(folder: str) -> None:
    """Log a line, and never end."""
    logging.getLogger("isolated").info("begun, token=%s", "hunter2hunter2")
    note(Path(folder, "started"), os.getpid())
    time.sleep(FOREVER_S)


def fork(how: str) -> int:
    """Fork a child that comes back from the task; return its exit status."""
    pid = os.fork()
    if pid == 0:
        return come_back(how)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def come_back(how: str) -> int:
    """Come back in one of the ways in which a child may, or try to be a program."""
    if how == "exit":
        sys.exit(0)
    if how == "exec":
        os.execv("/nowhere/program", ["program"])
    if how == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
    return -1


class SleepsAtItsEnd:
    """What is raised in its finalizer is dropped."""

    def __del__(self) -> None:
        """Sleep."""
        time.sleep(FOREVER_S)


def hold(
    folder: str, *, deaf: bool = False, helper: bool = False, finalizes: bool = False
) -> None:
    """Hang, with or without an ear for the stop; then say that it is over."""
    place = Path(folder)
    if helper:
        child = subprocess.Popen([sys.executable, "-c", SLEEPER])
        note(place / "helper", child.pid)
    ends_at = time.monotonic() + FOREVER_S
    has_started = False
    while time.monotonic() < ends_at:
        try:
            if not has_started:  # whoever reads it may stop the task at once
                has_started = True
                note(place / "started", os.getpid())
                if finalizes:
                    SleepsAtItsEnd()
            time.sleep(FOREVER_S)
        except CancelledError as error:
            note(place / "heard", str(error.reason))
            if not deaf:
                raise


def finish_late(context: TaskContext, folder: str) -> str:
    """Notice the stop, and succeed nevertheless."""
    note(Path(folder) / "started", os.getpid())
    try:
        while True:
            context.set_progress("waiting")
    except CancelledError:
        return "done all the same"


def follow_up(context: TaskContext) -> str:
    """Enqueue another job."""
    return context.enqueue(NewJob("quick", queue_name="elsewhere")).id


def go_on(context: TaskContext) -> object:
    """Take two runs, with a step and a place that the second one finds."""
    first = context.step("count", lambda: context.throttle_attempts)
    place = context.checkpoint
    context.save({"place": 7})
    if context.throttle_attempts == 0:
        raise Snooze(0.0)
    return [first, place]


def wait_a_turn(context: TaskContext) -> int:
    """Run one at a time, and take from a bucket."""
    context.rate_limit("slack")
    return os.getpid()


def note(path: Path, what: object) -> None:
    """Write a file that is there completely or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(str(what), encoding="utf-8")
    draft.rename(path)


def make_registry() -> TaskRegistry:
    """Return the tasks, each in a process of its own."""
    registry = TaskRegistry()
    functions: tuple[Callable[..., object], ...] = (
        describe, end_as, die, fork, hold, finish_late, follow_up, go_on, log_lines,
        log_until_killed,
    )  # fmt: skip
    for function in functions:
        registry.add(_isolated(function))
    registry.add(_isolated(wait_a_turn, ConcurrencyLimit(1, None)))
    return registry


def _isolated(
    function: Callable[..., object], concurrency: ConcurrencyLimit | None = None
) -> Any:
    return Task(
        function,
        home=TaskHome(DefaultRouter(), _no_store, _no_store_many),
        concurrency=concurrency,
        isolation=Isolation.PROCESS,
    )


def _no_store(job: object, *, connection: object = None) -> Never:
    raise AssertionError(job, connection)


def _no_store_many(jobs: object, *, connection: object = None) -> Never:
    raise AssertionError(jobs, connection)


def main() -> int:
    """Serve the worker that started this process."""
    channel = take_channel(os.environ)
    assert channel is not None
    settings = DatabaseSettings.from_url(sys.argv[1])
    return serve_tasks(QueueRuntime(open_storage(settings), make_registry()), channel)


def command(url: str) -> list[str]:
    """Return the command of the process."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from tests.support.isolated_tasks import main; sys.exit(main())"
    )
    return [sys.executable, "-c", script, url]
