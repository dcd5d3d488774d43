"""A figure of any numbers is drawn, labelled, and said in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.charts.figure import Figure, Line, Span, percentiles
from flask_forge_jobs.dashboard.charts.ticks import Unit
from tests.dashboard.charts.test_paths import points

START = datetime(2026, 11, 30, 13, 34, tzinfo=UTC)
VALUE = st.none() | st.floats() | st.integers(-5, 10**18)


def figure(
    *values: list[float | None], is_band: bool = False, bars: bool = False
) -> Figure:
    """Return a figure of series a, b and so on; the last two as bars."""
    lines = [Line("abc"[place], "run", each) for place, each in enumerate(values)]
    return Figure(
        "try",
        "Jobs per minute",
        Unit.MILLISECONDS if is_band else Unit.COUNT,
        Span(START, 60, len(values[0])),
        lines[:1] if bars else lines,
        bars=lines[1:] if bars else (),
        is_band=is_band,
    )


@given(
    values=st.integers(0, 12).flatmap(
        lambda count: st.tuples(*[st.lists(VALUE, min_size=count, max_size=count)] * 3)
    ),
    is_band=st.booleans(),
    bars=st.booleans(),
)
@settings(max_examples=50)
@example(values=([5.0] * 300, [None] * 300, [1e18] * 300), is_band=True, bars=False)
@example(values=([0.0] * 300, [0.0] * 300, [1.0] * 300), is_band=False, bars=True)
def test_any_numbers_make_a_figure(
    values: tuple[list[float | None], ...], is_band: bool, bars: bool
) -> None:
    drawn = figure(*values, is_band=is_band, bars=bars and not is_band)

    count = len(values[0])
    for shape in drawn.shapes():
        for x, y in points(shape.path):
            assert -0.5 <= x < count
            assert 0 <= y <= drawn.height
    for shape in drawn.strip():
        for x, y in points(shape.path):
            assert -0.5 <= x < count
            assert 0 <= y <= 40
    assert len(list(drawn.rows())) == count
    assert drawn.summary().endswith(".")
    for each in drawn.data.split(";"):
        assert each.count("|") == max(count - 1, 0)


def test_a_small_band_has_as_few_ticks_as_small_lines() -> None:
    drawn = [
        replace(figure([5.0, 5.0], is_band=is_band), height=72, unit=unit)
        for is_band, unit in ((True, Unit.MILLISECONDS), (False, Unit.COUNT))
    ]

    assert [len(each.axis.ticks) for each in drawn] == [4, 4]


def test_missing_values_are_gaps_and_not_zero() -> None:
    drawn = figure([4, None, 4])

    line, dots = drawn.shapes()
    assert (line.path, dots.path.count("M")) == ("", 2)
    assert drawn.data == "4||4"
    assert [row for _, row in drawn.rows()] == [["4"], [words.NOTHING], ["4"]]


def test_a_chart_of_one_sample_says_so() -> None:
    """A lone dot looked like a drawing that had failed."""
    assert figure([None, 4, None], [None, 5, None]).lack == "One sample in this range"
    assert figure([None, 4], [5, None]).lack == figure([0, 0]).lack == ""
    assert figure([None]).lack == figure([]).lack == "No figures in this range"


def test_each_percentile_has_a_stroke_of_its_own_here_and_in_the_legend() -> None:
    lines = percentiles([(1, 2, 3), None, (1, 2, 3), (2, 3, 4)])
    drawn = Figure("try", "Times", Unit.MILLISECONDS, Span(START, 60, 4), lines)

    legend = [entry.classes for entry in drawn.legend()]
    assert legend == ["c-blue", "ds c-blue", "dd c-blue"]
    strokes = [shape.classes for shape in drawn.shapes() if "dt" not in shape.classes]
    assert strokes == ["ln c-blue", "ln th ds c-blue", "ln th dd c-blue"]
    assert [each.values[1] for each in lines] == [None, None, None]


def test_the_open_bucket_is_a_ring_of_its_own_and_named() -> None:
    """Half of the figures of the present minute are there: that is no fall."""
    lines = [Line("done", "green", [8, 8, 8, 1], ["area"])]
    span = Span(START, 60, 4, is_open=True)

    drawn = Figure("try", "Jobs", Unit.COUNT, span, lines)

    assert [(each.classes, each.path) for each in drawn.shapes()] == [
        ("ar c-green", "M0 34l1 0 1 0V168H0z"),
        ("ln c-green", "M0 34l1 0 1 0"),
        ("ln dt c-green", "M3 151h0"),
        ("ln op", "M3 151h0"),
    ]
    assert [entry.text for entry in drawn.legend()] == ["8"]
    assert drawn.legend_time == "13:36"
    assert [name for name, _ in drawn.rows()][:2] == ["13:37 so far", "13:36"]
    assert drawn.times()[-1].text == "so far"
    closed = replace(drawn, span=Span(START, 60, 4))
    assert [entry.text for entry in closed.legend()] == ["1"]
    assert closed.legend_time == "13:37"
    assert len(list(closed.shapes())) == 2


@pytest.mark.parametrize(
    ("width_s", "no_rates", "rings"), [(60, "None", 0), (300, "None", 1), (60, None, 1)]
)
def test_an_open_bucket_changes_no_axis_and_is_no_rate_of_seconds(
    width_s: int, no_rates: str | None, rings: int
) -> None:
    """72 jobs of this minute made an axis to 80 of one job a minute, then fell."""
    span = Span(START, width_s, 3, is_open=True)

    drawn = replace(figure([1, 1, 72]), span=span, no_rates=no_rates)

    assert drawn.axis.high == 1.5
    rests = [each.path for each in drawn.shapes() if each.classes == "ln op"]
    assert rests == ["M2 0h0"] * rings
    assert next(drawn.rows())[1] == ["72"]
    only = replace(drawn, lines=figure([0, None, 72]).lines)
    assert only.axis.high == (80 if rings else 1)


def test_an_empty_chart_has_neither_line_nor_axis() -> None:
    """An hour without a job was a green line on an axis that nothing had made."""
    idle = replace(figure([0, 0], [0, 0], bars=True), no_rates="No jobs in this range")

    for empty in (idle, figure([None, None])):
        assert empty.lack.startswith("No ")
        assert (list(empty.shapes()), empty.labels()) == ([], [])
        assert empty.grid == "M-.5 168h2"
    busy = replace(idle, lines=figure([0, 1]).lines)
    assert (busy.lack, len(list(busy.shapes()))) == ("", 1)


def test_the_highest_value_is_below_the_top_of_its_axis() -> None:
    """A median that was a round number lay on the upper edge, half of it cut."""
    band = replace(figure([40.0, 40.0], is_band=True))
    full = replace(figure([100.0]), unit=Unit.PERCENT, least=100)

    assert band.axis.high == 50
    assert full.axis.high == 100


def test_labels_make_room_for_the_end_only_where_they_touch_it() -> None:
    """20 minutes before the end had no label on a chart 600 pixels wide."""
    span = Span(START, 60, 60, is_open=True)
    drawn = replace(figure([1.0] * 60), span=span)

    labels = drawn.times()

    assert [each.text for each in labels] == [
        "13:40", "13:50", "14:00", "14:10", "14:20", "so far",
    ]  # fmt: skip
    late = replace(drawn, span=replace(span, start=START + timedelta(minutes=3)))
    assert [(each.text, each.is_extra) for each in late.times()][-2:] == [
        ("14:30", True),
        ("so far", False),
    ]
    assert [each.text for each in replace(late, height=72).times()][-2] == "14:10"


def test_all_values_of_a_legend_are_of_the_time_that_it_names() -> None:
    """Each could be of another minute, and none said of which."""
    lines = [Line("a", "blue", [4, None, None]), Line("b", "blue", [3, 7, None])]

    drawn = Figure("try", "Jobs", Unit.COUNT, Span(START, 60, 3), lines)

    assert [entry.text for entry in drawn.legend()] == [words.NOTHING, "7"]
    assert drawn.legend_time == "13:35"
    assert figure([]).legend_time == figure([None]).legend_time == ""
    span = Span(START, 60, 1, is_open=True)
    only = replace(drawn, span=span, lines=[Line("a", "blue", [4])])
    assert only.legend_time == "13:34 so far"


def test_a_band_ends_before_the_open_bucket() -> None:
    lines = [Line("a", "blue", [1, 1, 1]), Line("b", "blue", [2, 2, 2])]
    span = Span(START, 60, 3, is_open=True)

    first, *_ = Figure(
        "try", "Times", Unit.MILLISECONDS, span, lines, is_band=True
    ).shapes()

    assert first.classes == "bd1 c-blue"
    assert all(x <= 1 for x, _ in points(first.path))


def test_a_summary_says_range_and_last_value() -> None:
    assert figure([850, 1329, 1158]).summary() == (
        "Jobs per minute, Mon 30 13:34 to Mon 30 13:37 UTC: a from 850 to 1,329, "
        "last 1,158."
    )
    assert figure([None]).summary().endswith("UTC: no figures in this range.")
    assert figure([4, 4, 4]).summary().endswith("a 4 throughout.")


def test_a_summary_says_no_more_than_the_figures() -> None:
    """One value of an hour held throughout, and the minute so far was the last one."""
    assert figure([None, 4, None]).summary().endswith("a 4 where known.")
    drawn = replace(figure([8, 9, 1]), span=Span(START, 60, 3, is_open=True))
    assert drawn.summary().endswith("a from 8 to 9, last 9.")
    assert [entry.text for entry in drawn.legend()] == ["9"]


def test_a_hidden_series_is_neither_drawn_nor_measured() -> None:
    lines = [Line("Many", "ink", [9000]), Line("Few", "green", [3])]
    drawn = Figure(
        "try",
        "Jobs",
        Unit.COUNT,
        Span(START, 60, 1),
        lines,
        toggled=["try:Many", "x:y"],
    )

    assert drawn.axis.high == 4
    assert [shape.classes for shape in drawn.shapes()] == [
        "ln c-green",
        "ln dt c-green",
    ]
    assert [entry.is_hidden for entry in drawn.legend()] == [True, False]
    assert [entry.toggled for entry in drawn.legend()] == [
        ["x:y"],
        ["try:Many", "x:y", "try:Few"],
    ]
    assert drawn.data == "9,000;3"


def test_a_chart_of_a_hundred_buckets_is_small() -> None:
    values: list[float | None] = [float(700 + 31 * n % 600) for n in range(100)]
    drawn = figure(values, values, values)

    size = sum(len(shape.path) for shape in drawn.shapes())

    assert size <= 2100
    assert len(drawn.data) <= 1600
