"""The JSON gate, rule by rule, from bytes and from Python."""

from __future__ import annotations

import enum
import json
import math
import struct
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model import payloads
from flask_forge_jobs.model.bounds import with_article

MIB = 1_048_576


def nested(levels: int) -> list[Any]:
    """Return lists within lists, so many levels of them."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def stored_or_refused(value: object) -> tuple[str | None, str]:
    """Return the canonical text, or None and why there is none."""
    try:
        return payloads.dump(value), ""
    except InvalidInputError as error:
        return None, str(error)


@pytest.fixture
def unlimited_digits() -> Iterator[None]:
    """An application may lift Python's own limit; ours has to hold without it."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


# -- 3.0 from bytes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        # NUL
        (rb'{"a": "x\u0000y"}', "json.a: contains a NUL character"),
        (rb'{"x\u0000y": 1}', "json: a key contains a NUL character"),
        (b'{"a": "x\x00y"}', "Invalid control character"),
        # lone surrogate
        (rb'["\ud800"]', "json[0]: contains half of a surrogate pair"),
        (rb'["\udc00\ud800"]', "json[0]: contains half of a surrogate pair"),
        (rb'{"\udfff": 1}', "json: a key contains half of a surrogate pair"),
        (b'["\xed\xa0\x80"]', "is not UTF-8"),
        # NaN, Infinity
        (b"NaN", "NaN is not a JSON number"),
        (b'{"a": [Infinity]}', "Infinity is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        # numbers that become infinite
        (b"1e999", "1e999 is too large"),
        (b'{"a": -1E400}', "-1E400 is too large"),
        # duplicate keys
        (b'{"a": 1, "a": 1}', "an object repeats a key"),
        (b'[{"b": {"a": 1, "a": 2}}]', "an object repeats a key"),
        (rb'{"a": 1, "\u0061": 2}', "an object repeats a key"),
        # long integers
        (b"1" * 4301, "more than 4300 digits"),
        (b"[-" + b"9" * 5000 + b"]", "more than 4300 digits"),
        # depth
        (b"[" * 65 + b"]" * 65, "is nested deeper than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "is nested deeper than 64"),
        (b"[" * 1500 + b"]" * 1500, "is nested deeper than 64"),
        (b"[" * 100_000, "is nested deeper than 64"),
        (b'["]]]",' * 65, "is nested deeper than 64"),
        # other encodings
        (b"\xef\xbb\xbf{}", "starts with a byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "is not JSON"),
        ('{"a": 1}'.encode("utf-32-be"), "is not JSON"),
        (b'"\xc0\xaf"', "is not UTF-8"),
        (b'"\xe2\x82"', "is not UTF-8"),
        # not one document (H1)
        (b"", "is not JSON"),
        (b" ", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[1,]", "is not JSON"),
        (b'{"a": 1,}', "is not JSON"),
        (b"{} {}", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b"[1] // one", "is not JSON"),
        (b"01", "is not JSON"),
        (b"+1", "is not JSON"),
        (b".5", "is not JSON"),
        (b"True", "is not JSON"),
        (b'"a\tb"', "is not JSON"),
        (b"\x00", "is not JSON"),
        (b"\xef\xbc\x91", "is not JSON"),  # a full-width digit
    ],
)
def test_load_refuses(data: bytes, why: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        payloads.load(data)

    assert why in str(caught.value)
    assert caught.value.field.startswith("json")


@pytest.mark.parametrize(
    ("container", "count"),
    [(b"{}", 99), (b"[]", 99), (b'{"[":"{{{"}', 99), (b"[[1,2]]", 49)],
)
def test_load_counts_objects_and_arrays(container: bytes, count: int) -> None:
    def load(number: int) -> object:
        data = b"[" + b",".join([container] * number) + b"]"
        return payloads.load(data, max_containers=100)

    assert load(count) == [json.loads(container)] * count
    with pytest.raises(InvalidInputError, match="has over 100 objects and arrays"):
        load(count + 1)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"null", None),
        (b" [true, false] ", [True, False]),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        ('"\U0001f600é"'.encode(), "\U0001f600é"),
        (rb'"\\u0000"', r"\u0000"),
        (rb'"\\ud800"', r"\ud800"),
        (b'"' + b"[{" * 100 + b'"', "[{" * 100),
        (rb'"\"' + b"[" * 100 + b'"', '"' + "[" * 100),
        (b"[" * 64 + b"]" * 64, nested(64)),
        (b"[[]," * 50 + b"[]" + b"]" * 50, json.loads("[[]," * 50 + "[]" + "]" * 50)),
        (b"[" + b"[]," * 500 + b"[]]", [[]] * 501),
        (b"1" * 4300, int("1" * 4300)),
        (b"-" + b"1" * 4300, -int("1" * 4300)),
        (str(2**63).encode(), 2**63),
        (b"1e308", 1e308),
        (b"1e-999", 0.0),
        (b'{"b": 1, "a": 2}', {"b": 1, "a": 2}),
        (b'{"a": {"a": 1}}', {"a": {"a": 1}}),
    ],
)
def test_load_accepts(data: bytes, value: object) -> None:
    loaded = payloads.load(data)

    assert loaded == value
    assert type(loaded) is type(value)


