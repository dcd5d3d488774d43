"""The process of isolated tasks; the worker's side is :mod:`.isolation`.

Tasks run in the main thread, one after the other; a second thread listens to the
worker. To stop a job, its token trips and :class:`CancelledError` is raised in the
task, as Ctrl-C raises KeyboardInterrupt. A task that ignores that, for instance in a
long call of C code, is killed soon after.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from types import FrameType

from flask_forge_jobs.config.variables import CHANNEL_VARIABLE
from flask_forge_jobs.forks import handle_sigterm
from flask_forge_jobs.model.outcomes import Failed, Outcome
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.runtime.run import task_messages as messages
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.log_capture import capturing
from flask_forge_jobs.runtime.run.run_log import ReportingRun
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.tasks.cancellation import CancelledError, CancelToken
from flask_forge_jobs.tasks.process_groups import end_with_parent, ignore_stop_signals

AGAIN_S = 0.01  # until the finalizer or the fork is over
LINES_PERIOD_S = 0.5  # the worker writes them within another second


def take_channel(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the connection to the worker that started this process, or None.

    Remove its variable, so that programs that a task starts do not use it.
    """
    text = environ.pop(CHANNEL_VARIABLE, "")
    if not text.isdigit():
        return None
    try:
        mode = os.fstat(int(text)).st_mode
    except OSError:
        return None
    if not stat.S_ISSOCK(mode):
        return None
    os.set_inheritable(int(text), False)
    return socket.socket(fileno=int(text))


def serve_tasks(runtime: QueueRuntime, channel: socket.socket) -> int:
    """Run the jobs that the worker sends until it sends no more; return status 0.

    If the connection breaks, this process is killed with everything that it started.
    ``runtime`` is configured like the worker's, and not started.
    """
    with capturing(runtime.plan.log_settings):
        _TaskServer(runtime, channel).serve()
    runtime.plan.storage.close()
    return 0


