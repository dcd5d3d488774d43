"""Limits on new jobs over HTTP, in addition to those of the queues."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flask_forge_jobs.storage.base import Storage


@dataclass(frozen=True, slots=True)
class Admission:
    """Which queues take new jobs over HTTP.

    ``strict_queues`` refuses unregistered queues. ``max_queue_depth`` is how many jobs
    may wait in one queue, scheduled and failed ones included; 0 means no limit.
    """

    strict_queues: bool = False
    max_queue_depth: int = 0

    @property
    def most_waiting(self) -> int | None:
        """How many jobs may wait in one queue; None means the queue's own limit."""
        return self.max_queue_depth or None

    def check(self, storage: Storage, queue_names: Iterable[str]) -> None:
        """Check that the queues of new jobs are registered, if queues are strict."""
        if self.strict_queues:
            storage.queues.require(sorted(set(queue_names)))
