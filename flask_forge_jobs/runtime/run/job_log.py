"""JobLog: the line of the log for each run whose end is stored.

A call of ``logging`` takes longer than all the rest of a quick job. Where nothing of
the application listens, the lines of jobs that are done are therefore written without
it, a batch at a time; all others are ordinary records.
"""

from __future__ import annotations

import logging
import os
import textwrap
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import lru_cache
from queue import SimpleQueue

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.logs import get_logger, print_failure
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.run_end import JobUpdate, RunEnd

JOB_LOGGER = "flask_forge_jobs.jobs"
"""Gets a line for each run that ends; has its own name so that it can be turned off."""
job_logger = get_logger(JOB_LOGGER)

_LEVELS = {
    RunEnd.DONE: logging.INFO,
    RunEnd.FAILED: logging.WARNING,
    RunEnd.DEAD: logging.ERROR,
    RunEnd.CANCELLED: logging.INFO,
    RunEnd.THROTTLED: logging.INFO,
}
_name_of = lru_cache(1024)(one_line)
_MESSAGE = "\0"  # stands for the message until that is known
# Lines for the thread, and batches of them that it may be behind.
_MIN_LINES, _MAX_BATCHES = 64, 8


class LineFormatter(logging.Formatter):
    """Makes lines from records, and the same lines without a record.

    Args:
        template: In ``%`` style, of ``asctime``, ``levelname``, ``name``, ``process``
            and ``message``.
    """

    def __init__(self, template: str) -> None:
        super().__init__(template)
        self._template = template

    def done_lines(self, done: Iterable[JobUpdate], boot_s: float) -> list[str]:
        """Return the lines of jobs that were done.

        Args:
            done: The ends of their runs.
            boot_s: The Unix time at which the monotonic clock was 0.
        """
        lines: list[str] = []
        shown_ms, before, after = -1, "", ""
        for update in done:
            at = boot_s + update.ended_at
            at_ms = int(at * 1000)
            if at_ms != shown_ms:
                shown_ms = at_ms
                before, _, after = self._around_message(at).partition(_MESSAGE)
            lines.append(f"{before}{_done_message(update)}{after}")
        return lines

    def _around_message(self, at: float) -> str:
        second = int(at)
        text = time.strftime(self.default_time_format, self.converter(second))
        return self._template % {
            "asctime": f"{text},{int((at - second) * 1000):03d}",
            "levelname": "INFO",
            "name": JOB_LOGGER,
            "process": os.getpid(),
            "message": _MESSAGE,
        }


