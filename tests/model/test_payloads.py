"""The JSON gate of ``spec/reliability.md`` 3.0, row by row."""

from __future__ import annotations

import enum
import json
import math
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.payloads import (
    MAX_DEPTH,
    MAX_INTEGER_DIGITS,
    MAX_VALUES,
    dump,
    load,
    load_text,
)

storable_text = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1))
storable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | storable_text,
    lambda inner: st.lists(inner) | st.dictionaries(storable_text, inner),
)
Point = namedtuple("Point", "x y")  # noqa: PYI024  # what a caller may well pass


class Colour(enum.Enum):
    RED = "red"


class TextColour(enum.StrEnum):
    RED = "red"


class LoudText(str):
    __slots__ = ()


class EvilRepr:
    def __repr__(self) -> str:
        raise ValueError("no repr for you")


def refusal_of_load(data: bytes) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        load(data)
    return caught.value


def refusal_of_dump(value: object) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        dump(value)
    return caught.value


def nested_lists(depth: int) -> list[Any]:
    outer: list[Any] = []
    for _ in range(depth - 1):
        outer = [outer]
    return outer


@pytest.fixture
def unlimited_integers() -> Iterator[None]:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


@pytest.fixture
def short_integers() -> Iterator[None]:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    yield
    sys.set_int_max_str_digits(before)


# -- both ways -------------------------------------------------------------------------


@given(storable)
def test_what_is_dumped_loads_as_the_same_value(value: object) -> None:
    text = dump(value)

    assert load(text.encode()) == value
    assert load_text(text) == value


@given(storable)
def test_text_is_canonical(value: object) -> None:
    text = dump(value)

    assert text.isascii()
    assert dump(load(text.encode())) == text
    assert text == json.dumps(value, separators=(",", ":"))


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_load_raises_nothing_but_its_own_error(data: bytes) -> None:
    try:
        value = load(data)
    except InvalidInputError:
        return

    assert load(dump(value).encode()) == value


@given(st.text(alphabet='[]{}",:\\u0d8 1eE.-ntf'))
def test_load_agrees_with_the_library_on_what_it_accepts(text: str) -> None:
    try:
        value = load(text.encode())
    except InvalidInputError:
        return

    assert value == json.loads(text)


@given(
    st.recursive(
        st.sampled_from([1, "a", None, math.nan, "\ud800", "a\x00", {1}, Colour.RED]),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["a", 1]), inner)
        ),
    )
)
def test_dump_raises_nothing_but_its_own_error(value: object) -> None:
    try:
        text = dump(value)
    except InvalidInputError:
        return

    assert load(text.encode()) == value


# -- from bytes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"   ",
        b"{",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b"{a:1}",
        b"// comment\n1",
        b"1 2",
        b"{} {}",
        b"[1]]",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x10",
        b"nan",
        b'"\x01"',
        b'"a\x00b"',
        b"\x00",
        b'"\\x41"',
        b'"\\ud8',
        b'"open',
        b'"\\',
    ],
)
def test_load_refuses_what_is_not_one_json_document(data: bytes) -> None:
    refusal = refusal_of_load(data)

    assert refusal.field == "json"
    assert refusal.message.startswith("is not JSON: ")