def test_load_names_the_callers_field() -> None:
    with pytest.raises(InvalidInputError) as caught:
        payloads.load(rb'{"at": {"big key": ["\u0000"]}}', "body")

    assert caught.value.field == 'body.at["big key"][0]'


def test_load_keeps_our_limit_when_the_application_lifts_pythons(
    unlimited_digits: None,
) -> None:
    del unlimited_digits

    with pytest.raises(InvalidInputError, match="more than 4300 digits"):
        payloads.load(b"1" * 4301)


def test_load_survives_an_application_that_lowers_the_limit() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(700)
    try:
        with pytest.raises(InvalidInputError, match="more than 700 digits"):
            payloads.load(b"1" * 1000)
    finally:
        sys.set_int_max_str_digits(before)


def test_load_looks_for_depth_in_linear_time() -> None:
    """A quadratic scan of this body would take minutes; the suite would notice."""
    hostile = b'"' + b'\\"' * 500_000 + b"[" * 100

    with pytest.raises(InvalidInputError, match="is not JSON"):
        payloads.load(hostile)


# -- 3.0 and Q1, Q2 from Python --------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    HELLO = "hello"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Items(list[Any]):
    pass


class Mapping(dict[str, Any]):
    pass


Point = namedtuple("Point", "x y")  # noqa: PYI024  # the plain kind is meant


@dataclass
class Record:
    a: int = 1


class Hostile:
    """Whatever asks it for anything is punished."""

    def __repr__(self) -> str:
        raise SystemExit("repr was called")

    def __str__(self) -> str:
        raise SystemExit("str was called")

    def __json__(self) -> str:
        raise SystemExit("__json__ was called")

    def __eq__(self, other: object) -> bool:
        raise SystemExit("eq was called")

    def __hash__(self) -> int:
        return 1


UNSERIALISABLE: list[tuple[object, str]] = [
    ({1, 2}, "a set is not JSON"),
    (b"bytes", "a bytes is not JSON"),
    (bytearray(b"bytes"), "a bytearray is not JSON"),
    (datetime(2030, 1, 1, tzinfo=UTC), "a datetime is not JSON"),
    (Decimal("1.5"), "a Decimal is not JSON"),
    (1j, "a complex is not JSON"),
    (Record(), "a Record is not JSON"),
    ((n for n in range(3)), "is not JSON"),
    (range(3), "a range is not JSON"),
    (object, "a type is not JSON"),
    (Hostile(), "a Hostile is not JSON"),
    (Text("text"), "a Text is not JSON"),
    (Number(1), "a Number is not JSON"),
    (Items(), "an Items is not JSON"),
    (Mapping(), "a Mapping is not JSON"),
    (Colour.RED, "a Colour is not JSON"),
    (Level.LOW, "a Level is not JSON"),
    (Word.HELLO, "a Word is not JSON"),
    (Point(1, 2), "a Point is not JSON"),
]


