"""A search in a payload: paths, cuts, masked values, depth."""

from __future__ import annotations

from flask_forge_jobs.dashboard.job.json_search import MAX_PLACES, MAX_TEXT, places_of
from flask_forge_jobs.model.masking import REDACTED


def test_a_text_is_found_in_keys_and_values() -> None:
    value = {
        "Order": {"id": 90071992547409931, "tags": ["red", "Re\u202ed"]},
        "x": None,
    }

    assert places_of("ORDER", value).rows == [("$.Order", "{…}")]
    assert places_of("4740", value).rows == [("$.Order.id", "90071992547409931")]
    assert places_of("re", value).rows == [
        ("$.Order.tags[0]", "red"),
        ("$.Order.tags[1]", "Re\\u202ed"),
    ]
    assert places_of("nul", value).rows == [("$.x", "null")]
    assert places_of("none", value).total == 0


def test_each_value_is_shown_as_in_json_with_its_path() -> None:
    value = {"": [1, True, {"a": 1.5e300, "b": [[], {}, -0.0]}], "x": "[", "y": {}}

    assert places_of("", value).rows == [
        ("$", "{…}"), ("$.", "[…]"), ("$.[0]", "1"), ("$.[1]", "true"),
        ("$.[2]", "{…}"), ("$.[2].a", "1.5e+300"), ("$.[2].b", "[…]"),
        ("$.[2].b[0]", "[]"), ("$.[2].b[1]", "{}"), ("$.[2].b[2]", "-0.0"),
        ("$.x", "["), ("$.y", "{}"),
    ]  # fmt: skip
    assert places_of("7", 17).rows == [("$", "17")]


def test_masked_values_have_no_text() -> None:
    places = places_of("redacted", {"token": REDACTED, "redacted": 1})

    assert places.rows == [("$.redacted", "1")]


def test_many_places_are_counted_and_long_ones_cut() -> None:
    places = places_of("x", ["x" * 9000] * 300)

    assert (places.total, len(places.rows)) == (300, MAX_PLACES)
    assert all(len(text) == MAX_TEXT for _, text in places.rows)


def test_the_depth_does_not_matter() -> None:
    deep: object = "needle"
    for _ in range(5000):
        deep = [deep]

    assert places_of("needle", deep).total == 1
