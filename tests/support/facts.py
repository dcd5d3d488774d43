"""Facts for the rules of what needs attention, made without a database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from flask_forge_jobs.model.attention import (
    Facts,
    KindFacts,
    Need,
    QueueFacts,
    WorkerFacts,
)

AT = datetime(2026, 9, 16, 12, tzinfo=UTC)


def live(*queues: str) -> WorkerFacts:
    """Return a live worker that serves some queues."""
    return WorkerFacts("W1", "worker-1", queues)


def facts_of(*parts: QueueFacts | KindFacts | WorkerFacts) -> Facts:
    """Return the facts of a system with these parts."""
    return Facts(
        AT,
        queues=[each for each in parts if isinstance(each, QueueFacts)],
        kinds=[each for each in parts if isinstance(each, KindFacts)],
        workers=[each for each in parts if isinstance(each, WorkerFacts)],
    )


def said(rule: Callable[[Facts], Iterable[Need]], facts: Facts) -> list[str]:
    """Return the texts of what a rule says."""
    return [sentence.text for _, sentence in rule(facts)]
