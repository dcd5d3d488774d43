from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from flask_forge_jobs.dashboard.parameters import Parameters


def asked(query: str) -> Parameters:
    """Return the parameters of a request."""
    return Parameters(Request(EnvironBuilder(query_string=query).get_environ()))


def test_valid_parameters_are_kept_for_links() -> None:
    parameters = asked("q=+mail+&state=behind&per=100&page=3&foo=1")

    assert parameters.text("q") == "mail"
    assert parameters.one_of("state", ("stopped", "behind")) == "behind"
    assert parameters.number("per", (25, 50, 100), 50) == 100
    assert parameters.number("page", range(1, 10), 1) == 3
    assert parameters.kept == {
        "q": "mail", "state": "behind", "per": "100", "page": "3",
    }  # fmt: skip


def test_invalid_parameters_count_as_none() -> None:
    parameters = asked(
        f"q={'x' * 501}&r=%00&state=bad&per=7&page=-1&n=%C2%B2&m=9999999"
    )

    assert parameters.text("q") == ""
    assert parameters.text("r") == ""
    assert parameters.text("none") == ""
    assert parameters.one_of("state", ("stopped",)) is None
    assert parameters.one_of("none", ("stopped",)) is None
    assert parameters.number("per", (25, 50), 50) == 50
    for name in ("page", "n", "m", "none"):
        assert parameters.number(name, range(1, 10**9), 1) == 1
    assert parameters.kept == {}


def test_a_default_and_a_moment_leave_the_links() -> None:
    parameters = asked("per=50&ask=pause&queue=mail&edit=mail")

    assert parameters.number("per", (25, 50), 50) == 50
    assert parameters.one_of("ask", ("pause",)) == "pause"
    assert parameters.text("queue") == parameters.text("edit") == "mail"
    assert parameters.kept == {}


def test_an_instant_without_an_offset_is_in_utc() -> None:
    parameters = asked("from=2026-11-30T12:00&to=2026-11-30T12:00%2B01:00&x=soon")

    assert parameters.instant("from") == datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert parameters.instant("to") == datetime(2026, 11, 30, 11, tzinfo=UTC)
    assert parameters.instant("x") is None
    assert parameters.instant("none") is None
    assert set(parameters.kept) == {"from", "to"}


@pytest.mark.parametrize("text", ["0001-01-01T00:00%2B23:59", "9999-12-31T23:59-23:59"])
def test_an_instant_beyond_the_calendar_is_none(text: str) -> None:
    assert asked(f"from={text}").instant("from") is None
