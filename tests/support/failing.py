"""Makes jobs fail, and reads the groups of their errors."""

from __future__ import annotations

from typing import Any

from flask_forge_jobs.model.error_groups import ErrorGroup, ErrorOrder, ErrorRange
from flask_forge_jobs.model.outcomes import Outcome
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import enqueue, run


def fail(
    storage: Storage, outcome: Outcome, queue_name: str = "default", kind: str = "noop"
) -> str:
    job_id = enqueue(storage, kind, queue_name=queue_name)
    run(storage, outcome, queue_name=queue_name)
    return job_id


def groups(
    storage: Storage,
    window: ErrorRange = ErrorRange.MONTH,
    order: ErrorOrder = ErrorOrder.COUNT,
    **scope: Any,
) -> list[ErrorGroup]:
    page = storage.errors.page(window, order, 100, **scope)
    assert page.end is None
    assert page.total == len(page.groups)
    return list(page.groups)


def counts(storage: Storage, **scope: Any) -> dict[str, tuple[int, int, int]]:
    return {
        each.signature: (each.count, each.retrying, each.dead)
        for each in groups(storage, **scope)
    }
