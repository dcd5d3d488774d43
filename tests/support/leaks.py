"""Files, threads and processes that the test's own process still has."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import psutil


def assert_leaks_nothing(action: Callable[[], object], rounds: int = 20) -> None:
    """Fail if every call of a function leaves a file, a thread or a child behind.

    One call would not tell its own from what threads of earlier tests open meanwhile.
    """
    before = _counts()
    for _ in range(rounds):
        action()
    after = _counts()
    for kind, count in after.items():
        left = count - before[kind]
        assert left < rounds / 2, f"{rounds} calls left {left} {kind}"


def _counts() -> dict[str, int]:
    gc.collect()
    process = psutil.Process()
    return {
        "files": process.num_fds(),
        "threads": threading.active_count(),
        "children": len(process.children()),
    }
