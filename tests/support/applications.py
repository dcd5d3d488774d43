"""A real worker for an application, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from flask import Flask, appcontext_popped

from flask_forge_jobs.state import state_of

LIMIT_S = 30.0


class Runs:
    """Reports the end of each run, by its application context."""

    def __init__(self) -> None:
        self._ended: SimpleQueue[None] = SimpleQueue()

    def wait_for(self, count: int) -> None:
        """Wait for this many runs, or raise :class:`queue.Empty`."""
        for _ in range(count):
            self._ended.get(timeout=LIMIT_S)

    def note(self, sender: Flask, **extra: object) -> None:
        """Take a signal."""
        del sender, extra
        self._ended.put(None)


@contextlib.contextmanager
def worker(
    app: Flask, queues: Sequence[str] = ("default",), *, threads: int = 2
) -> Iterator[Runs]:
    """Run a worker; its outcomes are stored when the block has ended."""
    runs = Runs()
    runtime = state_of(app).runtime(threads).with_queues(queues)
    # Listening first: a short run ends before start() has returned.
    with appcontext_popped.connected_to(runs.note, app):
        handle = runtime.start()
        try:
            yield runs
        finally:
            assert handle.shutdown_graceful(LIMIT_S)
