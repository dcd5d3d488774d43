"""Which new jobs a queue takes in over HTTP, beside what it takes in from anybody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flask_forge_jobs.storage.base import Storage


@dataclass(frozen=True, slots=True)
class Admission:
    """What a queue must be like for new jobs to get in.

    Args:
        strict_queues: Refuse a queue that is not registered; default False, which
            registers it.
        max_queue_depth: Most jobs that may wait in one queue, those for later and for a
            retry included; default 0, no limit but the queue's own.
    """

    strict_queues: bool = False
    max_queue_depth: int = 0

    @property
    def most_waiting(self) -> int | None:
        """Most jobs that may wait in one queue; None leaves that to the queue."""
        return self.max_queue_depth or None

    def check(self, storage: Storage, queue_names: Iterable[str]) -> None:
        """Let new jobs pass whose queue is registered, if it has to be.

        Args:
            storage: Where they go.
            queue_names: The queue of each job.

        Raises:
            QueueNotFoundError: A queue is unknown, and queues are strict.
        """
        if self.strict_queues:
            storage.queues.require(sorted(set(queue_names)))
