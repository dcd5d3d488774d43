"""Progress of a job in numbers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from flask_forge_jobs.dashboard.job.progress_view import ProgressView, progress_view

AT = 1_790_000_000_000_000


def stored(report: object, rate: object = None) -> ProgressView:
    return progress_view(json.dumps({"at": AT, "rate": rate, "report": report}))


def test_a_report_tells_share_rate_and_rest() -> None:
    view = stored({"done": 124_310, "total": 200_000, "message": "rows"}, 84)

    assert (view.done, view.total, view.percent) == ("124,310", "200,000", 62)
    assert (view.message, view.rate) == ("rows", "84")
    assert view.rest == timedelta(seconds=(200_000 - 124_310) / 84)
    assert view.at == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("report", "percent"),
    [
        ({"done": 0, "total": 3}, 0),
        ({"done": 2.999, "total": 3}, 99),
        ({"done": 5, "total": 3}, 100),
        ({"done": -5, "total": 3}, 0),
        ({"done": 1, "total": 0}, None),
        ({"done": 1}, None),
        ({"total": 1}, None),
        ({"done": True, "total": 2}, None),
        ({"done": 10**400, "total": 2}, None),
        ({"done": 1e308, "total": 1e-308}, 100),
        ({"done": 10**308, "total": 1}, 100),
        ({"done": -(10**308), "total": 1e308}, 0),
        ({"done": 29, "total": 100}, 29),
        ({"done": "1", "total": 2}, None),
    ],
)
def test_the_share_is_whole_and_never_too_early(
    report: object, percent: int | None
) -> None:
    assert stored(report, 1.0).percent == percent


def test_a_rate_has_three_digits() -> None:
    rates = [stored({"done": 1}, rate).rate for rate in (0.99981, 84.26, 1234.5)]

    assert rates == ["1", "84.3", "1,230"]


@pytest.mark.parametrize("rate", [None, 0, -1, 1e-9, "fast"])
def test_without_a_rate_the_rest_is_unknown(rate: object) -> None:
    assert stored({"done": 1, "total": 10}, rate).rest is None


@pytest.mark.parametrize("report", ["halfway", [1], {"step": "two"}, 5, None])
def test_any_other_report_is_shown_as_it_is(report: object) -> None:
    view = progress_view(json.dumps(report))

    assert view.other == report
    assert (view.done, view.percent, view.message) == (None, None, None)


def test_a_damaged_text_is_its_own_report() -> None:
    assert progress_view("{").other == "{"


@pytest.mark.parametrize(
    ("done", "text"), [(0.5, "0.5"), (1234.0, "1,234"), (1e20, "1e+20"), (2.25, "2.25")]
)
def test_numbers_are_short(done: float, text: str) -> None:
    assert stored({"done": done}).done == text
