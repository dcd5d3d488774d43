"""Cron schedules on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested
from marshmallow.validate import NoneOf

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    AnyJson,
    Digits,
    Flag,
    Instant,
    LargeNumber,
    Text,
    V1Schema,
    WholeNumber,
    WireSchema,
)
from flask_forge_jobs.api.schemas.jobs import Progress
from flask_forge_jobs.handlers.cron import DEFAULT_PREVIEW
from flask_forge_jobs.handlers.cron_history import DEFAULT_PAGE_SIZE
from flask_forge_jobs.model.catch_up import (
    DEFAULT_CATCH_UP_LIMIT,
    DEFAULT_TIME_ZONE,
    CatchUp,
)


class CronScheduleSchema(WireSchema):
    """One schedule, from the handlers' ``ScheduleDetail``."""

    name = Text(attribute="schedule.definition.name")
    kind = Text(attribute="schedule.definition.kind")
    payload = AnyJson()
    queue_name = Text(attribute="schedule.definition.queue_name", allow_none=True)
    cron_expr = Text(attribute="schedule.definition.cron_expr")
    enabled = Flag(attribute="schedule.definition.enabled")
    max_attempts = WholeNumber(
        attribute="schedule.definition.max_attempts", allow_none=True
    )
    dedupe_key = Text(attribute="schedule.definition.dedupe_key", allow_none=True)
    last_fired_at = Instant(attribute="schedule.last_fired_at", allow_none=True)
    next_fire_at = Instant(attribute="schedule.next_fire_at", allow_none=True)
    last_error = Text(attribute="schedule.last_error", allow_none=True)
    created_at = Instant(attribute="schedule.created_at")
    updated_at = Instant(attribute="schedule.updated_at")


class CronScheduleInZoneSchema(CronScheduleSchema):
    """One schedule with the fields that the reference does not have."""

    timezone = Text(attribute="schedule.definition.timezone")
    catch_up = Text(attribute="schedule.definition.catch_up")
    catch_up_limit = WholeNumber(attribute="schedule.definition.catch_up_limit")
    declared_by = Text(attribute="schedule.declared_by", allow_none=True)


class EnabledRequestSchema(V1Schema):
    """Changes of :func:`flask_forge_jobs.handlers.cron.change_schedule`."""

    enabled = Flag(required=True)


class ExpressionRequestSchema(V1Schema):
    """Changes of :func:`flask_forge_jobs.handlers.cron.change_schedule`."""

    cron_expr = Text(data_key="expr", required=True, metadata=bounds.CRON_EXPRESSION)


class DedupeRequestSchema(V1Schema):
    """Changes of :func:`flask_forge_jobs.handlers.cron.change_schedule`."""

    dedupe = Flag(required=True)


class CreateScheduleRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.cron.create_schedule`."""

    # A schedule with the name of a route would be unreachable.
    name = Text(
        required=True,
        metadata=bounds.QUEUE_NAME,
        validate=NoneOf(
            ["firings", "preview"], error="{input!r} is taken by the API itself"
        ),
    )
    kind = Text(required=True, metadata=bounds.KIND)
    payload = AnyJson(load_default=dict, allow_none=True)
    queue_name = Text(load_default=None, metadata=bounds.QUEUE_NAME)
    cron_expr = Text(required=True, metadata=bounds.CRON_EXPRESSION)
    timezone = Text(load_default=DEFAULT_TIME_ZONE, metadata=bounds.TIME_ZONE)
    enabled = Flag(load_default=True)
    max_attempts = WholeNumber(load_default=None, metadata=bounds.MAX_ATTEMPTS)
    dedupe = Flag(load_default=False)
    catch_up = Text(load_default=CatchUp.ONCE, metadata=bounds.CATCH_UP)
    catch_up_limit = WholeNumber(
        load_default=DEFAULT_CATCH_UP_LIMIT, metadata=bounds.CATCH_UP_LIMIT
    )


class ChangeScheduleRequestSchema(V1Schema):
    """Changes of :func:`flask_forge_jobs.handlers.cron.change_schedule`."""

    kind = Text(metadata=bounds.KIND)
    payload = AnyJson(allow_none=True)
    queue_name = Text(allow_none=True, metadata=bounds.QUEUE_NAME)
    cron_expr = Text(metadata=bounds.CRON_EXPRESSION)
    timezone = Text(metadata=bounds.TIME_ZONE)
    enabled = Flag()
    max_attempts = WholeNumber(allow_none=True, metadata=bounds.MAX_ATTEMPTS)
    dedupe = Flag()
    catch_up = Text(metadata=bounds.CATCH_UP)
    catch_up_limit = WholeNumber(metadata=bounds.CATCH_UP_LIMIT)


class PreviewRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.cron.preview`."""

    cron_expr = Text(required=True, metadata=bounds.CRON_EXPRESSION)
    timezone = Text(load_default=DEFAULT_TIME_ZONE, metadata=bounds.TIME_ZONE)
    count = WholeNumber(load_default=DEFAULT_PREVIEW, metadata=bounds.PREVIEW_COUNT)


class CronPreviewSchema(WireSchema):
    """The meaning of an expression and its next firings, in UTC."""

    description = Text()
    next = List(Instant())


class ScheduleRunSchema(V1Schema):
    """A job that a schedule made."""

    job_id = Text()
    queue_name = Text()
    kind = Text()
    status = Text()
    fire_at = Instant(allow_none=True)
    enqueued_at = Instant()
    started_at = Instant(allow_none=True)
    completed_at = Instant(allow_none=True)
    run_ms = LargeNumber(allow_none=True)
    attempts = WholeNumber()
    error = Text(allow_none=True)
    progress = Progress(allow_none=True)


class ListedScheduleSchema(CronScheduleInZoneSchema):
    """One schedule with the newest job that it made."""

    last_run = Nested(ScheduleRunSchema, allow_none=True)


class RunPageSchema(V1Schema):
    """One page of the runs of a schedule."""

    rows = List(Nested(ScheduleRunSchema))
    next_cursor = Text(allow_none=True)


class RunsQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.cron_history.list_runs`."""

    limit = Digits(load_default=DEFAULT_PAGE_SIZE, metadata=bounds.SCHEDULE_RUNS)
    cursor = Text(load_default=None)


class FiredSchema(V1Schema):
    """A firing that made a job."""

    at = Instant()
    job_id = Text()
    status = Text()


class ScheduleFiringsSchema(V1Schema):
    """A schedule with its firings in a window."""

    name = Text(attribute="line.name")
    kind = Text(attribute="line.kind")
    queue_name = Text(attribute="line.queue_name", allow_none=True)
    cron_expr = Text(attribute="line.cron_expr")
    timezone = Text(attribute="line.timezone")
    enabled = Flag(attribute="line.enabled")
    next_fire_at = Instant(attribute="line.next_fire_at", allow_none=True)
    last_error = Text(attribute="line.last_error", allow_none=True)
    last_run = Nested(ScheduleRunSchema, attribute="line.last_run", allow_none=True)
    fired = List(Nested(FiredSchema))
    fired_cut = Flag()
    to_come = List(Instant(), data_key="next")
    to_come_cut = Flag(data_key="next_cut")


class FiringsWindowSchema(V1Schema):
    """The firings of all schedules in a window."""

    start = Instant(data_key="from")
    end = Instant(data_key="to")
    now = Instant()
    schedules = List(Nested(ScheduleFiringsSchema))


class FiringsQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.cron_history.firings`."""

    start = Instant(data_key="from", load_default=None)
    end = Instant(data_key="to", load_default=None)
