"""One object for each request, and never that of another."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from weakref import ref

import pytest
from flask import Flask, Request, request, request_started
from flask.testing import FlaskClient

from flask_forge_jobs.api.request import RequestState, present_state
from flask_forge_jobs.storage.units import Unit
from tests.api.mounting import PREFIX

URL = f"{PREFIX}/health"


def test_a_state_ends_with_its_request() -> None:
    app = Flask("host")
    found: list[RequestState] = []

    @app.get("/")
    def view() -> str:
        found.append(present_state())
        assert present_state() is found[-1]
        return found[-1].id

    client = app.test_client()
    # An outer context outlives the requests within it, and what is kept in it too.
    with app.app_context():
        ids = [client.get("/").text for _ in range(2)]

    assert found[0] is not found[1]
    assert ids[0] != ids[1]


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What the collector finds, instead of freeing it."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/jobs", None),
        ("POST", "/v1/jobs", {"kind": "noop", "payload": {}}),
        ("POST", "/v1/jobs/bulk", {"items": [{"kind": "noop", "payload": {}}] * 2}),
        ("POST", "/v1/jobs/actions", {"action": "delete", "ids": ["none"]}),
    ],
)
def test_a_request_leaves_nothing_for_the_garbage_collector(
    client: FlaskClient, garbage: list[object], method: str, path: str, body: object
) -> None:
    """Else its body is kept until then."""
    begun: list[ref[Request]] = []

    def note(_: Flask) -> None:
        begun.append(ref(request._get_current_object()))  # type: ignore[attr-defined]

    def send() -> None:
        answer = client.open(f"{PREFIX}{path}", method=method, json=body)
        assert answer.status_code < 300, answer.text

    send()  # imports what it needs
    gc.collect()
    garbage.clear()
    with request_started.connected_to(note):
        send()
    left = [each() for each in begun]
    gc.collect()

    assert left == [None]
    assert not [each for each in garbage if isinstance(each, Unit | RequestState)]


@pytest.mark.parametrize("offered", ["a", "Ab9._-", "x" * 128])
def test_request_id_is_echoed(client: FlaskClient, offered: str) -> None:
    answer = client.get(URL, headers={"X-Request-Id": offered})

    assert answer.headers["X-Request-Id"] == offered


@pytest.mark.parametrize("offered", ["", "a b", "x" * 129, "é", "a,b", "<script>"])
def test_request_id_of_another_form_is_replaced(
    client: FlaskClient, offered: str
) -> None:
    answer = client.get(URL, headers={"X-Request-Id": offered})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_request_ids_differ(client: FlaskClient) -> None:
    ids = {client.get(URL).headers["X-Request-Id"] for _ in range(3)}

    assert len(ids) == 3


def test_unmatched_url_has_one_request_id(client: FlaskClient) -> None:
    answer = client.get(f"{PREFIX}/none", headers={"X-Request-Id": "mine"})

    assert answer.headers.getlist("X-Request-Id") == ["mine"]