@pytest.mark.parametrize(
    "data",
    [
        b'"\xff"',
        b'"\xc3"',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_load_refuses_what_is_not_utf_8(data: bytes) -> None:
    assert refusal_of_load(data).message == "is not UTF-8"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_load_refuses_wide_encodings_without_a_mark(encoding: str) -> None:
    assert refusal_of_load('{"a":1}'.encode(encoding)).field == "json"


def test_load_refuses_a_byte_order_mark() -> None:
    refusal = refusal_of_load(b"\xef\xbb\xbf{}")

    assert refusal.message == "starts with a byte order mark"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_load_refuses_constants_that_are_no_json(text: str) -> None:
    refusal = refusal_of_load(f'{{"a":[{text}]}}'.encode())

    assert refusal.message == f"{text} is not a JSON number"


@pytest.mark.parametrize("text", ["1e999", "-1e999", "1.0e400", f"{'9' * 400}.0"])
def test_load_refuses_floats_beyond_the_finite(text: str) -> None:
    assert "is too large a number" in refusal_of_load(text.encode()).message


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":1}', '[{"b":{"a":1,"c":2,"a":3}}]', '{"a":1,"\\u0061":2}']
)
def test_load_refuses_duplicate_keys(text: str) -> None:
    assert refusal_of_load(text.encode()).message == "an object repeats a key"


def test_load_takes_integers_of_4300_digits_and_no_more() -> None:
    longest = b"9" * MAX_INTEGER_DIGITS

    assert load(b"-" + longest) == -int(longest)
    assert "4300 digits" in refusal_of_load(longest + b"9").message
    assert "4300 digits" in refusal_of_load(b"[-" + longest + b"9]").message


@pytest.mark.usefixtures("unlimited_integers")
def test_load_does_not_rely_on_the_limit_of_the_interpreter() -> None:
    assert "4300 digits" in refusal_of_load(b"9" * 5000).message


@pytest.mark.usefixtures("short_integers")
def test_load_survives_a_lower_limit_of_the_interpreter() -> None:
    assert "too many digits" in refusal_of_load(b"9" * 1000).message


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e2", 100.0), ("-0.0", -0.0), ("18446744073709551616", 2**64), ("1E-400", 0.0)],
)
def test_load_keeps_numbers(text: str, value: float) -> None:
    found = load(text.encode())

    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    ("text", "path", "fault"),
    [
        ('{"a":["x","\\u0000"]}', "json.a[1]", "NUL"),
        ('{"a":{"b":"x\\u0000y"}}', "json.a.b", "NUL"),
        ('{"\\u0000":1}', "json", "a key holds a NUL"),
        ('"\\ud800"', "json", "surrogate"),
        ('{"a b":"\\udc00\\ud800"}', 'json["a b"]', "surrogate"),
        ('{"\\udfff":1}', "json", "a key holds half"),
    ],
)
def test_load_refuses_nul_and_lone_surrogates(text: str, path: str, fault: str) -> None:
    refusal = refusal_of_load(text.encode())

    assert refusal.field == path
    assert fault in refusal.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"\\\\u0000"', "\\u0000"),
        ('"\\\\ud800"', "\\ud800"),
    ],
)
def test_load_takes_pairs_and_escaped_backslashes(text: str, value: str) -> None:
    assert load(text.encode()) == value


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_load_takes_64_levels_and_no_more(opened: str, closed: str) -> None:
    fits = f"{opened * MAX_DEPTH}1{closed * MAX_DEPTH}"
    deep = f"{opened * (MAX_DEPTH + 1)}1{closed * (MAX_DEPTH + 1)}"

    load(fits.encode())
    assert refusal_of_load(deep.encode()).message == "is nested deeper than 64"


@pytest.mark.parametrize("data", [b"[" * 990, b"[" * 200_000, b'{"a":' * 100_000])
def test_load_refuses_endless_depth_before_parsing(data: bytes) -> None:
    assert refusal_of_load(data).message == "is nested deeper than 64"


def test_brackets_in_text_are_no_depth() -> None:
    text = "[" * 100 + '\\"' + "{" * 100

    assert load(f'["{text}"]'.encode()) == [text.replace("\\", "")]


def test_many_brackets_side_by_side_are_no_depth() -> None:
    assert load(b"[" + b"[],{}," * 500 + b"[]]") == [[], {}] * 500 + [[]]


def test_an_open_string_is_scanned_once() -> None:
    """A quadratic scan would take minutes here."""
    data = b"[" * 70 + b"]" * 70 + b'"' + b'\\"' * 500_000

    assert refusal_of_load(data).message == "is nested deeper than 64"


def test_load_names_the_field_it_is_given() -> None:
    with pytest.raises(InvalidInputError) as caught:
        load(b'{"a":"\\u0000"}', "body")

    assert caught.value.field == "body.a"


def test_load_keeps_the_order_of_keys() -> None:
    assert list(load(b'{"b":1,"a":2}')) == ["b", "a"]  # type: ignore[call-overload]  # a dict


