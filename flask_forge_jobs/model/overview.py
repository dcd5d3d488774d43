"""A queue with everything a reader wants to know about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.queues import QueueCounts, QueueSettings
from flask_forge_jobs.model.workers import Slot


@dataclass(frozen=True, slots=True)
class QueueOverview:
    """One registered queue with everything a reader wants to know about it.

    ``oldest_due_age_s`` is how long the oldest job that may be claimed has been due, in
    whole seconds; 0 when there is none.
    """

    settings: QueueSettings
    counts: QueueCounts
    slots: Sequence[Slot]
    oldest_due_age_s: int
