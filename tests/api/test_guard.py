"""What stands before every view: a permission and a reach for each route."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.backends import on_sqlite

UNASKED = faulty_storage(AssertionError("the storage was asked"))
ROUTES = [route for route in all_routes(enable_demo=True) if route.permission]


def _call(client: FlaskClient, route: Route) -> int:
    path = PREFIX + re.sub("<.*?>", "none", route.path)
    body: dict[str, str] | None = {} if route.method != "GET" else None
    return client.open(path, method=route.method, json=body).status_code


@on_sqlite
def test_sec_S06_H26_token_of_another_queue_reaches_no_cluster_wide_route(
    storage: Storage,
) -> None:
    client = client_with_token(storage, "admin", ["other"])
    for route in ROUTES:
        status = _call(client, route)
        if route.reach is Reach.JOB:
            assert status == 404, route.endpoint
        else:
            # Of the views that keep to it themselves, this goes to the default queue.
            is_demo = route.endpoint.removeprefix("v1_") == "jobs_enqueue_demo"
            is_refused = route.reach is not Reach.VIEW or is_demo
            assert (status == 403) is is_refused, route.endpoint


def test_refusal_names_the_permission() -> None:
    answer = client_with_token(UNASKED, "viewer").post(
        f"{PREFIX}/jobs/retry", json={"ids": []}
    )

    assert answer.json == {
        "kind": "forbidden",
        "msg": f"this needs the permission {Permission.JOBS_RETRY.value}",
    }


def test_unmatched_urls_say_the_same_to_everybody() -> None:
    known = client_with_token(UNASKED, "admin")
    unknown = client_with_token(UNASKED, "admin")
    del unknown.environ_base["HTTP_AUTHORIZATION"]

    for path in ("/none", "/jobs/none/none", "/v1/none"):
        answers = [each.get(PREFIX + path) for each in (known, unknown)]
        assert answers[0].data == answers[1].data
        assert {answer.status_code for answer in answers} == {404}


@pytest.mark.parametrize(
    "media_type", [None, "text/plain", "application/x-www-form-urlencoded"]
)
def test_sec_S14_body_of_a_form_is_415_even_where_it_is_ignored(
    media_type: str | None,
) -> None:
    """The token exempts from the proof, not from the media type."""
    client = client_with_token(UNASKED, "admin")

    answer = client.post(
        f"{PREFIX}/jobs/run-now/none", data=b'{"a":"', content_type=media_type
    )

    assert answer.status_code == 415
