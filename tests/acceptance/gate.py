"""The JSON gate, row by row (bad-input matrix 3.0): on the wire and in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Python has no value for what only the bytes of a document can hold.
ONLY_BYTES = object()


@dataclass(frozen=True, slots=True)
class Row:
    """One value at the gate.

    Args:
        name: Of the row.
        wire: The value as it is written in a JSON document.
        value: The same in Python, or :data:`ONLY_BYTES`.
        stored: The canonical text that both backends keep; None when it is refused.
    """

    name: str
    wire: bytes
    value: Any
    stored: str | None = None


def nested(depth: int) -> Row:
    """Return arrays within each other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    text = "[" * depth + "]" * depth
    return Row(f"depth-{depth}", text.encode(), value, text)


def _refused(name: str, wire: bytes, value: object = ONLY_BYTES) -> Row:
    return Row(name, wire, value)


def _with_digits(count: int) -> Row:
    text = "9" * count
    return Row(f"{count}-digits", text.encode(), 10**count - 1, text)


REFUSED = (
    _refused("nul-escape", rb'"a\u0000b"', "a\x00b"),
    _refused("nul-byte", b'"a\x00b"'),
    _refused("nul-in-a-key", rb'{"a\u0000b":1}', {"a\x00b": 1}),
    _refused("high-surrogate", rb'"\ud800"', "\ud800"),
    _refused("low-surrogate", rb'"\udc00"', "\udc00"),
    _refused("surrogates-swapped", rb'"\ude00\ud83d"', "\ude00\ud83d"),
    _refused("surrogate-in-a-key", rb'{"\ud800":1}', {"\ud800": 1}),
    _refused("surrogate-as-bytes", b'"\xed\xa0\x80"'),
    _refused("nan", b"NaN", float("nan")),
    _refused("infinity", b"Infinity", float("inf")),
    _refused("minus-infinity", b"[-Infinity]", [float("-inf")]),
    _refused("1e999", b"1e999", float("inf")),
    _refused("minus-1e999", b'{"a":[-1e999]}', {"a": [float("-inf")]}),
    _refused("repeated-key", b'{"a":1,"a":2}'),
    _refused("repeated-key-below", b'[{"a":{"b":1,"b":1}}]'),
    _refused("5000-digits", b"9" * 5000, 10**5000 - 1),
    _refused("4301-digits", b"-" + b"9" * 4301, -(10**4301) + 1),
    _refused("depth-65", nested(65).wire, nested(65).value),
    _refused("depth-990", b"[" * 990 + b"]" * 990, nested(990).value),
    _refused("depth-1500", b"[" * 1500 + b"]" * 1500),
    _refused("depth-100000", b"[" * 100_000 + b"]" * 100_000),
    _refused("mixed-depth-65", b'{"a":[' * 33 + b"1" + b"]}" * 33),
    _refused("unclosed-depth", b"[" * 200_000),
)

KEPT = (
    Row("minus-zero", b"-0.0", -0.0, "-0.0"),
    Row("float-exponent", b"1e2", 100.0, "100.0"),
    Row("float", b"0.1", 0.1, "0.1"),
    Row("smallest-float", b"5e-324", 5e-324, "5e-324"),
    Row("key-order", b'{"b":1,"a":{"d":2,"c":3}}', {"b": 1, "a": {"d": 2, "c": 3}},
        '{"b":1,"a":{"d":2,"c":3}}'),
    Row("2**63", b"9223372036854775808", 2**63, "9223372036854775808"),
    Row("2**64", b"18446744073709551616", 2**64, "18446744073709551616"),
    _with_digits(4300),
    nested(64),
    Row("not-ascii", '"\u00e9\u2028\U0001f600"'.encode(), "\u00e9\u2028\U0001f600",
        '"\\u00e9\\u2028\\ud83d\\ude00"'),
    Row("escaped-pair", rb'"\ud83d\ude00"', "\U0001f600", '"\\ud83d\\ude00"'),
    Row("delete", b'"\x7f"', "\x7f", r'"\u007f"'),
    Row("null", b"null", None, "null"),
    Row("true", b"true", True, "true"),
    Row("empty-key", b'{"":[]}', {"": []}, '{"":[]}'),
    Row("escaped-brackets", b'"' + b"[" * 500 + b'"', "[" * 500, '"' + "[" * 500 + '"'),
)  # fmt: skip
