"""Loggers whose calls never raise.

A handler or a filter of the application may: one that asks for the present request does
so in every worker. The standard library catches what a handler raises, and not what a
filter does. No thread of ours ends of that, and no job fails.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from typing import Any


class SafeLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger; see :func:`get_logger`."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log as a logger does; what goes wrong is shown on stderr."""
        # This frame is not the caller.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException:  # noqa: BLE001  # even SystemExit ends a line only
            with contextlib.suppress(Exception):
                if logging.raiseExceptions:
                    traceback.print_exc(file=sys.stderr)


def get_logger(name: str) -> SafeLogger:
    """Return the logger of a module; none of its calls raises."""
    return SafeLogger(logging.getLogger(name))
