from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from flask import Flask, Response
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import MapAdapter

from flask_forge_jobs.api.addresses import converters
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.table import all_routes
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


@pytest.fixture
def urls() -> MapAdapter:
    app = Flask("host")
    routes = all_routes(enable_demo=True)
    app.url_map.converters.update(converters([route.path for route in routes]))
    for route in routes:
        app.add_url_rule(route.path, route.endpoint, methods=[route.method])
    return app.url_map.bind("host")


@pytest.mark.parametrize("word", ["list", "retry", "delete", "enqueue", "enqueue-demo"])
def test_a_word_that_is_a_route_is_no_job(urls: MapAdapter, word: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        urls.match(f"/v1/jobs/{word}", method="GET")

    assert set(caught.value.valid_methods or ()) == {"POST", "OPTIONS"}


@pytest.mark.parametrize(
    "job_id", ["01K5A4D3E4F5G6H7J8K9M0N1P2", "lists", "a-list", "List", "none"]
)
def test_anything_else_is_one(urls: MapAdapter, job_id: str) -> None:
    endpoint, values = urls.match(f"/v1/jobs/{job_id}", method="GET")

    assert (endpoint, values) == ("v1_job_read", {"job_id": job_id})


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_preview_is_no_schedule(urls: MapAdapter, method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        urls.match("/v1/cron/preview", method=method)

    assert set(caught.value.valid_methods or ()) == {"POST", "OPTIONS"}
    assert urls.match("/v1/cron/previews", method=method)[1] == {"name": "previews"}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_actions_is_no_queue(urls: MapAdapter, method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        urls.match("/v1/queues/actions", method=method)

    assert set(caught.value.valid_methods or ()) == {"POST", "OPTIONS"}
    assert urls.match("/v1/queues/mail", method=method)[1] == {"name": "mail"}