@pytest.mark.parametrize(("value", "why"), UNSERIALISABLE)
def test_dump_refuses_what_json_does_not_have(value: object, why: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        payloads.dump({"items": [0, {"at": value}]})

    assert caught.value.field == "payload.items[1].at"
    assert why in caught.value.message


@pytest.mark.parametrize("value", [row[0] for row in UNSERIALISABLE])
def test_dump_refuses_it_at_the_top_too(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        payloads.dump(value)

    assert caught.value.field == "payload"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (1, "int"),
        (None, "NoneType"),
        (True, "bool"),
        (1.5, "float"),
        ((1, 2), "tuple"),
        (Text("text"), "Text"),
        (Word.HELLO, "Word"),
        (Hostile(), "Hostile"),
    ],
)
def test_dump_refuses_a_key_that_json_would_rename(key: object, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        payloads.dump([{"a": {key: 1}}])

    assert caught.value.field == "payload[0].a"
    assert caught.value.message == f"a key is {with_article(name)}, not text"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x\x00y", "contains a NUL character"),
        ("\ud800", "contains half of a surrogate pair"),
        ("a\udfffb", "contains half of a surrogate pair"),
        (math.nan, "nan is not a JSON number"),
        (math.inf, "inf is not a JSON number"),
        (-math.inf, "-inf is not a JSON number"),
        # pytest cannot print a longer one in the name of the test.
        pytest.param(10**4300, "has more than 4300 digits", id="long"),
        pytest.param(-(10**4300), "has more than 4300 digits", id="long, negative"),
    ],
)
def test_dump_refuses_a_value_of_the_table(value: object, why: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        payloads.dump({"a": [[value]]})

    assert caught.value.field == "payload.a[0][0]"
    assert caught.value.message == why


@pytest.mark.parametrize("digits", [4301, 9000])
def test_dump_keeps_our_limit_when_the_application_lifts_pythons(
    unlimited_digits: None, digits: int
) -> None:
    del unlimited_digits

    for number in (10 ** (digits - 1), -(10 ** (digits - 1))):
        with pytest.raises(InvalidInputError, match="has more than 4300 digits"):
            payloads.dump([number])


def test_dump_survives_an_application_that_lowers_the_limit() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(700)
    try:
        with pytest.raises(InvalidInputError, match="number that cannot be stored"):
            payloads.dump([10**1000])
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("key", ["x\x00y", "\ud800"])
def test_dump_refuses_a_key_that_no_database_stores(key: str) -> None:
    with pytest.raises(InvalidInputError, match="a key contains") as caught:
        payloads.dump({"a": {key: 1}})

    assert caught.value.field == "payload.a"


def test_load_counts_the_levels_and_not_the_brackets() -> None:
    def beside(levels: int) -> bytes:
        return b"[[]," + b"[" * levels + b"]" * levels + b"]"

    assert payloads.load(beside(63))
    with pytest.raises(InvalidInputError, match="is nested deeper than 64"):
        payloads.load(beside(64))


def test_dump_counts_the_levels_of_nesting() -> None:
    assert payloads.dump(nested(64)) == "[" * 64 + "]" * 64

    with pytest.raises(InvalidInputError, match="is nested deeper than 64") as caught:
        payloads.dump(nested(65))
    assert caught.value.field == "payload" + "[0]" * 64


def test_dump_refuses_endless_depth_without_a_recursion_error() -> None:
    with pytest.raises(InvalidInputError, match="is nested deeper than 64"):
        payloads.dump(nested(100_000))


def test_dump_refuses_what_refers_to_itself() -> None:
    items: list[Any] = [1]
    items.append({"again": items})

    with pytest.raises(InvalidInputError, match="refers to itself") as caught:
        payloads.dump({"items": items})

    assert caught.value.field == "payload.items[1].again"


def test_dump_takes_a_value_that_stands_in_two_places() -> None:
    shared = {"a": 1}

    text = payloads.dump([shared, shared, {"b": shared}])

    assert text == '[{"a":1},{"a":1},{"b":{"a":1}}]'


def test_dump_refuses_a_few_lists_that_are_millions_of_values() -> None:
    value: list[Any] = [0] * 10
    for _ in range(20):
        value = [value, value]

    with pytest.raises(InvalidInputError, match="more than 524288 values"):
        payloads.dump(value)


def test_dump_limits_the_length_of_the_text() -> None:
    assert len(payloads.dump("x" * 98, max_bytes=100)) == 100

    with pytest.raises(InvalidInputError) as caught:
        payloads.dump("x" * 99, "result", 100)

    assert caught.value.field == "result"
    assert caught.value.message == "101 bytes of JSON exceed 100"


def test_dump_counts_what_is_stored_not_characters() -> None:
    """Each emoji is two escapes of six characters."""
    with pytest.raises(InvalidInputError, match="122 bytes of JSON exceed 121"):
        payloads.dump("\U0001f600" * 10, max_bytes=121)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("payload", math.nan),
        ("payload[2]", [0, 1, math.nan]),
        ("payload.items[3].at", {"items": [0, 1, 2, {"at": math.nan}]}),
        ('payload["two words"].a', {"two words": {"a": math.nan}}),
        ('payload["1st"]', {"1st": math.nan}),
        ('payload[""]', {"": math.nan}),
        ('payload["\\u00e9"]', {"é": math.nan}),
        ('payload["a\\"]"]', {'a"]': math.nan}),
        (f'payload["{"k" * 64}"]', {"k" * 1000: math.nan}),
        ("payload[1][0]", ((), (math.nan,))),
    ],
)
def test_errors_name_the_place(path: str, value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        payloads.dump(value)

    assert caught.value.field == path
    assert str(caught.value) == f"{path}: nan is not a JSON number"


def test_the_path_to_values_far_below_is_not_copied_for_each_of_them() -> None:
    data = ('{"%s":' % ("\u00e9" * 64)) * 60 + f'["\\u00e9"{",1" * 400_000}]' + "}" * 60

    began = process_time()
    payloads.load(data.encode())

    assert process_time() - began < 0.7  # it took 1.2


# -- the canonical text ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [True, None]}, '{"b":1,"a":[true,null]}'),
        ((1, (2,)), "[1,[2]]"),
        (-0.0, "-0.0"),
        (100.0, "100.0"),
        (1e22, "1e+22"),
        (2**63, "9223372036854775808"),
        (True, "true"),
        ("é\U0001f600", '"\\u00e9\\ud83d\\ude00"'),
        ("</script>", '"</script>"'),
        (r"\u0000 and \ud800", '"\\\\u0000 and \\\\ud800"'),
        ("\x7f\u2028", '"\\u007f\\u2028"'),
    ],
)
def test_dump_writes_the_canonical_text(value: object, text: str) -> None:
    assert payloads.dump(value) == text


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        (b'{ "b" : 1e2,\n"a":-0.0 }', '{"b":100.0,"a":-0.0}'),
        ('["é"]'.encode(), '["\\u00e9"]'),
        (b"-0", "0"),
        (b"1.0", "1.0"),
    ],
)
def test_both_edges_store_the_same_text(body: bytes, stored: str) -> None:
    assert payloads.dump(payloads.load(body)) == stored


