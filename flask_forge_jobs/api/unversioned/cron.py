"""Cron schedules: list, edit, trigger."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.auditor import note_edit
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import (
    ENQUEUE_HEADERS,
    empty_response,
    encoded_array_response,
    encoder,
    enqueued_response,
)
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas import cron as schemas
from flask_forge_jobs.api.schemas.fields import Text
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import cron

_WRITE_SCHEDULE = encoder(schemas.CronScheduleSchema())


def list_schedules(api: Api) -> Response:
    """Return the cron schedules, by name, up to 1,000 or 4 MiB of payloads."""
    listing = cron.list_schedules(api.storage, redactor=api.redactor)
    schedules = api.composer.compose(listing.schedules, _WRITE_SCHEDULE)
    return encoded_array_response(schedules, listing.total)


def set_enabled(api: Api, name: str) -> Response:
    """Enable or disable a schedule."""
    return _change(api, name)


def set_expression(api: Api, name: str) -> Response:
    """Replace a schedule's expression."""
    return _change(api, name)


def set_dedupe(api: Api, name: str) -> Response:
    """Choose whether firings are skipped while an earlier job is unfinished."""
    return _change(api, name)


def _change(api: Api, name: str) -> Response:
    edit = cron.change_schedule(api.storage, name, api.body())
    note_edit(*edit.digests)
    return empty_response()


def trigger(api: Api, name: str) -> Response:
    """Enqueue a schedule's job now; return its id."""
    result = cron.trigger(
        api.storage, name, router=api.options.router, registry=api.options.registry
    )
    return enqueued_response(result)


ROUTES = (
    Route(
        view=list_schedules, permission=Permission.READ,
        answer=List(Nested(schemas.CronScheduleSchema)), gives=("X-Result-Truncated",),
    ),
    Route(
        view=set_enabled, permission=Permission.CRON_EDIT,
        body=schemas.EnabledRequestSchema(), errors=(404,),
    ),
    Route(
        view=set_expression, permission=Permission.CRON_EDIT,
        body=schemas.ExpressionRequestSchema(), errors=(404,),
    ),
    Route(
        view=set_dedupe, permission=Permission.CRON_EDIT,
        body=schemas.DedupeRequestSchema(), errors=(404,),
    ),
    Route(
        view=trigger, permission=Permission.CRON_EDIT, answer=Text(), errors=(404, 409),
        gives=ENQUEUE_HEADERS,
    ),
)  # fmt: skip
