"""H37: cron expressions, time zones and names of schedules."""

from __future__ import annotations

from functools import partial

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.hazards.inputs import fault
from tests.api.mounting import PREFIX
from tests.conformance.seeding import SCHEDULE
from tests.support.costs import lines_run, no_hang

EXPRESSIONS = (
    "", " ", "x", "* * * *", "* * * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",
    "* * 32 * *", "* * * 13 *", "* * * 0 *", "* * * * 8", "*/0 * * * *", "*/x * * * *",
    "1-0 * * * *", "-1 * * * *", "1,,2 * * * *", ", * * * *", "1- * * * *",
    "-5 * * * *",
    "* * 30 2 *", "* * 31 4 *", "0 0 0 30 2 * 2026", "0 0 0 1 1 * 1969", "@never",
    "@reboot", "1.5 * * * *", "\uff11 * * * *", "* * * FOO *", "* * * * MONDAYS",
    "0 * * * *; rm -rf /", "0 * * * * \x00", "9" * 256, "*," * 127 + "*", "\n* * * * *",
    "0-99999999999999999999 * * * *", "*/99999999999999999999 * * * *",
)  # fmt: skip
ZONES = (
    "", " ", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "TZ=../../etc/passwd",
    "Europe/berlin", "europe/Berlin ", "UTC+25", "x" * 300, "Europe/Berlin\x00", ":UTC",
    "Europe", "posix/..", ".", "..", "Europe//Berlin",
)  # fmt: skip
# Of Python, for all of a request; a parser that expands or searches runs millions.
MAX_LINES = 20_000


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_H37_a_bad_expression_is_400_and_cheap(
    client: FlaskClient, expression: str
) -> None:
    for path, key in (
        (f"/cron/{SCHEDULE}/expr", "expr"),
        ("/v1/cron/preview", "cron_expr"),
    ):
        answers: list[TestResponse] = []
        ask = partial(client.post, f"{PREFIX}{path}", json={key: expression})

        with no_hang():
            lines = lines_run(lambda: answers.append(ask()))  # noqa: B023  # called at once

        status, kind, field = fault(answers[0])
        assert (status, kind) == (400, "validation"), answers[0].text
        assert field in {"cron_expr", "expr", "json"}
        assert lines < MAX_LINES


@pytest.mark.parametrize("zone", ZONES)
def test_H37_an_unknown_zone_is_400(client: FlaskClient, zone: str) -> None:
    body = {"cron_expr": "0 6 * * *", "timezone": zone}

    status, kind, field = fault(client.post(f"{PREFIX}/v1/cron/preview", json=body))

    assert (status, kind) == (400, "validation")
    assert field in {"timezone", "json"}


@pytest.mark.parametrize("name", ["", " ", " a", "a/b", "a?b", "a%b", "a,b", "a\nb"])
def test_H37_a_bad_name_is_400(client: FlaskClient, name: str) -> None:
    body = {"name": name, "kind": "k", "cron_expr": "0 6 * * *"}

    answer = client.post(f"{PREFIX}/v1/cron", json=body)

    assert fault(answer) == (400, "validation", "name")


def test_H37_a_name_is_taken_once(client: FlaskClient) -> None:
    body = {"name": SCHEDULE, "kind": "k", "cron_expr": "0 6 * * *"}

    assert fault(client.post(f"{PREFIX}/v1/cron", json=body))[:2] == (409, "conflict")
