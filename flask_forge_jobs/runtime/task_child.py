"""The other side of :mod:`~flask_forge_jobs.runtime.isolation`: runs the tasks.

Tasks run in the main thread, one after the other. A second thread listens to the
worker. When a job has to stop, its token trips and :class:`CancelledError` is raised
wherever the task stands, as Ctrl-C would raise KeyboardInterrupt; a task that is deaf
to that, in a long call of C code for instance, is killed a moment later.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from flask_forge_jobs.model.outcomes import Failed, Outcome
from flask_forge_jobs.runtime import task_messages as messages
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.isolation import CHANNEL_VARIABLE
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.tasks.cancellation import (
    CancelledError,
    CancelReason,
    CancelToken,
)


def take_channel(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the connection to the worker that started us for its tasks, or None.

    The variable that tells of it is removed, so that programs of a task's own do not
    take themselves for one.
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
    """Run the tasks that a worker asks for until it says that this is all.

    Args:
        runtime: Configured as the worker's, and not started.
        channel: The connection to the worker; when it breaks, this process is killed
            with everything that the tasks have started.

    Returns:
        The exit status, 0.
    """
    _TaskServer(runtime, channel).serve()
    runtime.plan.storage.close()
    return 0


class _TaskServer:
    """Serves one worker."""

    def __init__(self, runtime: QueueRuntime, channel: socket.socket) -> None:
        self._plan = runtime.plan
        self._channel = channel
        self._sending = threading.Lock()
        self._runs: SimpleQueue[messages.Run | None] = SimpleQueue()
        self._token = CancelToken()
        self._may_interrupt = False

    def serve(self) -> None:
        """Run jobs; returns when the worker has no more."""
        # A service manager that stops a worker sends SIGTERM to us as well; whether we
        # may finish is for the worker to say.
        signal.signal(signal.SIGTERM, self._interrupt)
        listener = threading.Thread(
            target=self._listen, name="forge-jobs-channel", daemon=True
        )
        listener.start()
        self._send(messages.READY)
        while (run := self._runs.get()) is not None:
            self._send(messages.outcome_message(self._run(run)))

    def _run(self, run: messages.Run) -> Outcome:
        clock = self._plan.clock
        now = clock.monotonic()
        execution = Execution(run.job, now, token=self._token, started_at=now)
        if run.seconds_left is not None:
            execution.stops_at = now + run.seconds_left
        runner = self._plan.runner(
            self._plan.registry, run.worker_id, concurrency=None, report=self._report
        )
        try:
            with self._interruptible():
                self._token.raise_if_cancelled()  # while the job waited for us
                return runner.run(execution)
        except CancelledError as error:  # just before the task, or just behind it
            return Failed(str(error))

    def _report(self, execution: Execution, text: str) -> None:
        message = messages.progress_message(execution.job.id, text)
        if threading.current_thread() is not threading.main_thread():
            self._send(message)
            return
        # Half a line would garble the next one.
        may_interrupt, self._may_interrupt = self._may_interrupt, False
        self._send(message)
        self._may_interrupt = may_interrupt
        self._raise_if_due()

    def _send(self, message: Mapping[str, object]) -> None:
        with self._sending:
            self._channel.sendall(messages.encode(message))

    # -- stopping --------------------------------------------------------------------

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        self._may_interrupt = True
        try:
            yield
        finally:
            self._may_interrupt = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._raise_if_due()

    def _raise_if_due(self) -> None:
        """Raise in the task, once, and only when the worker has said why."""
        if self._may_interrupt and self._token.is_cancelled:
            self._may_interrupt = False
            raise CancelledError(self._token.reason)

    # -- the other thread ------------------------------------------------------------

    def _listen(self) -> None:
        try:
            with self._channel.makefile("rb") as lines:
                for line in lines:
                    self._hear(messages.decode(line))
        finally:
            # The worker is gone, or cannot be understood. The kernel has killed us by
            # now if nobody has closed the pipe that tells it.
            os.killpg(0, signal.SIGKILL)

    def _hear(self, message: dict[str, object]) -> None:
        if "run" in message:
            self._token = CancelToken()
            self._runs.put(messages.run_of(message))
        elif "cancel" in message:
            self._token.cancel(CancelReason(str(message["cancel"])))
            ident = threading.main_thread().ident
            assert ident is not None  # noqa: S101  # for the type checker
            signal.pthread_kill(ident, signal.SIGTERM)
        else:
            self._runs.put(None)
