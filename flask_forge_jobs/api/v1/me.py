"""The caller: its identity for this service, and its rights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from flask import Response, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import V1_PREFIX, Reach, Route
from flask_forge_jobs.api.schemas.me import CallerSchema
from flask_forge_jobs.auth.hosts import is_debugged_from_afar
from flask_forge_jobs.auth.permissions import Permission, Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller and its rights; ``queues`` of None are all."""

    name: str
    roles: Sequence[str]
    permissions: Sequence[str]
    queues: Sequence[str] | None
    read_only: bool
    may_change: Sequence[Route]
    version: str


def me(api: Api) -> Response:
    """Return the caller's name, roles and queues, and the routes that it may change by.

    ``read_only`` says that nobody, or nobody from there, may change anything.
    """
    principal = api.principal
    read_only = api.options.read_only or is_debugged_from_afar(request)
    routes = () if read_only else api.routes
    caller = Caller(
        principal.id,
        principal.roles,
        sorted(principal.permissions),
        None if principal.queues is None else sorted(principal.queues),
        read_only,
        [route for route in routes if _may_change(principal, route)],
        version("flask-forge-jobs"),
    )
    return api.answer(caller)


def _may_change(principal: Principal, route: Route) -> bool:
    return (
        route.mutates
        and not route.is_deprecated
        and route.path.startswith(f"{V1_PREFIX}/")
        and route.permission is not None
        and principal.may(route.permission)
        and (principal.queues is None or route.reach is not Reach.CLUSTER)
    )


ROUTES = (
    Route(
        method="GET", path="/v1/me", endpoint="v1_me", view=me,
        permission=Permission.READ, reach=Reach.VIEW, answer=CallerSchema(),
    ),
)  # fmt: skip
