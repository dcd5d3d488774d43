"""H7 to H12: what a query may hold."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.fields import V1Schema
from tests.api.hazards.inputs import (
    EXACT_ROUTES,
    LENIENT_ROUTES,
    QUERY_ROUTES,
    fault,
    label,
    parameters,
)
from tests.api.mounting import PREFIX
from tests.conformance.requests import sample
from tests.support.backends import each_backend

BAD_NUMBERS = (
    "", "1_000", "%2B5", "+5", "%205", "5%20", "5%0a", "0x10", "1e3", "-1", "1.0",
    "%EF%BC%91%EF%BC%92", "%D9%A3", "9" * 30, "true", "None", "NaN", "5%00",
)  # fmt: skip
BAD_INSTANTS = (
    "", "now", "infinity", "2026-01-01", "2026-01-01T00:00:00", "1767225600",
    "1767225600000", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z",
    "2026-02-30T00:00:00Z", "2026-W01-1T00:00:00Z", "2026-001T00:00:00Z",
    "2026-01-01T00:00:00%2B25:00", "2026-01-01T00:00:00+00:00", "-2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00ZZ", "2026-1-1T0:0:0",
)  # fmt: skip
BAD_CURSORS = (
    "", "0", "AAAA", "====", "eyJ9", "a" * 10_000, "%00", "..%2F..", "null", "%FF%FE",
    "01K5A4D3E4F5G6H7J8K9M0N1P2", "-1", "é",
)  # fmt: skip
NUMBERS = [*parameters("integer")]
INSTANTS = [
    (route, name) for route, name in parameters("string") if name in {"from", "to"}
]
LISTS = {name for _route, name in parameters("array")}
SINGLE = [(route, name) for route, name in parameters() if name not in LISTS]
STRICT = [route for route in QUERY_ROUTES if isinstance(route.query, V1Schema)]


def ask(client: FlaskClient, route: Route, query: str) -> TestResponse:
    """Send a query as it is written, besides the parameters that must be there."""
    request = sample(route)
    named = {part.partition("=")[0] for part in query.split("&")}
    needed = {key: value for key, value in request.query.items() if key not in named}

    text = "&".join(part for part in (urlencode(needed), query) if part)
    extra = {} if request.body is None else {"json": request.body}
    return client.open(f"{PREFIX}{request.path}?{text}", method=route.method, **extra)


@pytest.mark.parametrize(("route", "name"), NUMBERS, ids=label)
def test_H07_a_number_is_ascii_digits_and_nothing_else(
    client: FlaskClient, route: Route, name: str
) -> None:
    for text in BAD_NUMBERS:
        answer = ask(client, route, f"{name}={text}")
        assert fault(answer) == (400, "validation", name), text


@pytest.mark.parametrize(("route", "name"), SINGLE, ids=label)
def test_H08_a_parameter_is_given_once(
    client: FlaskClient, route: Route, name: str
) -> None:
    answer = ask(client, route, f"{name}=1&{name}=2")

    assert fault(answer) == (400, "validation", name)


@pytest.mark.parametrize(("route", "name"), NUMBERS, ids=label)
def test_sec_S22_no_number_makes_an_endless_answer(
    client: FlaskClient, route: Route, name: str
) -> None:
    """Page sizes, windows and widths: in a range, or refused by name."""
    for text in ("-1", "NaN", "Infinity", "1e9"):
        assert fault(ask(client, route, f"{name}={text}")) == (400, "validation", name)
    for text in ("0", "1", str(10**9), str(2**32 - 1), str(2**63)):
        answer = ask(client, route, f"{name}={text}")
        assert answer.status_code in {200, 400}
        if answer.status_code == 400:
            assert fault(answer) == (400, "validation", name)
        assert len(answer.data) < 100_000


@pytest.mark.parametrize("route", STRICT, ids=label)
def test_H08_another_spelling_of_an_array_is_unknown(
    client: FlaskClient, route: Route
) -> None:
    for name in ("status[]", "status[0]", "kind[]"):
        assert fault(ask(client, route, f"{name}=x")) == (400, "validation", name)


@pytest.mark.parametrize("route", STRICT, ids=label)
def test_H09_our_own_routes_refuse_unknown_parameters(
    client: FlaskClient, route: Route
) -> None:
    for name in ("lmit", "Limit", "_", "__proto__", "callback"):
        assert fault(ask(client, route, f"{name}=5")) == (400, "validation", name)


@pytest.mark.parametrize("route", EXACT_ROUTES, ids=label)
def test_H09_no_condition_in_a_query_is_passed_over(
    client: FlaskClient, route: Route
) -> None:
    """Whatever changes something, and all below /v1, with a query of its own or not"""
    assert fault(ask(client, route, "zzz=1")) == (400, "validation", "zzz")


@pytest.mark.parametrize("route", LENIENT_ROUTES, ids=label)
def test_H09_reads_of_the_reference_pass_over_what_they_do_not_know(
    client: FlaskClient, route: Route
) -> None:
    assert ask(client, route, "zzz=1").status_code == 200


@pytest.mark.parametrize("cursor", BAD_CURSORS)
@pytest.mark.parametrize(
    "route", [route for route, name in parameters() if name == "cursor"], ids=label
)
def test_H10_only_a_cursor_of_ours_is_taken(
    client: FlaskClient, route: Route, cursor: str
) -> None:
    assert fault(ask(client, route, f"cursor={cursor}")) == (
        400, "validation", "cursor",
    )  # fmt: skip


@each_backend
def test_H10_a_cursor_belongs_to_its_filter_and_order(client: FlaskClient) -> None:
    first = client.get(f"{PREFIX}/v1/jobs?limit=1&queue=mail").json
    assert first is not None
    cursor = first["next_cursor"]

    again = client.get(f"{PREFIX}/v1/jobs?limit=1&queue=mail&cursor={cursor}")
    assert again.status_code == 200
    for other in (
        "queue=default",
        "queue=mail&status=dead",
        "queue=mail&sort=priority",
    ):
        answer = client.get(f"{PREFIX}/v1/jobs?limit=1&{other}&cursor={cursor}")
        assert fault(answer) == (400, "validation", "cursor")
    for broken in (cursor[:-1], cursor + "A", cursor.swapcase()):
        answer = client.get(f"{PREFIX}/v1/jobs?limit=1&queue=mail&cursor={broken}")
        assert fault(answer) == (400, "validation", "cursor")


@pytest.mark.parametrize(
    "route", [route for route, name in NUMBERS if name == "limit"], ids=label
)
def test_sec_S29_H11_no_list_is_endless(client: FlaskClient, route: Route) -> None:
    for limit in ("0", "1001", "1000000", "999999999"):
        answer = ask(client, route, f"limit={limit}")
        assert fault(answer) == (400, "validation", "limit")
    assert ask(client, route, "limit=1").status_code == 200


def test_H11_a_listing_of_the_reference_is_bounded_too(client: FlaskClient) -> None:
    for name, value in (("limit", 1001), ("offset", 100_001)):
        answer = client.post(
            f"{PREFIX}/jobs/list", json={"limit": 1, "offset": 0, name: value}
        )
        assert fault(answer) == (400, "validation", name)


@pytest.mark.parametrize(("route", "name"), INSTANTS, ids=label)
def test_H12_a_window_is_made_of_instants(
    client: FlaskClient, route: Route, name: str
) -> None:
    for text in BAD_INSTANTS:
        answer = ask(client, route, f"{name}={text}")
        assert fault(answer) == (400, "validation", name), text


@pytest.mark.parametrize(
    "route", [route for route, name in NUMBERS if name == "bucket_secs"], ids=label
)
def test_sec_S29_H12_a_window_has_few_buckets(
    client: FlaskClient, route: Route
) -> None:
    window = "from=1970-01-01T00:00:00Z&to=9999-12-31T23:59:59Z"

    answer = ask(client, route, f"{window}&bucket_secs=60")

    assert fault(answer) == (400, "validation", "bucket_secs")


def test_H12_a_filter_does_not_end_before_it_begins(client: FlaskClient) -> None:
    window = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    body = {"filter": window, "limit": 1, "offset": 0}

    answer = client.post(f"{PREFIX}/jobs/list", json=body)

    assert fault(answer) == (400, "validation", "filter.from")
