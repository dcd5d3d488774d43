"""Log capture: keeps what tasks log, without changing any logger's level or handlers.

While a worker runs, four methods of the standard library are wrapped; error trackers
wrap the same ones. Outside of runs, ``logger.info()`` that logs nothing takes 0.08 µs
more.

* ``Logger.isEnabledFor`` also returns True within a run if its lines are to be kept,
  and ``Logger.callHandlers`` keeps the record. Handlers get only the records that they
  would get otherwise. The level of the root logger does not count, because WARNING is
  merely Python's default; a level that is set on another logger does.
* ``Thread.start`` and ``ThreadPoolExecutor.submit`` carry the run into threads, which
  start without context variables.

``sys.stdout`` is replaced only if printed lines are to be kept.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import thread as pool_threads
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

from flask_forge_jobs.runtime.run.run_log import (
    OUR_LOGGER,
    UNKNOWN,
    LoggedRun,
    LogSettings,
    log_of,
    logged_run,
    logging_as,
)
from flask_forge_jobs.tasks.context import entered_context

Call = Callable[..., Any]
_OUR_LOGGERS = f"{OUR_LOGGER}."
_OUR_THREADS = "forge-jobs-"
# Those that ask isEnabledFor() and would make a record next.
_LOG_METHODS = frozenset(
    (
        logging.LoggerAdapter.isEnabledFor.__code__,
        *(
            getattr(logging.Logger, name).__code__
            for name in ("debug", "info", "warning", "error", "critical", "log")
        ),
    )
)


def _least_level(logger: logging.Logger) -> int:
    """Return the level that is set on a logger or above it, the root left out.

    Of our own loggers, what they say of the run from a warning on is worth a line.
    """
    each: logging.Logger | None = logger
    level = 0
    while each is not None and each.parent is not None:
        if each.level:
            level = each.level
            break
        each = each.parent
    name = logger.name
    if name.startswith(OUR_LOGGER) and (
        name == OUR_LOGGER or name.startswith(_OUR_LOGGERS)
    ):
        return max(level, logging.WARNING)
    return level


def _is_kept(run: LoggedRun, logger: logging.Logger, level: int) -> bool:
    return level >= run[1].level and level >= _least_level(logger)


def _enabled_in_runs(original: Call) -> Call:
    @wraps(original)
    def is_enabled_for(self: logging.Logger, level: int) -> bool:
        if original(self, level):
            return True
        run = logging_as.get()
        if run is UNKNOWN:  # as in logged_run(): each run asks
            context = entered_context()
            run = None if context is None else context.logged_run
        if run is None or self.disabled or self.manager.disable >= level:
            return False
        if not _is_kept(run, self, level):
            return False
        reports = run[0].reports
        log = None if reports is None else reports.log
        if log is None or not log.is_full:
            return True
        # No record has to be made, only to be counted.
        if sys._getframe(1).f_code in _LOG_METHODS:  # noqa: SLF001
            log.leave_out()
        return False

    return is_enabled_for


def _keeping_records(original: Call) -> Call:
    @wraps(original)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        run = logged_run()
        if run is None:
            original(self, record)
            return
        # What formatting and handlers log themselves is not of the task.
        token = logging_as.set(None)
        try:
            if _is_kept(run, self, record.levelno):
                log_of(run).add_record(record)
            if self.isEnabledFor(record.levelno):
                original(self, record)
        finally:
            logging_as.reset(token)

    return call_handlers


def _starting_within(original: Call) -> Call:
    @wraps(original)
    def start(self: threading.Thread, *args: Any, **options: Any) -> None:
        run = logged_run()
        if run is not None and self.ident is None and _is_of_task(self):
            with suppress(AttributeError):  # a subclass may not allow it
                _carry(self, run)
        original(self, *args, **options)

    return start


def _is_of_task(thread: threading.Thread) -> bool:
    """Return whether a thread works for the run that starts it.

    A thread of a pool works for whoever submits.
    """
    is_pooled = getattr(thread, "_target", None) is pool_threads._worker  # noqa: SLF001
    return not (is_pooled or thread.name.startswith(_OUR_THREADS))


def _carry(thread: threading.Thread, run: LoggedRun) -> None:
    own_run = thread.run

    def run_within() -> None:
        thread.__dict__.pop("run", None)  # a circle
        logging_as.set(run)
        try:
            own_run()
        finally:
            logging_as.set(None)

    thread.run = run_within  # type: ignore[method-assign]


class _Within:
    """A call that belongs to a run, in whichever thread it is made."""

    __slots__ = ("_call", "_run")

    def __init__(self, call: Call, run: LoggedRun) -> None:
        self._call = call
        self._run = run

    def __call__(self, *args: Any, **options: Any) -> Any:
        token = logging_as.set(self._run)
        try:
            return self._call(*args, **options)
        finally:
            logging_as.reset(token)


def _submitting_within(original: Call) -> Call:
    @wraps(original)
    def submit(
        self: ThreadPoolExecutor, fn: Call, /, *args: Any, **options: Any
    ) -> Any:
        run = logged_run()
        return original(self, fn if run is None else _Within(fn, run), *args, **options)

    return submit


class _Printed:
    """A standard output that also keeps what tasks print."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, and keep it if a task has printed it."""
        count: int = self._stream.write(text)
        run = logged_run()
        if run is not None and run[1].prints:
            token = logging_as.set(None)
            try:
                log_of(run).add_printed(text)
            finally:
                logging_as.reset(token)
        return count

    def writelines(self, lines: Iterator[str]) -> None:
        """Write several texts."""
        for each in lines:
            self.write(each)


