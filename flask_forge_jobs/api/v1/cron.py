"""Cron schedules: create, read, change, delete, preview.

The ``ETag`` of a schedule covers its definition only, because ``If-Match`` guards that;
its times change with each firing. A read of a schedule is therefore never a 304.
"""

from __future__ import annotations

from dataclasses import replace

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.auditor import note_edit
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.etags import expected, schedule_etag
from flask_forge_jobs.api.response import (
    dumper,
    empty_response,
    encode,
    encoded_array_response,
    encoded_response,
    encoder,
    linked,
    truncated,
)
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import cron as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import cron, cron_history

_SCHEDULE = schemas.CronScheduleInZoneSchema()
_DUMP_WINDOW = dumper(schemas.FiringsWindowSchema())
_WRITE_SCHEDULE = encoder(schemas.ListedScheduleSchema())
_WRITE_FIRINGS = encoder(schemas.ScheduleFiringsSchema())


def list_schedules(api: Api) -> Response:
    """Return the cron schedules with their last runs, up to 1,000 or 4 MiB."""
    listing = cron.list_schedules(api.storage, redactor=api.redactor, with_runs=True)
    schedules = api.composer.compose(listing.schedules, _WRITE_SCHEDULE)
    return encoded_array_response(schedules, listing.total)


def create(api: Api) -> Response:
    """Create a cron schedule."""
    created = cron.create_schedule(
        api.storage,
        redactor=api.redactor,
        registry=api.options.registry,
        kinds=api.kind_limit,
        **api.body(),
    )
    return _answer(api, created)


def get(api: Api, name: str) -> Response:
    """Return one cron schedule."""
    return _answer(api, cron.get_schedule(api.storage, name, redactor=api.redactor))


def change(api: Api, name: str) -> Response:
    """Change some fields of a schedule; ``If-Match`` guards against lost updates."""
    edit = cron.change_schedule(
        api.storage,
        name,
        api.body(),
        registry=api.options.registry,
        kinds=api.kind_limit,
        is_expected=expected(
            lambda schedule: schedule_etag(schedule, api.masking_redactor)
        ),
    )
    note_edit(*edit.digests)
    return _answer(api, cron.detail(edit.after, api.redactor))


def delete(api: Api, name: str) -> Response:
    """Delete a schedule; its jobs stay."""
    cron.delete_schedule(api.storage, name)
    return empty_response(204)


def preview(api: Api) -> Response:
    """Return the description of an expression and its next firings."""
    described = cron.preview(api.now, **api.body())
    return api.answer(described)


def firings(api: Api) -> Response:
    """Return every schedule with its last run, and its firings in a window."""
    window = cron_history.firings(api.storage, api.now, **api.query())
    schedules = api.composer.compose(window.schedules, _WRITE_FIRINGS)
    # The schedules are the last field, here still without any.
    start = encode(_DUMP_WINDOW(replace(window, schedules=()))).removesuffix(b"]}")
    response = encoded_response(b"%b%b]}" % (start, b",".join(schedules)))
    return truncated(response, is_whole=window.is_whole)


def list_runs(api: Api, name: str) -> Response:
    """Return the jobs that a schedule made, the newest first."""
    page = cron_history.list_runs(api.storage, name, **api.query())
    return linked(api.answer(page), page.next_cursor)


def _answer(api: Api, detail: cron.ScheduleDetail) -> Response:
    response = api.answer(detail)
    response.set_etag(schedule_etag(detail.schedule, api.masking_redactor))
    return response


ROUTES = (
    Route(
        view=list_schedules, permission=Permission.READ,
        answer=List(Nested(schemas.ListedScheduleSchema)),
        gives=("X-Result-Truncated",),
    ),
    Route(
        view=create, permission=Permission.CRON_EDIT,
        body=schemas.CreateScheduleRequestSchema(), answer=_SCHEDULE, status=201,
        errors=(409,), gives=("ETag",),
    ),
    Route(
        view=preview, permission=Permission.READ, reach=Reach.VIEW,
        body=schemas.PreviewRequestSchema(), answer=schemas.CronPreviewSchema(),
    ),
    Route(
        view=firings, permission=Permission.READ, query=schemas.FiringsQuerySchema(),
        answer=schemas.FiringsWindowSchema(), gives=("X-Result-Truncated",),
    ),
    Route(
        view=list_runs, permission=Permission.READ, query=schemas.RunsQuerySchema(),
        answer=schemas.RunPageSchema(), errors=(404,), gives=("Link",),
    ),
    Route(
        view=get, permission=Permission.READ, answer=_SCHEDULE, errors=(404,),
        gives=("ETag",), is_compared=False,
    ),
    Route(
        view=change, permission=Permission.CRON_EDIT,
        body=schemas.ChangeScheduleRequestSchema(), answer=_SCHEDULE, errors=(404, 412),
        takes=("If-Match",), gives=("ETag",),
    ),
    Route(view=delete, permission=Permission.CRON_EDIT, status=204, errors=(404,)),
)  # fmt: skip
