"""Runs one worker process in the foreground until it is told to stop.

It stops on SIGTERM or SIGINT, in burst mode once nothing is due, with its parent, and
when a fresh process would be better: a newer package has migrated the database, the
heartbeat is stuck, or tasks that ignore their time limit block too many threads.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.handle import RuntimeHandle
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.signals import EXIT_AT_ONCE, REPEAT_S, StopSignals

logger = get_logger(__name__)

PARENT_PIPE_VARIABLE = "FORGE_JOBS_PARENT_PIPE"
MOST_ABANDONED = 4
EXIT_TAINTED = 75  # EX_TEMPFAIL: a service manager may restart us
EXIT_CHANGED = 3
_LOOK_PERIOD_S = 1.0
_BURST_LOOK_PERIOD_S = 0.2


def parent_pipe(environ: Mapping[str, str]) -> int | None:
    """Return the pipe that closes when the parent stops or dies, or None."""
    text = environ.get(PARENT_PIPE_VARIABLE, "")
    if not text.isdigit():
        return None
    try:
        mode = os.fstat(int(text)).st_mode
    except OSError:
        return None  # a program that a task started inherits only the variable
    return int(text) if stat.S_ISFIFO(mode) else None


def run_in_foreground(
    runtime: QueueRuntime,
    *,
    grace_s: float,
    burst: bool = False,
    changed: Callable[[], str | None] = lambda: None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run a worker process until it is told to stop.

    Args:
        runtime: Configured and not started.
        grace_s: Seconds that running tasks get to finish.
        burst: Also stop once no job is due and none runs here.
        changed: Also stop, with status 3, once it names a changed file.
        environ: May name the parent's pipe.

    Returns:
        The exit status: 0, 75 if the process should be replaced, or 130 after a second
        signal, which returns running jobs to their queues at once.
    """
    pipe = parent_pipe(environ)
    if pipe is not None:
        runtime.with_parent(os.getppid())
    descriptors = [] if pipe is None else [pipe]
    # A signal to the process group reaches us directly and through the parent.
    with StopSignals(repeat_s=REPEAT_S if descriptors else 0.0) as signals:
        if signals.wait(0.0, descriptors) or signals.is_stopping:
            return 0  # told to stop while the application was loading
        handle = runtime.start()
        signals.at_second = handle.hurry
        status = _wait(signals, handle, descriptors, burst=burst, changed=changed)
        # Without a heartbeat, other workers have its jobs by now: do not wait.
        longest_s = 0.0 if handle.is_stuck else grace_s
        if running := len(handle.running()):
            logger.info(
                "stopping; waiting up to %g s for %s running jobs; signal again to "
                "return them to the queue now",
                longest_s,
                running,
            )
        else:
            logger.info("stopping; no job is running")
        signals.wait_during(lambda: handle.shutdown_graceful(longest_s))
    return EXIT_AT_ONCE if signals.is_hurried else status


def _wait(
    signals: StopSignals,
    handle: RuntimeHandle,
    descriptors: Sequence[int],
    *,
    burst: bool,
    changed: Callable[[], str | None],
) -> int:
    while not signals.is_stopping:
        period_s = _BURST_LOOK_PERIOD_S if burst else _LOOK_PERIOD_S
        if signals.wait(period_s, descriptors):
            logger.info("the parent process is stopping or gone")
            return 0
        if reason := reason_to_stop(handle):
            logger.error("stopping: %s", reason)
            return EXIT_TAINTED
        if file := changed():
            logger.info("%s has changed; restarting", file)
            return EXIT_CHANGED
        if burst and _is_done(handle):
            logger.info("no job is due; stopping")
            return 0
    return 0


def reason_to_stop(handle: RuntimeHandle) -> str | None:
    """Return why a fresh worker would be better, or None."""
    if handle.abandoned_count >= MOST_ABANDONED:
        return "too many tasks ignore their time limit"
    if handle.is_stuck:
        return "the heartbeat or the dispatcher is stuck"
    if handle.is_outdated:
        return "a newer package has migrated the database"
    return None


def _is_done(handle: RuntimeHandle) -> bool:
    try:
        return not handle.has_work()
    except StorageError:  # the dispatcher logs it and keeps trying
        return False
