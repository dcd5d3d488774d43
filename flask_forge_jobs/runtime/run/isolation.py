"""Runs isolated tasks in processes of their own, on the worker's side.

A slot thread borrows a process, sends it the job and waits for the outcome. A process
loads the application once and runs one job after the other. It is discarded when it
dies or its job is stopped.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.variables import CHANNEL_VARIABLE
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.outcomes import Failed, Outcome, clip
from flask_forge_jobs.runtime.run import task_messages as messages
from flask_forge_jobs.runtime.run.run_log import receive_lines
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.decorator import Isolation, Task
from flask_forge_jobs.tasks.process_groups import (
    ProcessGroup,
    check_platform,
    describe_status,
    holding_stop_signals,
)
from flask_forge_jobs.tasks.registry import Runnable, TaskRegistry
from flask_forge_jobs.tasks.supervision import LineReader, LineTooLongError, Supervision

logger = get_logger(__name__)

START_LIMIT_S = 60.0  # to load the application
KILL_SLACK_S = 5.0  # beyond the grace, to reap a killed process
FAREWELL_S = 1.0  # for the last writes of an idle process when the worker stops


class TaskProcess:
    """A process that runs tasks."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        try:
            number = theirs.fileno()
            # The worker decides whether a job may finish.
            with holding_stop_signals():
                self.group = ProcessGroup(
                    command,
                    environ=dict(environ) | {CHANNEL_VARIABLE: str(number)},
                    pass_fds=(number,),
                )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._descriptor = self._socket.fileno()
        self._lines = LineReader(self._descriptor, messages.LONGEST_BYTES)
        self._outcome: Outcome | None = None
        self.is_ready = False
        self.is_late = False
        self._ready_by: float | None = None

    def wait_until_ready(self, context: TaskContext) -> bool:
        """Wait until the process has loaded the application.

        Return False if it ends or takes too long, or if the job has to stop; in that
        case it may become ready later. The time counts from the first call.
        """
        clock = context.clock
        if self._ready_by is None:
            self._ready_by = clock.monotonic() + START_LIMIT_S
        elif not self.is_ready:
            self._listen(context)  # it may have said so since the last job
        if self.is_ready:
            return True
        with Supervision(
            self.group,
            context.cancel,
            clock=clock,
            deadline=context.deadline,
            limit_at=self._ready_by,
            grace_s=None,
        ) as watch:
            watch.read(self._descriptor, lambda: self._listen(context))
            watch.run()
            self.is_late = watch.is_late and not self.is_ready
        return self.is_ready

    def run(self, context: TaskContext, payload: str, grace_s: float) -> Outcome | None:
        """Run a job in a ready process; return None if that dies."""
        self._outcome = None
        is_sent = False

        def ask() -> None:
            if is_sent:
                self.tell(messages.cancel_message(context.cancel.reason))
            else:  # within the line; the task has not started, so nobody misses it
                self.group.end()

        with Supervision(
            self.group,
            context.cancel,
            clock=context.clock,
            deadline=context.deadline,
            grace_s=grace_s,
            ask=ask,
        ) as watch:

            def listen() -> None:
                nonlocal is_sent
                is_sent = True
                watch.read(self._descriptor, lambda: self._listen(context))

            line = messages.encode(messages.run_message(context, payload))
            watch.write(self._descriptor, line, listen)
            watch.run()
        return self._outcome

    def close(self) -> int:
        """End the process; return its exit status."""
        status = self.group.close()
        self._socket.close()
        return status

    def _listen(self, context: TaskContext) -> bool:
        """Handle the messages of the process; return whether the wait is over."""
        try:
            sent = [messages.decode(line) for line in self._lines.read()]
        except (LineTooLongError, ValueError):
            logger.exception(
                "the process of job %s sent an invalid message", context.job_id
            )
            self.group.end()
            return True
        for message in sent:
            if "ready" in message:
                self.is_ready = True
                return True
            if message.get("id") != context.job_id:
                continue  # from threads that an earlier task left
            if "outcome" in message:
                self._outcome = messages.outcome_of(message)
                return True
            if "lines" in message:
                receive_lines(*messages.lines_of(message))
            elif "saved" in message:
                context.keeper.save(context.run, message["saved"])
            else:
                context.progress_sink(message["progress"])
        if self._lines.is_over:
            self.group.end()
        return self._lines.is_over

    def tell(self, message: Mapping[str, object]) -> None:
        """Send a message."""
        with contextlib.suppress(OSError):  # it is gone, or does not read
            self._socket.send(messages.encode(message))


