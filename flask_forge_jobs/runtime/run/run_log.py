"""RunLog: the lines of one run, from when they are logged until they are stored."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.masking import Mask
from flask_forge_jobs.model.progress import ProgressMeter
from flask_forge_jobs.model.run_logs import (
    LOOKED_AT,
    MAX_RUN_BYTES,
    LogChunk,
    LogLine,
    fit_text,
    fit_trace,
    instant_of,
    size_of,
)
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.tasks.cancellation import CancelledError
from flask_forge_jobs.tasks.context import entered_context
from flask_forge_jobs.tasks.failures import traceback_of

OUR_LOGGER = "flask_forge_jobs"
PRINT_LOGGER = "print"
_NAME_LENGTH = 128
_LEVEL_LENGTH = 32


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Which lines to keep: from which level on, and whether those of ``print``, too."""

    level: int
    prints: bool
    mask: Mask
    clock: Clock


@dataclass(slots=True)
class Reports:
    """What the task of a run has reported and logged, and may not be stored yet."""

    progress: ProgressMeter = field(default_factory=ProgressMeter)
    log: RunLog | None = None
    # The value that the task has saved last, until a heartbeat has stored it.
    saved: Checkpoint | None = None

    def note_stored(self, checkpoint: Checkpoint) -> None:
        """Forget a checkpoint that is stored, unless another one has followed."""
        if self.saved is checkpoint:
            self.saved = None

    def end_log(self) -> None:
        """Add no more lines."""
        if self.log is not None:
            self.log.end()

    def last_lines(self) -> LogChunk | None:
        """End the log; see :meth:`RunLog.last`."""
        return None if self.log is None else self.log.last()


class ReportingRun(Protocol):
    """A run whose task reports."""

    job: ClaimedJob
    reports: Reports | None


LoggedRun = tuple[ReportingRun, LogSettings]

UNKNOWN: Any = object()
logging_as: ContextVar[LoggedRun | None] = ContextVar("forge_jobs_run", default=UNKNOWN)
"""The run that logs where it is not the one of the current task; None keeps no line.

Set in threads that a task starts, and while a handler handles a line. A run itself sets
nothing, because its task's context has it, and each variable to set takes time.
"""
_making = threading.RLock()


class RunLog:
    """The lines of a run, of which the first 64 KiB are kept.

    Any thread may add lines until the run ends; later ones are dropped. A line stays
    here until it is known to be stored, so that an unknown outcome of a write loses
    and repeats none.
    """

    def __init__(self, job: ClaimedJob, settings: LogSettings) -> None:
        self._job = job
        self._settings = settings
        # Reentrant: a handler of a signal may log within a call that it interrupts.
        self._lock = threading.RLock()
        self._lines: list[LogLine] = []
        self._first_line = 0
        self._room = MAX_RUN_BYTES
        self._printed = ""
        self._left_out_count = 0
        self.is_full = False
        """Whether nothing is added any more, because of its size or at its end."""

    def leave_out(self, count: int = 1) -> None:
        """Count lines that are not kept."""
        with self._lock:
            self._left_out_count += count

    def add_record(self, record: logging.LogRecord) -> None:
        """Add the line of a record; never raises, whatever the record holds."""
        if self.is_full:
            self.leave_out()
        else:
            self.add(_line_of(record, self._settings.mask))

    def add(self, line: LogLine) -> None:
        """Add a line that is masked."""
        size = size_of(line)
        with self._lock:
            if self.is_full or size > self._room:
                self.is_full = True
                self._left_out_count += 1
            else:
                self._room -= size
                self._lines.append(line)

    def add_printed(self, text: str) -> None:
        """Add the lines of printed text; the last one may go on with the next text."""
        with self._lock:
            if self.is_full:
                self._left_out_count += text.count("\n")
                return
            *whole, rest = text.split("\n")
            for each in whole:
                self._end_printed(each)
            self._printed += rest[: LOOKED_AT + 1 - len(self._printed)]

    def _end_printed(self, text: str) -> None:
        if self.is_full:
            self._left_out_count += 1
            return
        text, self._printed = self._printed + text, ""
        shown = fit_text(text, self._settings.mask)
        self.add(LogLine(self._settings.clock.now_us(), "INFO", PRINT_LOGGER, shown))

    def receive(self, lines: Iterable[LogLine], left_out_count: int) -> None:
        """Add lines that another process has masked and bounded."""
        for line in lines:
            self.add(line)
        self.leave_out(left_out_count)

    def unsaved(self) -> LogChunk | None:
        """Return the lines that are not known to be stored."""
        # The number of the first line is of these lines: a heartbeat that has stored
        # some of them moves it.
        with self._lock:
            if not self._lines:
                return None
            lines = tuple(self._lines)
            job = self._job
            return LogChunk(job.run_id, job.attempts, self._first_line, lines)

    def note_stored(self, chunk: LogChunk) -> None:
        """Forget lines that are stored."""
        with self._lock:
            if chunk.first_line == self._first_line:
                self._first_line += len(chunk.lines)
                del self._lines[: len(chunk.lines)]

    def take(self) -> tuple[tuple[LogLine, ...], int]:
        """Return and forget the lines and the number of those left out."""
        with self._lock:
            lines, self._lines = tuple(self._lines), []
            left_out_count, self._left_out_count = self._left_out_count, 0
        return lines, left_out_count

    def end(self) -> None:
        """Add no more lines."""
        with self._lock:
            if self._printed:
                self._end_printed("")
            self.is_full = True

    def last(self) -> LogChunk | None:
        """End the log; return the lines that are not known to be stored.

        If lines were left out, the last line has their number.
        """
        self.end()
        with self._lock:
            count, self._left_out_count = self._left_out_count, 0
            if count:
                noun = "line was" if count == 1 else "lines were"
                text = (
                    f"{count} more {noun} left out: a run keeps "
                    f"{MAX_RUN_BYTES // 1024} KiB"
                )
                at_us = self._settings.clock.now_us()
                self._lines.append(LogLine(at_us, "WARNING", OUR_LOGGER, text))
        return self.unsaved()