# -- from stored text ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "[" * 100_000, "9" * 5000, '{"a":1}x']
)
def test_load_text_refuses_a_damaged_row(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_text(text)

    assert caught.value.field == "payload"


# -- from Python -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"user_id": 7, "name": "Ann"}, '{"user_id":7,"name":"Ann"}'),
        ({"b": 1, "a": (1, 2)}, '{"b":1,"a":[1,2]}'),
        ({"": None, "ä": True}, '{"":null,"\\u00e4":true}'),
        ("\U0001f600", '"\\ud83d\\ude00"'),
        ("\\u0000", '"\\\\u0000"'),
        (-0.0, "-0.0"),
        (2**64, "18446744073709551616"),
        ([], "[]"),
        (None, "null"),
    ],
)
def test_dump_writes_canonical_text(value: object, text: str) -> None:
    assert dump(value) == text


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({1}, "set"),
        (b"x", "bytes"),
        (datetime(2026, 1, 1, tzinfo=UTC), "datetime"),
        (Decimal(1), "Decimal"),
        (Colour.RED, "Colour"),
        (TextColour.RED, "TextColour"),
        (LoudText("x"), "LoudText"),
        (enum.IntEnum("Level", "LOW").LOW, "Level"),  # type: ignore[attr-defined]  # made here
        (Point(1, 2), "Point"),
        (OrderedDict(a=1), "OrderedDict"),
        ((each for each in [1]), "generator"),
        (EvilRepr(), "EvilRepr"),
        (object, "type"),
    ],
)
def test_dump_refuses_other_types_and_names_the_path(value: object, name: str) -> None:
    refusal = refusal_of_dump({"items": [1, 2, {"at": value}]})

    assert refusal.field == "payload.items[2].at"
    assert refusal.message == f"a {name} is not JSON"
    assert refusal_of_dump(value).field == "payload"


@pytest.mark.parametrize("key", [1, None, True, (1, 2), 1.5, LoudText("a"), EvilRepr()])
def test_dump_refuses_keys_that_are_not_text(key: object) -> None:
    refusal = refusal_of_dump({"a": [{key: 1}]})

    assert refusal.field == "payload.a[0]"
    assert refusal.message.endswith("not text")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_dump_refuses_numbers_that_are_not_finite(number: float) -> None:
    refusal = refusal_of_dump({"a": [[number]]})

    assert refusal.field == "payload.a[0][0]"
    assert refusal.message.endswith("is not a JSON number")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a\x00", "payload"),
        ({"a": "\ud800"}, "payload.a"),
        ({"a": ["ok", "\udfff"]}, "payload.a[1]"),
        ({"a": {"\x00": 1}}, "payload.a"),
        ({"a\ud800": 1}, "payload"),
    ],
)
def test_dump_refuses_nul_and_lone_surrogates(value: object, path: str) -> None:
    assert refusal_of_dump(value).field == path


def test_dump_refuses_a_value_that_refers_to_itself() -> None:
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)

    refusal = refusal_of_dump(value)

    assert (refusal.field, refusal.message) == ("payload.a[0]", "refers to itself")


def test_dump_takes_a_value_that_is_used_twice() -> None:
    shared = ["x"]

    assert dump([shared, {"a": shared}]) == '[["x"],{"a":["x"]}]'


def test_dump_refuses_a_value_that_is_small_in_memory_and_endless_as_text() -> None:
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]

    assert f"more than {MAX_VALUES} values" in refusal_of_dump(value).message


def test_dump_takes_64_levels_and_no_more() -> None:
    dump(nested_lists(MAX_DEPTH))

    assert refusal_of_dump(nested_lists(MAX_DEPTH + 1)).message.endswith("than 64")
    assert refusal_of_dump(nested_lists(100_000)).message.endswith("than 64")


def test_dump_takes_integers_of_4300_digits_and_no_more() -> None:
    dump(10**MAX_INTEGER_DIGITS - 1)

    refusal = refusal_of_dump({"a": -(10**MAX_INTEGER_DIGITS)})

    assert (refusal.field, refusal.message) == (
        "payload.a",
        "has more than 4300 digits",
    )


@pytest.mark.usefixtures("unlimited_integers")
def test_dump_does_not_rely_on_the_limit_of_the_interpreter() -> None:
    assert refusal_of_dump([10**5000]).field == "payload[0]"


@pytest.mark.usefixtures("short_integers")
def test_dump_survives_a_lower_limit_of_the_interpreter() -> None:
    assert "cannot be stored" in refusal_of_dump([10**1000]).message


def test_dump_counts_the_bytes_of_the_text() -> None:
    assert dump("ä", max_bytes=8) == '"\\u00e4"'

    with pytest.raises(InvalidInputError) as caught:
        dump("ä", "result", max_bytes=7)

    assert str(caught.value) == "result: 8 bytes of JSON exceed 7"


def test_stored_text_is_the_value_at_the_call() -> None:
    items = [1]

    text = dump({"items": items})
    items.append(2)

    assert text == '{"items":[1]}'


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("plain_1", "payload.plain_1"),
        ("1st", 'payload["1st"]'),
        ("a.b", 'payload["a.b"]'),
        ("a\n", 'payload["a\\n"]'),
        ("x" * 1000, f'payload["{"x" * 64}"]'),
    ],
)
def test_path_quotes_keys_that_are_no_names(key: str, path: str) -> None:
    assert refusal_of_dump({key: {1}}).field == path
