"""What follows from a route's record; ``tests/conformance`` asks the routes."""

from __future__ import annotations

import re

import pytest
from flask import Response
from marshmallow.fields import List

from flask_forge_jobs.api.openapi.headers import (
    components,
    given,
    of_refusal,
    parameters,
    taken,
)
from flask_forge_jobs.api.routes import Answer, Route
from flask_forge_jobs.api.schemas.fields import Text
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD, RequestKey


def route(
    method: str = "GET",
    *,
    answer: Answer = None,
    gives: tuple[str, ...] = (),
    is_compared: bool = True,
    is_deprecated: bool = False,
) -> Route:
    return Route(
        method=method, path="/things", endpoint="things", view=Response,
        permission=None, answer=answer, gives=gives, is_compared=is_compared,
        is_deprecated=is_deprecated,
    )  # fmt: skip


def test_a_read_is_compared_and_has_a_tag() -> None:
    assert taken(route()) == ("If-None-Match",)
    assert given(route()) == ("ETag",)


@pytest.mark.parametrize("other", [route("POST"), route(is_compared=False)])
def test_nothing_else_is(other: Route) -> None:
    assert (taken(other), given(other)) == ((), ())


def test_a_tag_of_its_own_is_named_once() -> None:
    own = route(is_compared=False, gives=("ETag",))

    assert (taken(own), given(own)) == ((), ("ETag",))


def test_an_array_has_a_total_and_an_old_route_a_date() -> None:
    old = route("POST", answer=List(Text()), is_deprecated=True)

    assert set(given(old)) == {"X-Total-Count", "Deprecation"}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (401, "WWW-Authenticate"),
        (405, "Allow"),
        (409, "Retry-After"),
        (503, "Retry-After"),
    ],
)
def test_a_refusal_has_the_headers_of_its_status(status: int, name: str) -> None:
    assert set(of_refusal(status)) == {"X-Request-Id", name}
    assert set(of_refusal(400)) == {"X-Request-Id"}


def test_every_header_of_a_route_is_one_that_is_described() -> None:
    known = components()
    for each in all_routes(enable_demo=True):
        assert set(given(each)) <= set(known), each.endpoint
        assert len(parameters(each)) == len(taken(each))


def test_the_form_of_a_request_key_is_the_one_that_is_checked() -> None:
    found = next(
        parameter
        for each in all_routes(enable_demo=False)
        for parameter in parameters(each)
        if parameter["name"] == REQUEST_KEY_FIELD
    )

    assert re.search(found["schema"]["pattern"], found["example"])
    assert RequestKey("me", found["example"], "enqueue").value == found["example"]
    assert not re.search(found["schema"]["pattern"], "no,key")
