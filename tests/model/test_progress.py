from __future__ import annotations

import json
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.progress import (
    ProgressMeter,
    checked_report,
    report_of,
    shown_progress,
)

NOON_US = 1_790_000_000 * SECOND_US
NOON = "2026-09-21T14:13:20Z"


def _rates(*reports: tuple[float, object]) -> list[float | None]:
    meter = ProgressMeter()
    return [
        json.loads(meter.stamped(json.dumps(report), NOON_US + int(at_s * SECOND_US)))[
            "rate"
        ]
        for at_s, report in reports
    ]


def test_the_rate_is_of_two_reports() -> None:
    first, later, last = {"done": 10}, {"done": 15}, {"done": 16.5}

    assert _rates((0, first), (2, later), (5, last)) == [None, 2.5, 0.5]


def test_reports_shortly_after_one_another_keep_the_rate() -> None:
    rates = _rates((0, {"done": 0}), (1, {"done": 5}), (1.4, {"done": 9}))
    after = _rates((0, {"done": 0}), (0.4, {"done": 9}), (0.5, {"done": 10}))

    assert rates == [None, 5.0, 5.0]
    assert after == [None, None, 20.0]


@pytest.mark.parametrize("other", [{"done": 1}, {"done": True}, {"sent": 7}, "text"])
def test_another_part_or_form_begins_without_a_rate(other: object) -> None:
    assert _rates((0, {"done": 5}), (1, {"done": 8}), (2, other))[-1] is None


@pytest.mark.parametrize("huge", [1e308, 17 * 10**307, 10**400])
def test_numbers_beyond_those_of_a_float_have_no_rate(huge: float) -> None:
    """Else the heartbeat, which is of all jobs of the worker, would fail."""
    assert _rates((0, {"done": 0}), (0.5, {"done": huge})) == [None, None]
    assert _rates((0, {"done": huge}), (1, {"done": huge}))[0] is None


def test_a_report_is_shown_with_its_time_and_rate() -> None:
    meter = ProgressMeter()
    meter.stamped('{"done":1}', NOON_US - 2 * SECOND_US)

    text = meter.stamped('{"done":2,"total":3}', NOON_US)

    assert report_of(text) == {"done": 2, "total": 3}
    assert shown_progress(text) == {
        "done": 2,
        "total": 3,
        "message": None,
        "at": NOON,
        "rate": 0.5,
    }


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        ({"sent": 7}, {"sent": 7, "at": NOON, "rate": None}),
        ("half", {"value": "half", "at": NOON, "rate": None}),
        ({"at": "work", "rate": 1}, {"at": "work", "rate": 1}),
    ],
)
def test_a_report_of_another_form_stays_as_it_is(report: Any, shown: Any) -> None:
    text = ProgressMeter().stamped(json.dumps(report), NOON_US)

    assert report_of(text) == report
    assert shown_progress(text) == shown


def test_a_report_without_a_time_has_none() -> None:
    assert report_of('{"done":1}') == {"done": 1}
    assert shown_progress('"half"') == {"value": "half", "at": None, "rate": None}
    assert shown_progress("{damaged")["value"] == "{damaged"


def test_a_report_as_deep_as_is_allowed_can_be_stamped() -> None:
    deep = "[" * 64 + "]" * 64

    assert report_of(ProgressMeter().stamped(deep, NOON_US)) == json.loads(deep)


@pytest.mark.parametrize(
    ("report", "field", "message"),
    [
        (("3", None, None), "done", "'3' is not a finite number"),
        ((True, None, None), "done", "True is not a finite number"),
        ((float("nan"), None, None), "done", "nan is not a finite number"),
        ((1, float("inf"), None), "total", "inf is not a finite number"),
        ((1, -1, None), "total", "-1 is negative"),
        ((1, 2, 3), "message", "3 is not text"),
    ],
)
def test_what_is_no_report_is_refused(report: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        checked_report(*report)

    assert caught.value.field == field


def test_what_is_none_is_left_out_of_a_report() -> None:
    assert checked_report(3, None, None) == {"done": 3}
    assert checked_report(3, 0, "") == {"done": 3, "total": 0, "message": ""}
