"""Concurrency limits: the jobs that hold their keys."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import truncated
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.rate_limits import HeldKeySchema
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers.concurrency import MAX_HOLDERS, held_keys


def list_all(api: Api) -> Response:
    """Return the concurrency keys in use, with the jobs that hold and await them.

    Keys with waiting jobs come first. At most 500 holders are shown, and at most 10,000
    waiting jobs are counted.
    """
    keys = held_keys(api.storage)
    shown = sum(len(key.holders) for key in keys)
    # More are not read, so that nobody knows whether there are any.
    return truncated(api.listing(keys), is_whole=shown < MAX_HOLDERS)


ROUTES = (
    Route(
        view=list_all, permission=Permission.READ, answer=List(Nested(HeldKeySchema)),
        gives=("X-Result-Truncated",),
    ),
)  # fmt: skip
