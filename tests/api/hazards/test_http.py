"""H21 to H23: what is asked for, how, and where."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.routes import Route
from tests.api.hazards.inputs import ROUTES, fault, label
from tests.api.mounting import PREFIX
from tests.conformance.requests import sample

ACCEPTED = ("text/html", "*/*", "", "application/xml;q=1", "x" * 10_000, ";;;,,,q=")
OVERRIDES = {
    "X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE",
    "X-HTTP-Method": "DELETE",
}  # fmt: skip
EVERY_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=label)


def test_H21_whatever_is_accepted_the_answer_is_the_same(
    bare_client: FlaskClient,
) -> None:
    for accept in ACCEPTED:
        answer = bare_client.open(
            f"{PREFIX}/queue/overview", method="FOO", headers={"Accept": accept}
        )
        assert fault(answer) == (405, "method_not_allowed", None)


def test_H21_json_is_sent_to_who_wants_html(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/queue/overview", headers={"Accept": "text/html"})

    assert answer.headers["Content-Type"] == "application/json"


def test_H22_a_method_cannot_be_overridden(client: FlaskClient) -> None:
    for name, value in OVERRIDES.items():
        answer = client.get(
            f"{PREFIX}/v1/queues/mail?_method=DELETE", headers={name: value}
        )
        assert answer.status_code in {200, 400}
    listed = client.get(f"{PREFIX}/queue/overview").json
    assert "mail" in [queue["name"] for queue in listed or ()]


@EVERY_ROUTE
def test_H23_only_the_exact_path_is_a_route(client: FlaskClient, route: Route) -> None:
    path = sample(route).path
    others = (
        f"{path}/", f"{path}//", f"/{path}", f"/.{path}", f"{path}/.", f"/x/..{path}",
        f"/%2e{path}", f"{path};a=b", f"{path}%20", f"{path}%0a", path.upper(),
        f"{path}/{'x' * 9000}",
    )  # fmt: skip
    for other in others:
        if "<" in route.path and not other.endswith(("/", "/.", "x")):
            continue  # it is part of the placeholder, or leads to one
        answer = client.open(f"{PREFIX}{other}", method=route.method)
        assert answer.status_code in {404, 405}, other
        assert "Location" not in answer.headers
        assert fault(answer)[1] in {"not_found", "method_not_allowed"}


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if "<" in route.path], ids=label
)
def test_H23_a_name_in_a_path_is_utf_8(client: FlaskClient, route: Route) -> None:
    def ask(name: str) -> TestResponse:
        path = re.sub("<[^>]+>", name, route.path)
        body = {} if route.method == "GET" else {"json": sample(route).body}
        return client.open(f"{PREFIX}{path}", method=route.method, **body)

    for name in ("%FF", "a%C3", "%ED%A0%80"):
        assert fault(ask(name)) == (400, "validation", "path"), name
    # The replacement character is a character.
    assert ask("%EF%BF%BD").status_code in {200, 404}


def test_H23_a_name_is_utf_8_where_the_server_leaves_it_as_it_came(
    client: FlaskClient,
) -> None:
    came = {"PATH_INFO": f"{PREFIX}/v1/queues/\xff", "RAW_URI": "", "REQUEST_URI": ""}

    answer = client.get("/", environ_overrides=came)

    assert fault(answer) == (400, "validation", "path")
