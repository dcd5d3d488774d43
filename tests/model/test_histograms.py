from __future__ import annotations

import math
from base64 import b64decode
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_forge_jobs.model import histograms
from flask_forge_jobs.model.histograms import CHARTED, Histogram
from flask_forge_jobs.model.instants import DAY_US

MONTH_US = 30 * DAY_US
# Each example takes a tenth of a millisecond, unless the machine is busy.
untimed = settings(deadline=None)
durations = st.lists(st.integers(-1, MONTH_US), max_size=60)


def histogram(values: list[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record_many([value])
    return made


def merged(*parts: Histogram) -> Histogram:
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    return whole


@untimed
@given(durations, durations, durations)
def test_histograms_merge_in_any_order_and_grouping(
    one: list[int], two: list[int], three: list[int]
) -> None:
    a, b, c = histogram(one), histogram(two), histogram(three)

    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(a, b) == merged(b, a)
    assert merged(a, b, c) == histogram(one + two + three)


@untimed
@given(
    st.lists(st.integers(0, MONTH_US), min_size=1, max_size=200), st.floats(0.01, 100)
)
def test_a_percentile_is_within_two_percent_of_the_exact_one(
    values: list[int], percent: float
) -> None:
    exact = sorted(values)[max(math.ceil(percent * len(values) / 100), 1) - 1]

    assert histogram(values).percentiles(percent)[0] == pytest.approx(exact, rel=0.02)


@untimed
@given(durations, durations)
def test_many_values_are_recorded_like_one_after_the_other(
    one: list[int], two: list[int]
) -> None:
    made = histogram(one)
    made.record_many(two)

    assert made == histogram(one + two)


@untimed
@given(durations)
def test_a_histogram_survives_its_text(values: list[int]) -> None:
    made = histogram(values)

    read = Histogram()
    read.merge_text(made.encode())
    assert read == made


@untimed
@given(durations, durations)
def test_text_merges_like_what_it_encodes(one: list[int], two: list[int]) -> None:
    whole = histogram(one)
    whole.merge_text(histogram(two).encode())

    assert whole == histogram(one + two)


@untimed
@given(durations)
def test_the_text_does_not_depend_on_the_order_of_the_values(values: list[int]) -> None:
    assert histogram(values).encode() == histogram(values[::-1]).encode()


def test_the_text_is_what_is_stored() -> None:
    text = histogram([1000, 1000, 1100, 1000]).encode()

    *words, stored = text.split(" ")
    assert words == ["4100", "177", "179", "179"]
    assert b64decode(stored) == bytes([178, 0, 2, 3, 0, 1])
    assert Histogram().encode() == ""


def test_large_counts_are_stored_as_planes_of_bytes() -> None:
    text = Histogram({-1: 1, 0: 258, 1: 65_536}, 5).encode()

    planes = [1, 2, 0, 0, 1, 0, 0, 0, 1]
    assert b64decode(text.rpartition(" ")[2]) == bytes([0, 0, 17, *planes])


def test_a_histogram_counts_and_adds_up_exactly() -> None:
    made = histogram([1, 250_000, 3_000_000, -7])

    assert (made.count, made.sum_us) == (4, 3_250_001)


def test_an_empty_histogram_has_zeros() -> None:
    assert (Histogram().count, Histogram().percentiles(50, 99)) == (0, [0.0, 0.0])


def test_nearest_rank_takes_the_value_itself() -> None:
    made = histogram([1000 * n for n in range(1, 101)])

    assert made.percentiles(0, 50, 50, 100) == pytest.approx(
        [1000, 50_000, 50_000, 100_000], rel=0.02
    )


def test_values_are_counted_up_to_limits() -> None:
    made = histogram([0, 900, 2000, 5000])

    assert made.counts_up_to([0, 1000, 3000, 3001, 10**9]) == [1, 2, 3, 3, 4]
    assert Histogram().counts_up_to([0, 1]) == [0, 0]


@untimed
@given(st.lists(durations, max_size=5), st.sampled_from([CHARTED, (0, 12.5, 100)]))
def test_percentiles_of_merged_texts_are_those_of_all_values(
    parts: list[list[int]], percents: tuple[float, ...]
) -> None:
    whole, plain = Histogram(), Histogram()
    for part in parts:
        whole.merge_text(histogram(part).encode())
        plain.merge(histogram(part))

    assert whole.percentiles(*percents) == plain.percentiles(*percents)
    assert whole.sum_us == plain.sum_us
    assert whole.percentiles(*percents) == plain.percentiles(*percents)
    assert whole == plain


bucket_counts = st.dictionaries(st.integers(-1, 800), st.integers(1, 2**40), max_size=8)


@untimed
@given(st.lists(bucket_counts, max_size=4))
def test_counts_of_any_size_add_up(parts: list[dict[int, int]]) -> None:
    whole, plain = Histogram(), Histogram()
    for part in parts:
        whole.merge_text(Histogram(part).encode())
        plain.merge(Histogram(part))

    assert whole.percentiles(*CHARTED) == plain.percentiles(*CHARTED)
    assert whole.counts == plain.counts


@pytest.mark.parametrize(("texts", "count"), [(2, 255), (300, 255), (70_000, 1)])
def test_many_counts_add_up_without_a_carry(texts: int, count: int) -> None:
    """Each count is as large as its bytes allow, and the next one must not notice."""
    whole = Histogram()
    text = Histogram({5: count, 6: count}, 0).encode()
    for _ in range(texts):
        whole.merge_text(text)

    assert whole.counts == {5: texts * count, 6: texts * count}


def test_merged_texts_can_be_merged_and_added_to() -> None:
    one, two = Histogram(), Histogram()
    one.merge_text(histogram([10, 20]).encode())
    two.merge_text(histogram([30]).encode())
    two.record_many([40])
    two.merge_text(histogram([50]).encode())

    one.merge(two)
    one.merge(two)

    assert one == histogram([10, 20, 30, 40, 50, 30, 40, 50])
    assert two == histogram([30, 40, 50])
    assert one != two
    assert one != [10]
    assert repr(histogram([1])) == "Histogram({0: 1}, 1)"


def test_percentiles_of_the_same_few_texts_are_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [histogram([number]).encode() for number in (101_010, 202_020, 303_030)]
    added = Mock(wraps=histograms._added_up)
    monkeypatch.setattr(histograms, "_added_up", added)

    def percentiles(texts: list[str]) -> list[float]:
        merged = Histogram()
        for text in texts:
            merged.merge_text(text)
        return merged.percentiles(*CHARTED)

    first = percentiles(texts)
    assert percentiles(texts) == first == percentiles(texts)
    assert added.call_count == 1
    assert percentiles(texts[:2]) != first
    assert percentiles(texts * 3) == first  # too many to keep
    assert percentiles(texts * 3) == first
    assert added.call_count == 4
