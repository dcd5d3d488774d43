"""Paths go through every value, and stop at every gap."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from flask_forge_jobs.dashboard.charts import paths

YS = st.lists(st.none() | st.integers(0, 168), max_size=30)
_WORD = re.compile(r"[MlhvVHz]|-?[\d.]+")


def points(path: str) -> list[tuple[float, int]]:
    """Return the points that a path visits; the way back of an area too."""
    words, seen, command = _WORD.findall(path), [], ""
    x, y = 0.0, 0
    place = 0
    while place < len(words):
        if words[place].isalpha():
            command = words[place]
            place += 1
            if command == "z":
                continue
        number = float(words[place])
        place += 1
        if command in "Ml":
            second = int(words[place])
            place += 1
            is_step = command == "l"
            x, y = (x + number, y + second) if is_step else (number, second)
        elif command in "hH":
            x = x + number if command == "h" else number
        else:
            y = int(y + number if command == "v" else number)
        seen.append((x, y))
    return seen


@settings(max_examples=60)
@given(YS)
def test_line_and_dots_have_every_value_and_no_other(ys: list[int | None]) -> None:
    known = {(x, y) for x, y in enumerate(ys) if y is not None}

    path = paths.line(ys) + paths.dots(ys)
    assert set(points(path)) == known
    stretches = "".join("-" if y is None else "x" for y in ys).split("-")
    assert path.count("M") == sum(bool(each) for each in stretches)


@settings(max_examples=60)
@given(YS)
def test_an_area_has_the_values_of_its_line_and_its_bottom(
    ys: list[int | None],
) -> None:
    seen = set(points(paths.area(ys, 168)))

    known = {(round(x), y) for x, y in enumerate(ys) if y is not None}
    assert {(round(x), y) for x, y in seen if y != 168} <= known
    assert paths.area(ys, 168).count("z") == len(paths.runs(ys))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_a_band_visits_both_of_its_lines(pairs: list[tuple[int, int]]) -> None:
    lows = [pair[0] if sum(pair) % 3 else None for pair in pairs]
    highs = [pair[1] if sum(pair) % 5 else None for pair in pairs]
    whole = [
        x
        for x, (low, high) in enumerate(zip(lows, highs, strict=True))
        if low is not None and high is not None
    ]

    seen = points(paths.band(lows, highs))

    places = {(round(x), y) for x, y in seen}
    assert places >= {(x, ys[x]) for x in whole for ys in (lows, highs)}
    assert {x for x, _ in places} <= set(whole)


def test_bars_stand_on_their_bottoms() -> None:
    assert paths.bars([4, None, 0, 2], [40, 40, 40, 30]) == "M0 40v-4M3 30v-2"


def test_one_value_is_a_dot() -> None:
    assert paths.line([None, 5, None]) == ""
    assert paths.dots([None, 5, None]) == "M1 5h0"


def test_what_lies_below_a_dot_is_as_wide_as_a_bar() -> None:
    """It was not drawn, so that charts of few runs were stray dots."""
    assert paths.area([None, 5, None], 9) == "M0.63 5h0.74V9H0.63z"
    assert paths.band([None, 5], [2, 3]) == "M0.63 5h0.74V3H0.63z"
