"""A queue with its numbers and slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.queues import QueueCounts, QueueSettings
from flask_forge_jobs.model.workers import Slot


@dataclass(frozen=True, slots=True)
class QueueOverview:
    """A registered queue with its numbers and slots.

    ``oldest_due_age_s`` is how long a claimable job has been due, in whole seconds.
    """

    settings: QueueSettings
    counts: QueueCounts
    slots: Sequence[Slot]
    oldest_due_age_s: int
