"""The cost of a call without a clock, so independent of the machine."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tests.support.runtimes import LIMIT_S


def lines_run(call: Callable[[], object]) -> int:
    """Return how many lines of Python a call runs in this thread."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()  # that of a measurement of coverage
    collects = gc.isenabled()
    gc.disable()  # finalizers of what earlier tests have left would count
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return count


@contextlib.contextmanager
def no_hang(limit_s: float = LIMIT_S) -> Iterator[None]:
    """Fail when the block goes on and on, as a search without end within C does.

    C that takes no signals is not interrupted, but the block fails when it returns.

    Args:
        limit_s: Far more than the slowest machine needs.
    """

    def give_up(*_: object) -> None:
        raise AssertionError(f"not over within {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