class TaskProcesses:
    """The task processes of one worker, as many as isolated jobs run at once.

    ``grace_s`` is the time between SIGTERM and SIGKILL.
    """

    def __init__(self, command: Sequence[str], *, grace_s: float, clock: Clock) -> None:
        self._command = tuple(command)
        self._environ = dict(os.environ)
        self.grace_s = grace_s
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[TaskProcess] = []
        self._busy: set[TaskProcess] = set()
        self._is_closed = False

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run a job in a process; never raise for a failure there."""
        try:
            return self._run(context, payload)
        except OSError as error:  # no free descriptor, no memory
            return Failed(clip(f"cannot start a process for the task: {error}"))

    def _run(self, context: TaskContext, payload: str) -> Outcome:
        process = self._take_ready(context)
        if isinstance(process, Failed):
            return process
        with self._discarding_at_error(process):
            outcome = process.run(context, payload, self.grace_s)
        if outcome is not None and not context.cancel.is_cancelled:
            self._keep(process)
            return outcome
        status = describe_status(self._discard(process))
        return Failed(f"its process {status}") if outcome is None else outcome

    def _take_ready(self, context: TaskContext) -> TaskProcess | Failed:
        """Return a process that has loaded the application, or why there is none."""
        process = self._take()
        with self._discarding_at_error(process):
            if process.wait_until_ready(context):
                return process
        if not process.is_late and not has_ended(process):
            self._keep(process)  # for the next attempt
            return Failed("stopped before its process was ready")
        status = self._discard(process)
        if process.is_late:
            return Failed(f"its process was not ready within {START_LIMIT_S:g} s")
        return Failed(f"its process {describe_status(status)} before it was ready")

    def close(self, farewell_s: float = FAREWELL_S) -> None:
        """End every process; jobs that still run in one fail.

        Args:
            farewell_s: How long idle processes may take to end, in seconds; default 1.
        """
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for process in self._busy:
                process.group.end()
        for process in idle:
            process.tell(messages.STOP)
        ends_at = self._clock.monotonic() + farewell_s
        for process in idle:
            process.group.wait(max(ends_at - self._clock.monotonic(), 0.0))
            process.close()

    def _take(self) -> TaskProcess:
        """Return the idle process used last, at best a ready one, or a new one."""
        while True:
            with self._lock:
                if self._is_closed:
                    raise OSError("the worker is stopping")
                if not self._idle:
                    break
                ready = [process for process in self._idle if process.is_ready]
                process = (ready or self._idle)[-1]
                self._idle.remove(process)
                self._busy.add(process)
            if not has_ended(process):
                return process
            self._discard(process)
        process = TaskProcess(self._command, self._environ)
        self._note_start(process)
        return process

    def _note_start(self, process: TaskProcess) -> None:
        with self._lock:
            self._busy.add(process)
            if self._is_closed:
                process.group.end()

    def _keep(self, process: TaskProcess) -> None:
        with self._lock:
            if not self._is_closed:
                self._busy.discard(process)
                self._idle.append(process)
                return
        self._discard(process)

    @contextlib.contextmanager
    def _discarding_at_error(self, process: TaskProcess) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._discard(process)
            raise

    def _discard(self, process: TaskProcess) -> int:
        with self._lock:
            self._busy.discard(process)
        return process.close()


def has_ended(process: TaskProcess) -> bool:
    """Whether a process is over."""
    return process.group.wait(0.0)


class IsolatedTask:
    """Stands in for a task in the worker and runs it in a process."""

    runs_elsewhere = True

    def __init__(self, task: Runnable, processes: TaskProcesses) -> None:
        self.kind = task.kind
        self.timeout_s = task.timeout_s
        self.concurrency = task.concurrency  # which the worker enforces
        self._processes = processes
        # How long the dispatcher lets us stop the task ourselves.
        self.stop_limit_s = processes.grace_s + KILL_SLACK_S

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run once in a process."""
        return self._processes.run(context, payload)


class IsolatingRegistry(TaskRegistry):
    """A registry whose isolated tasks run in processes."""

    def __init__(self, registry: TaskRegistry, processes: TaskProcesses) -> None:
        super().__init__()
        self._registry = registry
        self._stand_ins = {
            kind: IsolatedTask(task, processes)
            for kind in isolated_kinds(registry)
            if (task := registry.get(kind)) is not None
        }

    def get(self, kind: str) -> Runnable | None:
        """Return the task of a kind, or its stand-in."""
        return self._stand_ins.get(kind) or self._registry.get(kind)


def isolated_kinds(registry: TaskRegistry) -> list[str]:
    """Return the kinds of the isolated tasks."""
    return [
        kind
        for kind in registry.kinds()
        if isinstance(task := registry.get(kind), Task)
        and task.isolation is Isolation.PROCESS
    ]


def check_isolation(registry: TaskRegistry, command: Sequence[str]) -> None:
    """Raise ConfigurationError if isolated tasks cannot get a process here."""
    kinds = ", ".join(isolated_kinds(registry))
    if not kinds:
        return
    if not command:
        raise ConfigurationError(
            "isolation",
            f"{kinds} must run in a process of its own; only "
            "`flask forge-jobs worker` starts those",
        )
    try:
        check_platform()
    except OSError as error:
        raise ConfigurationError("isolation", f"{kinds}: {error}") from error
