"""The caller: its identity for this service, and its rights."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response, request

from flask_forge_jobs.api.addresses import V1_PREFIX
from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.me import CallerSchema
from flask_forge_jobs.auth.hosts import is_debugged_from_afar
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers.me import Change, describe_caller


def me(api: Api) -> Response:
    """Return the caller's name, roles and queues, and the routes that it may change by.

    ``read_only`` says that nobody, or nobody from there, may change anything.
    """
    principal = api.principal
    caller = describe_caller(
        principal.id,
        roles=principal.roles,
        permissions=principal.permissions,
        queues=principal.queues,
        changes=_changes(api.routes),
        read_only=api.options.read_only or is_debugged_from_afar(request),
    )
    return api.answer(caller)


def _changes(routes: Iterable[Route]) -> list[Change]:
    return [
        Change(
            route.method, route.template, route.permission, route.reach is Reach.CLUSTER
        )
        for route in routes
        if route.mutates
        and not route.is_deprecated
        and route.path.startswith(f"{V1_PREFIX}/")
        and route.permission is not None
    ]


ROUTES = (
    Route(
        view=me, permission=Permission.READ, reach=Reach.VIEW, answer=CallerSchema(),
        is_current=True,
    ),
)  # fmt: skip