class _TaskServer:
    def __init__(self, runtime: QueueRuntime, channel: socket.socket) -> None:
        self._plan = runtime.plan
        self._channel = channel
        self._sending = threading.Lock()
        self._runs: SimpleQueue[messages.TaskRun | None] = SimpleQueue()
        self._token = CancelToken()
        self._may_interrupt = False
        self._is_deaf = False
        self._execution: Execution | None = None
        self._is_running = threading.Event()
        self._pause = threading.Event()

    def serve(self) -> None:
        """Run jobs until the worker sends no more."""
        self._handle_signals()
        sys.unraisablehook = partial(self._raise_again, sys.unraisablehook)
        end_with_parent()
        listener = threading.Thread(
            target=self._listen, name="forge-jobs-channel", daemon=True
        )
        listener.start()
        if self._plan.log_settings is not None:
            threading.Thread(
                target=self._send_logs, name="forge-jobs-lines", daemon=True
            ).start()
        self._send(messages.READY)
        while (run := self._runs.get()) is not None:
            outcome = self._run(run)
            self._handle_signals()  # else a task could make the next one deaf
            self._send_last_lines()
            self._send(messages.outcome_message(run.job.id, outcome))

    def _run(self, run: messages.TaskRun) -> Outcome:
        clock = self._plan.clock
        now = clock.monotonic()
        execution = Execution(
            run.job, now, token=self._token, timeout_s=run.seconds_left, started_at=now
        )
        runner = self._plan.runner(
            self._plan.registry,
            run.worker_id,
            concurrency=None,
            report=self._report,
            save_checkpoint=self._save,
            log_settings=self._plan.log_settings,
        )
        self._execution = execution
        self._is_running.set()
        try:
            with self._interruptible():
                self._token.raise_if_cancelled()  # it may have been, before the start
                return runner.run(execution)
        except CancelledError as error:  # just before or after the task
            return Failed(str(error))

    def _report(self, execution: Execution, text: str, _: int) -> None:
        self._send_from_task(messages.progress_message(execution.job.id, text))

    def _save(self, _: ReportingRun, checkpoint: Checkpoint) -> None:
        run, text = checkpoint
        self._send_from_task(messages.checkpoint_message(run.job_id, text))

    def _send_from_task(self, message: Mapping[str, object]) -> None:
        if threading.current_thread() is not threading.main_thread():
            self._send(message)
            return
        # An interrupt within a line would garble the next one.
        may_interrupt, self._may_interrupt = self._may_interrupt, False
        self._send(message)
        self._may_interrupt = may_interrupt
        self._raise_if_due()

    def _send(self, message: Mapping[str, object]) -> None:
        with self._sending:
            self._channel.sendall(messages.encode(message))

    # -- lines that the task logs ------------------------------------------------------

    def _send_logs(self) -> None:
        """Send the lines of a running task now and then, on a thread of its own."""
        while True:
            self._is_running.wait()
            self._pause.wait(LINES_PERIOD_S)
            self._send_lines(self._execution)

    def _send_lines(self, execution: Execution | None) -> None:
        if execution is None or execution.reports is None:
            return
        log = execution.reports.log
        if log is None:
            return
        with self._sending:  # so that no other thread overtakes these lines
            lines, left_out_count = log.take()
            if lines or left_out_count:
                message = messages.lines_message(
                    execution.job.id, lines, left_out_count
                )
                self._channel.sendall(messages.encode(message))

    def _send_last_lines(self) -> None:
        self._is_running.clear()
        execution, self._execution = self._execution, None
        if execution is not None and execution.reports is not None:
            execution.reports.end_log()
        self._send_lines(execution)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        self._may_interrupt = True
        try:
            yield
        finally:
            self._may_interrupt = False

    def _handle_signals(self) -> None:
        """Handle signals, whatever the application or a task has chosen.

        A service manager may signal this process, too, but the worker decides whether
        it may finish.
        """
        handle_sigterm(self._interrupt)
        signal.signal(signal.SIGINT, self._interrupt)
        ignore_stop_signals()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._raise_if_due()

    def _raise_if_due(self) -> None:
        """Raise in the task, once, if the worker has cancelled it."""
        if self._may_interrupt and self._token.is_cancelled and not self._is_deaf:
            self._may_interrupt = False
            raise CancelledError(self._token.reason)

    def _raise_again(
        self,
        otherwise: Callable[[sys.UnraisableHookArgs], object],
        lost: sys.UnraisableHookArgs,
    ) -> None:
        """Interrupt the task again, because a finalizer or a fork has dropped it."""
        if not isinstance(lost.exc_value, CancelledError):
            otherwise(lost)
        elif self._is_running.is_set():
            self._is_deaf = self._may_interrupt = True  # Python drops an error in here
            try:
                args = (self._token,)
                threading.Thread(target=self._remind, args=args, daemon=True).start()
            finally:
                self._is_deaf = False

    def _remind(self, token: CancelToken) -> None:
        """Signal until the task is interrupted or over."""
        while self._may_interrupt and self._token is token:
            if not self._is_running.is_set():
                return
            self._pause.wait(AGAIN_S)
            _signal_main_thread()

    # -- the other thread ------------------------------------------------------------

    def _listen(self) -> None:
        try:
            with self._channel.makefile("rb") as lines:
                for line in lines:
                    self._hear(messages.decode(line))
        finally:
            # The worker has ended or sends invalid messages.
            os.killpg(0, signal.SIGKILL)

    def _hear(self, message: dict[str, object]) -> None:
        if "run" in message:
            self._token = CancelToken()
            self._runs.put(messages.run_of(message))
        elif "cancel" in message:
            self._token.cancel(CancelReason(str(message["cancel"])))
            _signal_main_thread()
        else:
            self._runs.put(None)


def _signal_main_thread() -> None:
    ident = threading.main_thread().ident
    assert ident is not None  # noqa: S101  # for the type checker
    signal.pthread_kill(ident, signal.SIGTERM)