class _Patch:
    """A wrapped attribute; whatever has wrapped it once more stays."""

    def __init__(self, owner: Any, name: str, wrap: Call) -> None:
        self._owner = owner
        self._name = name
        self._original = getattr(owner, name)
        self._ours = wrap(self._original)
        setattr(owner, name, self._ours)

    def undo(self) -> None:
        if getattr(self._owner, self._name) is self._ours:
            setattr(self._owner, self._name, self._original)


class _Hooks:
    """The wrapped methods of this process, while any worker keeps lines."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._after_in_child)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._users = 0
        self._print_users = 0
        self._patches: list[_Patch] = []
        self._print_patches: list[_Patch] = []

    def _after_in_child(self) -> None:
        """Keep no lines in a child, which has no writer for them."""
        self._undo([*self._print_patches, *self._patches])
        self._begin()

    def add_user(self, *, prints: bool) -> None:
        with self._lock:
            self._users += 1
            self._print_users += prints
            if not self._patches:
                self._patches = [
                    _Patch(logging.Logger, "isEnabledFor", _enabled_in_runs),
                    _Patch(logging.Logger, "callHandlers", _keeping_records),
                    _Patch(threading.Thread, "start", _starting_within),
                    _Patch(ThreadPoolExecutor, "submit", _submitting_within),
                ]
            if prints and not self._print_patches and sys.stdout is not None:
                self._print_patches = [_Patch(sys, "stdout", _Printed)]

    def remove_user(self, *, prints: bool) -> None:
        with self._lock:
            self._users -= 1
            self._print_users -= prints
            if not self._users:
                self._undo(self._patches)
            if not self._print_users:
                self._undo(self._print_patches)

    @staticmethod
    def _undo(patches: list[_Patch]) -> None:
        for patch in patches:
            patch.undo()
        patches.clear()


_hooks = _Hooks()


@contextmanager
def capturing(settings: LogSettings | None) -> Iterator[None]:
    """Keep the lines of runs within the block; of none without settings."""
    if settings is None:
        yield
        return
    _hooks.add_user(prints=settings.prints)
    try:
        yield
    finally:
        _hooks.remove_user(prints=settings.prints)
