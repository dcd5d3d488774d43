"""Which functions of the package are called on the threads that matter."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flask import Flask

from flask_forge_jobs.state import state_of
from tests.support.runtimes import wait_until

PACKAGE = "flask_forge_jobs"
# The threads on which a job is claimed, run and finished.
DISPATCHER, SLOT = "forge-jobs-dispatcher", "forge-jobs-slot"
# What begins and ends a round of the dispatcher, and what asks the database.
ROUND, REST = "Rounds.go", "Dispatcher._pause_s"
EXCHANGE = "JobQueue.exchange"
# Soon after its last write an idle dispatcher asks when the next job is due.
_REST_S = 0.1


class Calls:
    """Notes what is called on the threads that it is installed on."""

    def __init__(self) -> None:
        self.by_thread: dict[str, list[str]] = {}
        self.is_on = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take an event of the interpreter."""
        del argument
        if self.is_on and event == "call":
            module = str(frame.f_globals.get("__name__"))
            if module.partition(".")[0] == PACKAGE:
                place = module.removeprefix(f"{PACKAGE}.")
                names = self.by_thread.setdefault(threading.current_thread().name, [])
                names.append(f"{place}: {frame.f_code.co_qualname}")

    def take(self) -> dict[str, list[str]]:
        """Return what was noted on each thread, and begin anew."""
        noted, self.by_thread = self.by_thread, {}
        return noted

    def during(self, call: Callable[[], object]) -> list[str]:
        """Return what a call calls on this thread."""
        sys.setprofile(self)
        self.is_on = True
        try:
            call()
        finally:
            self.is_on = False
            sys.setprofile(None)
        (names,) = self.take().values()
        return names

    @contextmanager
    def on_new_threads(self) -> Iterator[None]:
        """Note the calls of threads of a worker that start within the block."""
        threading.setprofile(self._on_thread)
        try:
            yield
        finally:
            threading.setprofile(None)

    def _on_thread(self, frame: FrameType, event: str, argument: Any) -> None:
        del frame, event, argument
        is_running = threading.current_thread().name.startswith((DISPATCHER, SLOT))
        sys.setprofile(self if is_running else None)


def calls_of_runs(
    app: Flask, calls: Calls, enqueue: Callable[[int], object], repeats: int
) -> list[list[str]]:
    """Return what jobs call that come alone, from the claim to the stored outcome.

    Args:
        app: Has no worker yet.
        calls: Takes the notes.
        enqueue: Adds one job.
        repeats: How many jobs.
    """
    reader = state_of(app).storage.job_reader

    def is_idle() -> bool:
        counts = reader.statistics()["default"].counts
        return not (counts.pending or counts.in_progress)

    noted = []
    with calls.on_new_threads():
        handle = state_of(app).runtime(2).with_queues(["default"]).start()
        try:
            wait_until(is_idle, "no job is left")
            for _ in range(repeats):
                time.sleep(_REST_S)
                calls.take()
                calls.is_on = True
                enqueue(1)
                wait_until(is_idle, "no job is left")
                time.sleep(_REST_S)
                calls.is_on = False
                noted.append(_from_claim_to_finish(calls.take()))
        finally:
            handle.shutdown_graceful()
    return noted


def _from_claim_to_finish(by_thread: dict[str, list[str]]) -> list[str]:
    """Return what one job has called, without the rounds before and after."""
    dispatcher = by_thread.pop(DISPATCHER)
    exchanges = _places(dispatcher, EXCHANGE)
    claim, finish = exchanges[0], exchanges[1]
    begin = max(each for each in _places(dispatcher, ROUND) if each < claim)
    end = min(each for each in _places(dispatcher, REST) if each > finish)
    return sum(by_thread.values(), dispatcher[begin:end])


def _places(names: list[str], function: str) -> list[int]:
    return [n for n, name in enumerate(names) if name.endswith(f": {function}")]
