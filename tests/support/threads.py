"""Runs several threads at once and re-raises their errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
LIMIT_S = 60.0


def run_together(
    works: Sequence[Callable[[], T]], *, limit_s: float = LIMIT_S
) -> list[T]:
    """Call every function on a thread of its own, all at the same moment.

    Args:
        works: What to call.
        limit_s: Seconds to wait for each of them.

    Returns:
        The results in the same order; the first error is raised.
    """
    barrier = threading.Barrier(len(works))

    def start(work: Callable[[], T]) -> T:
        barrier.wait(LIMIT_S)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(start, work) for work in works]
        return [future.result(limit_s) for future in futures]


def race(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Call two functions at the same moment and return both results."""
    left: list[A] = []
    right: list[B] = []
    works: list[Callable[[], None]] = [
        lambda: left.append(first()),
        lambda: right.append(second()),
    ]
    run_together(works)
    return left[0], right[0]


class Heard:
    """A wake-up callback that records its arguments."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: list[str | None] = []

    def __call__(self, name: str | None) -> None:
        """Note a wake-up."""
        with self._changed:
            self._names.append(name)
            self._changed.notify_all()

    def wait_for(self, name: str | None, limit_s: float = 10.0) -> bool:
        """Wait until a name has been heard; False when the limit passed."""
        with self._changed:
            return self._changed.wait_for(lambda: name in self._names, limit_s)

    def clear(self) -> None:
        """Forget everything."""
        with self._changed:
            self._names.clear()

    @property
    def names(self) -> list[str | None]:
        """The arguments so far, in order."""
        with self._changed:
            return list(self._names)