def logged_run() -> LoggedRun | None:
    """Return the run that logs here; None where no line is kept."""
    run = logging_as.get()
    if run is not UNKNOWN:
        return run
    context = entered_context()
    return None if context is None else context.logged_run


def reports_of(run: ReportingRun) -> Reports:
    """Return the reports of a run, made for the first one."""
    with _making:
        if run.reports is None:
            run.reports = Reports()
        return run.reports


def log_of(run: LoggedRun) -> RunLog:
    """Return the log of a run, made for its first line."""
    execution, settings = run
    reports = execution.reports or reports_of(execution)
    log = reports.log
    if log is None:
        with _making:
            log = reports.log = reports.log or RunLog(execution.job, settings)
    return log


def receive_lines(lines: Iterable[LogLine], left_out_count: int) -> None:
    """Add lines from another process to the log of this thread's run."""
    run = logged_run()
    if run is not None:
        log_of(run).receive(lines, left_out_count)


@lru_cache(1024)
def _logger_name(name: str, mask: Mask) -> str:
    return one_line(mask(name), _NAME_LENGTH)


@lru_cache(64)
def _level_name(level: int) -> str:
    return one_line(str(logging.getLevelName(level)), _LEVEL_LENGTH)


def _line_of(record: logging.LogRecord, mask: Mask) -> LogLine:
    try:
        text = fit_text(_message_of(record), mask)
        if record.exc_info or record.stack_info:
            text = _with_traces(record, text, mask)
        level, name = _level_name(record.levelno), _logger_name(str(record.name), mask)
    except CancelledError:  # raised by a signal in an isolated task
        raise
    except Exception as error:  # noqa: BLE001  # of foreign code
        text = f"a log record that cannot be shown: {type(error).__name__}"
        level, name = "ERROR", OUR_LOGGER
    return LogLine(instant_of(record.created), level, name, text)


def _message_of(record: logging.LogRecord) -> str:
    """Return the message; if its arguments do not fit, the template, and why."""
    try:
        # A plain text; a subclass could run code later on.
        return str.__str__(record.getMessage())
    except CancelledError:
        raise
    except Exception as error:
        if type(record.msg) is not str:
            raise
        return f"{record.msg} (its arguments do not fit: {type(error).__name__})"


def _with_traces(record: logging.LogRecord, text: str, mask: Mask) -> str:
    if record.stack_info:
        text = fit_trace(text, fit_text(str(record.stack_info), mask))
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        text = fit_trace(text, traceback_of(record.exc_info[1], mask))
    return text
