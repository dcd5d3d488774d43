"""Loggers whose calls raise nothing but KeyboardInterrupt.

A filter of the application may raise, for instance because it reads the current
request, and the standard library catches only what a handler raises. A failed log call
must not end a thread of ours or fail a job.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from typing import Any


class SafeLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose calls raise nothing but KeyboardInterrupt."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log; print a failure to stderr instead of raising it, unless it is Ctrl-C."""
        # Skip this frame when looking for the caller.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        try:
            super().log(level, msg, *args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001  # a SystemExit must not end a thread
            print_failure()


def get_logger(name: str) -> SafeLogger:
    """Return the logger of a module; see :class:`SafeLogger`."""
    return SafeLogger(logging.getLogger(name))


def print_failure() -> None:
    """Print the exception that is being handled, if it can be written to stderr."""
    with contextlib.suppress(Exception):
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc(file=sys.stderr)
