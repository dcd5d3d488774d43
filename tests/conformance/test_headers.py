"""Every header that a route honours or answers with is described, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.openapi.headers import components
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD
from tests.api.mounting import PREFIX
from tests.conformance.requests import described, sample
from tests.conformance.seeding import QUEUE

ROUTES = all_routes(enable_demo=True)
EVERY_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda each: each.endpoint)
DESCRIBED = frozenset(components())
# What every answer has for browsers and caches; it tells nothing of the API.
HARDENING = frozenset(
    {
        "Cache-Control", "Content-Length", "Content-Security-Policy", "Content-Type",
        "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy",
        "Permissions-Policy", "Referrer-Policy", "Vary", "X-Content-Type-Options",
        "X-Frame-Options",
    }
)  # fmt: skip


KEYED = tuple(each for each in ROUTES if REQUEST_KEY_FIELD in each.takes)
PAGED = tuple(
    each
    for each in ROUTES
    if each.method == "GET" and each.query is not None and "limit" in each.query.fields
)


def operation(route: Route) -> dict[str, Any]:
    path = route.template
    found: dict[str, Any] = described()["paths"][path][route.method.lower()]
    return found


def takes(route: Route, name: str) -> bool:
    return any(
        (each["in"], each["name"]) == ("header", name)
        for each in operation(route).get("parameters", ())
    )


def response_headers(route: Route, answer: TestResponse) -> set[str]:
    """Return the headers that the description knows for the status of an answer."""
    response = operation(route)["responses"][str(answer.status_code)]
    reference = response.get("$ref")
    if reference is not None:
        name = reference.rpartition("/")[2]
        response = described()["components"]["responses"][name]
    return set(response["headers"])


@EVERY_ROUTE
def test_the_headers_of_an_answer_are_described(
    client: FlaskClient, route: Route
) -> None:
    answer = sample(route).send(client)

    assert answer.status_code in (route.status, *route.other_answers), answer.text
    assert set(answer.headers.keys()) - HARDENING <= response_headers(route, answer)


@EVERY_ROUTE
def test_a_route_that_knows_request_keys_says_so(
    client: FlaskClient, route: Route
) -> None:
    answer = sample(route).send(client, {REQUEST_KEY_FIELD: "no,key"})

    is_refused = answer.status_code == 400
    assert is_refused is takes(route, REQUEST_KEY_FIELD)
    if is_refused:
        assert (answer.json or {})["field"] == REQUEST_KEY_FIELD


@EVERY_ROUTE
def test_a_route_that_guards_its_settings_says_so(
    client: FlaskClient, route: Route
) -> None:
    answer = sample(route).send(client, {"If-Match": '"older"'})

    assert (answer.status_code == 412) is takes(route, "If-Match")


@EVERY_ROUTE
def test_a_route_that_knows_what_the_client_has_says_so(
    client: FlaskClient, route: Route
) -> None:
    answer = sample(route).send(client, {"If-None-Match": "*"})

    assert (answer.status_code == 304) is takes(route, "If-None-Match")
    if answer.status_code == 304:
        assert set(answer.headers.keys()) - HARDENING <= response_headers(route, answer)
        assert "ETag" in answer.headers


@pytest.mark.parametrize("route", KEYED, ids=lambda each: each.endpoint)
def test_the_headers_of_a_repeated_answer_are_described(
    client: FlaskClient, route: Route
) -> None:
    headers = {REQUEST_KEY_FIELD: "again"}
    sample(route).send(client, headers)

    answer = sample(route).send(client, headers)

    assert answer.headers["Idempotency-Replayed"] == "true"
    assert set(answer.headers.keys()) - HARDENING <= response_headers(route, answer)


@pytest.mark.parametrize("route", PAGED, ids=lambda each: each.endpoint)
def test_the_headers_of_a_page_are_described(client: FlaskClient, route: Route) -> None:
    for _ in range(2):
        client.post(f"{PREFIX}/queue/{QUEUE}/paused", json={"paused": False})  # audited
    request = sample(route)

    answer = replace(request, query={**request.query, "limit": 1}).send(client)

    assert answer.status_code == 200, answer.text
    assert set(answer.headers.keys()) - HARDENING <= response_headers(route, answer)
    declares_pages = "Link" in response_headers(route, answer)
    assert ("Link" in answer.headers) is declares_pages


def test_a_page_has_as_many_rows_at_most_as_described(client: FlaskClient) -> None:
    for route in PAGED:
        request = sample(route)
        (limit,) = (
            parameter["schema"]
            for parameter in operation(route)["parameters"]
            if parameter["name"] == "limit"
        )
        for number, status in (
            (limit["minimum"], 200),
            (limit["maximum"], 200),
            (limit["maximum"] + 1, 400),
        ):
            query = {**request.query, "limit": number}
            answer = replace(request, query=query).send(client)
            assert answer.status_code == status, (route.endpoint, number, answer.text)


def test_every_header_that_is_described_is_one_of_some_answer() -> None:
    named = {
        name
        for route in ROUTES
        for response in operation(route)["responses"].values()
        for name in response.get("headers", ())
    }
    for response in described()["components"]["responses"].values():
        named.update(response["headers"])

    assert named == DESCRIBED
