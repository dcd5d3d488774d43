"""Small drawings of any numbers stay inside their boxes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from flask_forge_jobs.dashboard.charts.small import parts, range_row, spark, spark_bars
from flask_forge_jobs.dashboard.charts.ticks import logarithmic
from tests.dashboard.charts.test_paths import points

VALUE = st.none() | st.floats() | st.integers(-5, 10**18)


@settings(max_examples=50)
@given(st.lists(VALUE, max_size=20))
def test_sparks_of_any_numbers_are_inside_their_boxes(
    values: list[float | None],
) -> None:
    for drawn in (spark(values), spark(values, 100), spark_bars(values)):
        for path in (drawn.line, drawn.area, drawn.bars):
            assert all(-0.5 <= x < len(values) for x, _ in points(path))
            assert all(0 <= y <= 24 for _, y in points(path))


@given(st.lists(st.floats(0, 1e12), max_size=5), st.floats(0, 1e12))
def test_parts_never_exceed_the_whole(numbers: list[float], whole: float) -> None:
    widths = [float(part.width.rstrip("%")) for part in parts(numbers, whole)]

    assert sum(widths) <= 100.1
    assert len(widths) == len(numbers)


def test_a_spark_may_have_a_scale_of_its_own() -> None:
    half, whole = spark([50, 50, 50], 100), spark([50, 50, 50])

    assert {y for _, y in points(half.line)} == {12}
    assert {y for _, y in points(whole.line)} == {2}


def test_a_spark_of_one_value_or_two_is_no_stray_mark() -> None:
    assert spark([None, 50, 50]) == spark([None, None, None])
    assert spark([50, None, 50, 50]).line


def test_rows_share_a_logarithmic_axis() -> None:
    axis = logarithmic([10, 600_000])

    row = range_row(axis, 10, 1000, 600_000)

    assert (row.p50, row.p99) == ("4%", "96%")
    assert row.p95 == "42.51%"
