"""Requests that change one job, and their answers."""

from __future__ import annotations

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import Instant, Text, V1Schema, WholeNumber


class CancelRequest(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.cancel`."""

    reason = Text(load_default=None, metadata=bounds.REASON)


class RescheduleRequest(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.job_actions.reschedule`."""

    run_at = Instant(load_default=None)
    priority = WholeNumber(load_default=None, metadata=bounds.PRIORITY)
    queue_name = Text(load_default=None, metadata=bounds.QUEUE_NAME)


class DeleteOutcome(V1Schema):
    """What became of a running job that was to be deleted."""

    outcome = Text()


class CancelOutcome(V1Schema):
    """What became of a job that was to be cancelled."""

    id = Text()
    outcome = Text()
