"""Strict fields; most of them are tested over HTTP in ``tests/api/test_request.py``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from flask_forge_jobs.api.schemas import fields
from flask_forge_jobs.api.schemas.bounds import items
from flask_forge_jobs.api.schemas.fields import (
    AnyJson,
    Array,
    Digits,
    Flag,
    Fraction,
    Instant,
    Switch,
    Text,
    V1Schema,
    WholeNumber,
    parse_instant,
)
from flask_forge_jobs.config import checks
from flask_forge_jobs.model.instants import format_instant
from tests.support.costs import lines_run

NINE = datetime(2026, 9, 16, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-09-16T09:00:00Z",
        "2026-09-16t09:00:00z",
        "2026-09-16 09:00:00Z",
        "2026-09-16 09:00:00 UTC",
        "2026-09-16T09:00:00+00:00",
        "2026-09-16T09:00:00-00:00",
        "2026-09-16T11:00:00+02:00",
        "2026-09-16T11:00:00+0200",
        "2026-09-15T23:30:00-09:30",
        "2026-09-16T09:00:00.000000000Z",
        "2026-09-16T09:00:00.0Z",
        "2026 - 09 - 16 T 09 : 00 : 00 Z",
        "+2026-09-16T09:00:00Z",
    ],
)
def test_parse_instant_takes_relaxed_rfc_3339(text: str) -> None:
    assert parse_instant(text) == NINE


def test_parse_instant_cuts_to_microseconds() -> None:
    parsed = parse_instant("2026-09-16T09:00:00.120045999Z")

    assert parsed == NINE.replace(microsecond=120_045)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-09-16",
        "2026-09-16T09:00:00",
        "2026-09-16T09:00Z",
        "2026-09-16T09:00:00 00:00",
        "2026-09-16T24:00:00Z",
        "2026-09-16T09:60:00Z",
        "2026-09-16T09:00:60Z",
        "2026-02-30T09:00:00Z",
        "2026-09-16T09:00:00+25:00",
        "2026-09-16T09:00:00+00:60",
        "2026-09-16T09:00:00.Z",
        "2026-W38-3T09:00:00Z",
        "20260916T090000Z",
        "1789549200",
        "infinity",
        "\uff12\uff10\uff12\uff16-09-16T09:00:00Z",
        "2026-09-16T09:00:00Z\n",
        "2026-09-16T09:00:00" + "." + "0" * 200 + "Z",
    ],
)
def test_instant_refuses_other_forms(text: str) -> None:
    with pytest.raises(ValidationError, match="RFC 3339"):
        Instant().deserialize(text)


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59.999999Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-01:00",
        "10000-01-01T00:00:00Z",
        "+262142-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
    ],
)
def test_instant_refuses_years_that_cannot_be_stored(text: str) -> None:
    with pytest.raises(ValidationError, match="1970 to 9999"):
        Instant().deserialize(text)


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # hypothesis wants it naive
def test_instant_round_trips(instant: datetime) -> None:
    assert Instant().deserialize(format_instant(instant)) == instant


@given(st.text())
def test_instant_refuses_any_text_with_a_validation_error(text: str) -> None:
    try:
        Instant().deserialize(text)
    except ValidationError as error:
        assert error.messages  # noqa: PT017  # either outcome is fine, another is not


@pytest.mark.parametrize(
    "value", [True, False, 1.0, "1", None, [], 2**31, -(2**31) - 1]
)
def test_whole_number_is_strict(value: object) -> None:
    with pytest.raises(ValidationError):
        WholeNumber().deserialize(value)


@pytest.mark.parametrize("value", [-1, 2**32])
def test_unsigned_whole_number_has_its_own_width(value: int) -> None:
    field = WholeNumber(is_signed=False)

    assert field.deserialize(2**32 - 1) == 2**32 - 1
    with pytest.raises(ValidationError, match="0 to 4294967295"):
        field.deserialize(value)


def test_a_number_that_is_far_too_large_is_refused_with_its_own_bounds() -> None:
    field = WholeNumber(metadata={"minimum": 1, "maximum": 1000})
    with pytest.raises(ValidationError, match="is not within 1 to 1000"):
        field.deserialize(2**31)


@pytest.mark.parametrize("value", [0, 1, "true", "yes", 1.0, None])
def test_flag_is_strict(value: object) -> None:
    with pytest.raises(ValidationError):
        Flag().deserialize(value)


@pytest.mark.parametrize("value", [0, True, b"x", None, ["x"]])
def test_text_is_strict(value: object) -> None:
    with pytest.raises(ValidationError):
        Text().deserialize(value)


def test_any_json_leaves_with_sorted_keys() -> None:
    written = AnyJson().write({"b": [{"d": 1, "c": 2}], "a": None})

    assert str(written) == "{'a': None, 'b': [{'c': 2, 'd': 1}]}"


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("007", 7), ("999999999", 10**9 - 1)]
)
def test_digits_reads_a_number_of_a_query(text: str, number: int) -> None:
    assert Digits().deserialize(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\uff11\uff12",
        "1_000",
        "+5",
        " 5",
        "5\n",
        "0x10",
        "1e3",
        "-1",
        "\u0663",
        "1.0",
        "1000000000",
        5,
    ],
)
def test_digits_refuses_everything_else(text: object) -> None:
    with pytest.raises(ValidationError, match="whole number"):
        Digits().deserialize(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("true", True), ("0", False), ("false", False)]
)
def test_switch_takes_two_words_each(text: str, value: bool) -> None:
    assert Switch().deserialize(text) is value


@pytest.mark.parametrize("text", ["", "yes", "TRUE", " 1", "2", 1, True])
def test_switch_takes_nothing_else(text: object) -> None:
    with pytest.raises(ValidationError):
        Switch().deserialize(text)


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), (0.5, 0.5), (-3, -3.0)])
def test_fraction_takes_numbers(value: object, number: float) -> None:
    loaded = Fraction().deserialize(value)

    assert loaded == number
    assert isinstance(loaded, float)


@pytest.mark.parametrize("value", ["1", True, None, [], 10**400])
def test_fraction_takes_nothing_else(value: object) -> None:
    with pytest.raises(ValidationError):
        Fraction().deserialize(value)


class _Counting(Text):
    """Counts the items that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def read(self, value: object) -> str:
        self.count += 1
        return super().read(value)