def test_dump_keeps_the_value_of_the_moment() -> None:
    """Q3: what the caller does to an argument afterwards does not reach the job."""
    arguments: dict[str, Any] = {"ids": [1, 2]}
    text = payloads.dump(arguments)

    arguments["ids"].append(3)
    arguments["more"] = True

    assert text == '{"ids":[1,2]}'


def test_dump_while_another_thread_changes_the_value() -> None:
    """Q3: either a text that was true at some moment, or an error of ours."""
    shared: dict[str, Any] = {str(n): n for n in range(2000)}
    has_finished = threading.Event()

    def churn() -> None:
        n = 0
        while not has_finished.is_set():
            shared[f"x{n % 50}"] = n
            shared.pop(f"x{(n + 25) % 50}", None)
            n += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(100):
            text, refusal = stored_or_refused(shared)
            if text is None:
                assert refusal == "payload: was changed by another thread"
            else:
                assert json.loads(text)["1999"] == 1999
    finally:
        has_finished.set()
        thread.join()


# -- stored text -----------------------------------------------------------------------


def test_load_text_reads_what_dump_wrote() -> None:
    value = {"a": [1, 2.5, None, "\U0001f600"], "b": {}}

    assert payloads.load_text(payloads.dump(value)) == value


@pytest.mark.parametrize(
    "text", ["", "{", "[1", "NaN", "\x00", "nul", "{}x", "[" * 100_000, "1" * 5000]
)
def test_load_text_reports_damage(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        payloads.load_text(text)

    assert caught.value.field == "payload"


# -- properties ------------------------------------------------------------------------

STORABLE_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | STORABLE_TEXT,
    lambda below: (
        st.lists(below, max_size=5) | st.dictionaries(STORABLE_TEXT, below, max_size=5)
    ),
    max_leaves=30,
)


