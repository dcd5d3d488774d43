"""Which functions of the package are called on the threads that matter."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flask import Flask

from flask_forge_jobs.runtime.claim_schedule import IDLE_AFTER_S
from flask_forge_jobs.state import state_of
from tests.support.waiting import wait_until

PACKAGE = "flask_forge_jobs"
# The threads on which a job is claimed, run and finished.
DISPATCHER, SLOT = "forge-jobs-dispatcher", "forge-jobs-slot"
# What begins and ends a round of the dispatcher, and what asks the database.
ROUND, REST = "Rounds.go", "Dispatcher._pause_s"
EXCHANGE = "JobQueue.exchange"
_SLEEP = "Dispatcher._hear"


class Calls:
    """Notes what is called on the threads that it is installed on."""

    def __init__(self) -> None:
        self.by_thread: dict[str, list[str]] = {}
        self.is_on = False
        self.is_resting = False
        """Whether the dispatcher has nothing to do until somebody wakes it."""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take an event of the interpreter."""
        del argument
        module = str(frame.f_globals.get("__name__"))
        if event != "call" or module.partition(".")[0] != PACKAGE:
            return
        name, thread = frame.f_code.co_qualname, threading.current_thread().name
        if thread == DISPATCHER:
            # Soon after its last write it asks when the next job is due; then it rests.
            sleeps = name == _SLEEP
            self.is_resting = sleeps and frame.f_locals["timeout_s"] > IDLE_AFTER_S
        if self.is_on:
            place = module.removeprefix(f"{PACKAGE}.")
            self.by_thread.setdefault(thread, []).append(f"{place}: {name}")

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
        # In this order: the dispatcher does something before a job is done.
        return not (counts.pending or counts.in_progress) and calls.is_resting

    noted = []
    with calls.on_new_threads():
        handle = state_of(app).runtime(2).with_queues(["default"]).start()
        try:
            wait_until(is_idle, "the worker rests")
            for _ in range(repeats):
                calls.take()
                calls.is_on = True
                enqueue(1)
                wait_until(is_idle, "the worker rests")
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
