from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from flask import Response

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.scope import Reach
from flask_forge_jobs.auth.permissions import Permission


def _route(permission: Permission | None) -> Route:
    return Route(
        method="POST", path="/things", endpoint="things", view=Response,
        permission=permission, is_bulk=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("permission", "mutates"),
    [
        (None, False),
        (Permission.READ, False),
        (Permission.METRICS_READ, False),
        (Permission.PAYLOAD_REVEAL, False),
        (Permission.JOBS_ENQUEUE, True),
        (Permission.ADMIN, True),
    ],
)
def test_the_permission_tells_whether_a_route_mutates(
    permission: Permission | None, mutates: bool
) -> None:
    assert _route(permission).mutates is mutates


def test_reading_by_an_administrator_mutates_nothing() -> None:
    assert not replace(_route(Permission.ADMIN), method="GET").mutates


def test_route_without_a_known_permission_fails_at_registration() -> None:
    with pytest.raises(TypeError, match="is not a permission"):
        _route(cast("Permission", "reed"))


@pytest.mark.parametrize("reach", [Reach.QUEUE, Reach.JOB])
def test_route_cannot_reach_for_what_its_path_does_not_name(reach: Reach) -> None:
    with pytest.raises(TypeError, match="the path has no"):
        replace(_route(Permission.READ), reach=reach)


def test_under_v1_changes_place_and_name_only() -> None:
    route = _route(Permission.JOBS_DELETE)
    moved = route.under_v1()

    assert (moved.path, moved.endpoint) == ("/v1/things", "v1_things")
    assert (moved.permission, moved.is_bulk) == (Permission.JOBS_DELETE, True)
