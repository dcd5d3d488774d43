"""The caller: its identity for this service, and its rights."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from flask import Response

from flask_forge_jobs.api.addresses import V1_PREFIX
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import json_response
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.me import CallerSchema
from flask_forge_jobs.auth.permissions import Permission, Principal

# Reads a file of the distribution each time.
_version = cache(version)


def me(api: Api) -> Response:
    """Return the caller's name, roles and queues, and the routes that it may change by.

    ``read_only`` says that nobody, or nobody from there, may change anything.
    """
    caller = api.principal
    routes = () if api.is_read_only else api.routes
    return json_response(
        {
            "name": caller.id,
            "roles": caller.roles,
            "permissions": sorted(caller.permissions),
            "queues": None if caller.queues is None else sorted(caller.queues),
            "read_only": api.is_read_only,
            "may_change": [
                {"method": route.method, "path": route.template}
                for route in routes
                if _may_change_by(route, caller)
            ],
            "version": _version("flask-forge-jobs"),
        }
    )


def _may_change_by(route: Route, caller: Principal) -> bool:
    return (
        route.mutates
        and not route.is_deprecated
        and route.path.startswith(f"{V1_PREFIX}/")
        and route.permission in caller.permissions
        and (caller.queues is None or route.reach is not Reach.CLUSTER)
    )


ROUTES = (
    Route(
        view=me, permission=Permission.READ, reach=Reach.VIEW, answer=CallerSchema(),
        is_current=True,
    ),
)  # fmt: skip
