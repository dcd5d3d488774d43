"""The end of a worker process, and its replacement by a new one."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from flask_forge_jobs.runtime.children import own_command
from flask_forge_jobs.runtime.foreground import EXIT_CHANGED

# The last steps of the program: its threads, then its atexit handlers.
EXIT_LIMIT_S = 5.0
THREADS_LIMIT_S = 1.0


def leave(status: int) -> NoReturn:
    """Run the interpreter's exit handlers, for a limited time, and exit.

    Not by sys.exit(), which waits for every thread that a task has left. And when the
    interpreter takes itself apart, a thread that is still in C code can crash it.
    """
    if status == EXIT_CHANGED:
        begin_anew()
    turn = threading.Lock()

    def clean_up() -> None:
        with turn:  # a second caller blocks until the process exits
            try:
                atexit._run_exitfuncs()  # noqa: SLF001
                _flush()
            finally:
                os._exit(status)

    try:
        _call_in(EXIT_LIMIT_S, lambda: _end_at_once(status))
        _call_in(THREADS_LIMIT_S, clean_up)
        # Neither has a public name; multiprocessing ends its children with both.
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    finally:
        clean_up()
        os._exit(status)


def _end_at_once(status: int) -> NoReturn:
    """Exit, and end the processes of multiprocessing, which nobody else would end.

    A pool may still work for a job that this worker has given back.
    """
    try:
        if module := sys.modules.get("multiprocessing.process"):
            for child in module.active_children():
                child.terminate()
    finally:
        os._exit(status)


def _call_in(seconds: float, work: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # Closed before the start, or later, or nobody reads it.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()


def begin_anew() -> NoReturn:
    """Replace this process by a new one with the same command line."""
    logging.shutdown()
    _flush()
    command = own_command()
    os.execv(command[0], command)  # noqa: S606  # our own command line