class LineHandler(logging.StreamHandler, PerProcess):  # type: ignore[type-arg]  # any text stream
    """Writes the log of a program of this package to standard error.

    A thread of its own writes the lines of many jobs: after a write, its caller gets
    the interpreter back behind the busy slots, and a worker's next exchange would wait
    for that. A record waits for the lines of the jobs before it.
    """

    def __init__(self, formatter: LineFormatter) -> None:
        super().__init__()
        self.lines = formatter
        self.setFormatter(formatter)
        self.stay_own()

    def _begin(self) -> None:
        # A child leaves the lines of its parent to that.
        self._late: deque[tuple[Sequence[JobUpdate], float]] = deque()
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def write(self, done: Sequence[JobUpdate], boot_s: float) -> None:
        """Write the lines of jobs; see :meth:`LineFormatter.done_lines`."""
        self.stay_own()
        self._late.append((done, boot_s))
        is_many = len(done) >= _MIN_LINES and len(self._late) <= _MAX_BATCHES
        if is_many and self._has_thread():
            self._calls.put(True)
        else:
            self._catch_up()

    def _has_thread(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(
                target=self._write_on, name="forge-jobs-log", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _write_on(self) -> None:
        while self._calls.get():
            self._catch_up()

    def _catch_up(self) -> None:
        self.stay_own()
        self.acquire()
        try:
            lines: list[str] = []
            while self._late:
                lines += self.lines.done_lines(*self._late.popleft())
            if lines:
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()
        except Exception:  # noqa: BLE001  # a full disk or a closed pipe ends no thread
            print_failure()
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record behind the lines of the jobs before it."""
        self._catch_up()
        super().emit(record)

    def flush(self) -> None:
        """Write the lines that are late, too."""
        self._catch_up()
        super().flush()

    def close(self) -> None:
        """Write the lines that are late, and end the thread; later ones begin another.

        An application that configures logging closes the handlers of all loggers.
        """
        self._catch_up()
        if self._thread is not None:
            self._thread = None
            self._calls.put(False)
        super().close()


class JobLog:
    """Logs the ends of runs; no call raises."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def write(self, updates: Iterable[JobUpdate]) -> None:
        """Log the ends of runs, in order, once they are stored."""
        is_done_logged = job_logger.logger.isEnabledFor(logging.INFO)
        handler = _only_handler(job_logger.logger) if is_done_logged else None
        boot_s = 0.0
        if handler is not None:
            boot_s = self._clock.now_us() / SECOND_US - self._clock.monotonic()
        done: list[JobUpdate] = []
        for update in updates:
            if update.status is not JobStatus.DONE:
                if handler is not None and done:
                    handler.write(done, boot_s)
                    done = []
                _log(update)
            elif handler is not None:
                done.append(update)
            elif is_done_logged:
                _log(update)
        if handler is not None and done:
            handler.write(done, boot_s)


def _only_handler(logger: logging.Logger) -> LineHandler | None:
    """Return the handler of a logger if nothing else would see a record of it.

    Error trackers replace a method, the class of the loggers or that of the records;
    applications add handlers and filters.
    """
    if (
        type(logger) is not logging.Logger
        or logger.filters
        or logging.getLogRecordFactory() is not logging.LogRecord
        or logging.Logger.handle.__module__ != logging.__name__
        or logging.Logger.callHandlers.__module__ != logging.__name__
    ):
        return None
    handlers: list[logging.Handler] = []
    each: logging.Logger | None = logger
    while each is not None:
        handlers += each.handlers
        each = each.parent if each.propagate else None
    if len(handlers) != 1:
        return None
    (handler,) = handlers
    if not isinstance(handler, LineHandler) or handler.filters:
        return None
    if handler.level > logging.INFO or handler.formatter is not handler.lines:
        return None
    return handler


def _done_message(update: JobUpdate) -> str:
    """Return the message of a job that was done, as :func:`entry_of` makes it."""
    job, run_us = update.job, update.run_us
    names = _names(job.kind, job.queue_name, job.attempts, job.max_attempts)
    took = "" if run_us is None else f" run_ms={run_us / 1000:.1f}"
    return f"job done: id={job.id} {names}{took}"


# Of most jobs in a row it is the same text.
@lru_cache(1024)
def _names(kind: str, queue_name: str, attempt: int, max_attempts: int) -> str:
    names = f"kind={one_line(kind)} queue={one_line(queue_name)}"
    return f"{names} attempt={attempt}/{max_attempts}"


def entry_of(update: JobUpdate) -> tuple[str, dict[str, object]]:
    """Return the template of a run's message, and its fields."""
    job = update.job
    fields: dict[str, object] = {
        "id": job.id,
        "kind": _name_of(job.kind),
        "queue": _name_of(job.queue_name),
        "attempt": job.attempts,
        "max_attempts": job.max_attempts,
    }
    if update.run_us is not None:
        fields["run_ms"] = round(update.run_us / 1000, 1)
    if update.status is not JobStatus.DONE:
        if update.delay_s is not None:
            fields["delay_s"] = round(update.delay_s, 1)
        fields["error"] = one_line(update.error or "")
    if update.traceback is not None:
        # Indented, so that no line of it passes for a log line.
        fields["traceback"] = textwrap.indent(update.traceback, "    ")
    return _template(update.end, tuple(fields)), fields


@lru_cache(64)
def _template(end: RunEnd, names: Sequence[str]) -> str:
    text = " ".join(f"{name}=%({name})s" for name in names)
    text = text.replace(" max_attempts=", "/").replace(" traceback=", "\n")
    return f"job {end}: {text}"


def _log(update: JobUpdate) -> None:
    level = _LEVELS.get(update.end)
    if level is None or (update.end is RunEnd.THROTTLED and update.error is None):
        return
    # A dict, so that formatters find the fields in record.args.
    job_logger.log(level, *entry_of(update))