@pytest.mark.parametrize(
    ("value", "expected", "read"),
    [
        (["a", "b"], None, 2),
        (["a"], None, 1),
        ([], ["has 0 entries, not 1 to 2"], 0),
        (["a", "b", "c"], ["has 3 entries, not 1 to 2"], 0),
        ([7] * 100_000, ["has 100000 entries, not 1 to 2"], 0),
        ([7, 8], {0: ["must be text"]}, 1),
        (["a", None], {1: ["must not be null"]}, 1),
        ("ab", ["must be an array"], 0),
        ({"a": "b"}, ["must be an array"], 0),
        (None, ["must not be null"], 0),
    ],
)
def test_array_checks_its_length_first_and_stops_at_the_first_error(
    value: object, expected: object, read: int
) -> None:
    item = _Counting()
    array = Array(item, metadata=items(2, 1))

    if expected is None:
        assert array.deserialize(value) == value
    else:
        with pytest.raises(ValidationError) as raised:
            array.deserialize(value)
        assert raised.value.messages == expected
    assert item.count == read


class _Asks(V1Schema):
    queue = Text()


@pytest.mark.parametrize("name", ["nobody", "q" * 2_000_000])
def test_many_or_long_unknown_keys_cost_little(name: str) -> None:
    document = dict.fromkeys([name, *map(str, range(5_000))])

    def load() -> None:
        with pytest.raises(ValidationError, match="not a known key"):
            _Asks().load(document)

    # A line or two for each key; marshmallow keeps an error for each, in 17.
    assert lines_run(load) < 3 * len(document) + 1_000


def test_of_unknown_keys_the_first_of_the_document_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A megabyte of keys costs no more hints than one."""
    asked: list[str] = []

    def near_match(name: str, known: Iterable[str]) -> str:
        asked.append(name)
        return checks.near_match(name, known)

    monkeypatch.setattr(fields, "near_match", near_match)
    names = [f"queu{number}" for number in range(100)]

    for document in (names, names[::-1]):
        with pytest.raises(ValidationError) as raised:
            _Asks().load({"queue": 7, **dict.fromkeys(document)})
        assert raised.value.messages == {
            "queue": ["must be text"],
            document[0]: ["is not a known key; did you mean 'queue'"],
        }
    assert asked == [names[0], names[-1]]


def test_names_of_schemas_end_in_schema() -> None:
    """As in marshmallow's own guide, so that a schema and its record differ in name."""
    pending: list[type[Schema]] = [fields.WireSchema]
    while pending:
        schema = pending.pop()
        if schema.__module__.startswith("flask_forge_jobs."):
            assert schema.__name__.endswith("Schema")
        pending += schema.__subclasses__()