def same(one: object, other: object) -> bool:
    """Compare strictly: types, signs of zero and the order of keys count."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    return one == other


@settings(max_examples=100, deadline=None)
@given(value=JSON_VALUES)
def test_every_value_comes_back_as_it_was(value: object) -> None:
    text = payloads.dump(value)

    assert text.isascii()
    assert same(payloads.load_text(text), value)
    assert same(payloads.load(text.encode()), value)
    assert payloads.dump(payloads.load(text.encode())) == text


def shuffled(value: object) -> object:
    """Return an equal value whose objects have their keys the other way round."""
    if isinstance(value, list):
        return [shuffled(item) for item in value]
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return value


@settings(max_examples=100, deadline=None)
@given(value=JSON_VALUES)
def test_the_order_of_keys_does_not_change_a_fingerprint(value: object) -> None:
    turned = payloads.dump(shuffled(value))

    assert payloads.fingerprint(turned) == payloads.fingerprint(payloads.dump(value))
    assert len(payloads.fingerprint(turned)) == 64


FEW_VALUES = st.recursive(
    st.sampled_from([None, True, 1, 1.0, 0, 0.0, "1", "", "é"]),
    lambda below: (
        st.lists(below, max_size=2)
        | st.dictionaries(st.sampled_from("ab"), below, max_size=2)
    ),
    max_leaves=3,
)


@settings(max_examples=200, deadline=None)
@given(one=FEW_VALUES, other=FEW_VALUES)
def test_fingerprints_are_equal_exactly_for_equal_values(
    one: object, other: object
) -> None:
    are_equal = same(one, other) or same(one, shuffled(other))
    prints = [payloads.fingerprint(payloads.dump(each)) for each in (one, other)]

    assert (prints[0] == prints[1]) is are_equal


ANY_VALUES = st.recursive(
    JSON_VALUES
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=3)
    | st.builds(object)
    | st.builds(pow, st.just(10), st.just(5000)),
    lambda below: (
        st.lists(below, max_size=4)
        | st.tuples(below, below)
        | st.dictionaries(st.text(max_size=4) | st.integers(), below, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=100, deadline=None)
@given(value=ANY_VALUES)
def test_any_value_is_stored_or_refused(value: object) -> None:
    text, refusal = stored_or_refused(value)

    if text is None:
        assert refusal.startswith("payload")
    else:
        assert payloads.dump(payloads.load(text.encode())) == text


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=200) | st.text(max_size=100).map(lambda t: repr(t).encode())
)
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    try:
        value = payloads.load(data)
    except InvalidInputError:
        return  # the only error there is

    assert same(payloads.load(payloads.dump(value).encode()), value)
