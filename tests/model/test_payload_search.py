from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_forge_jobs.model.payloads import dump, finds, payload_expression

# What looks like a part of an escape, with letters of several alphabets.
PIECES = st.sampled_from([*'\\u09eEfUk"nb\n\x1f\x7f', "é", "É", "ж", "Ж", "😀", "中"])
TEXTS = st.lists(PIECES, max_size=9).map("".join)


def shown(payload: object) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


@given(TEXTS, TEXTS.filter(bool))
@example("\\u00e9", "é")
@example("é", "\\u00e9")
@example("é", "9")
@example("\\é", "\\É")
@example("\n", "n")
@example("\x1f", "001f")
def test_a_text_is_found_where_it_is_shown(content: str, text: str) -> None:
    payload = {"é": content}

    found = finds(dump(payload), payload_expression(text))

    assert found == (text.lower() in shown(payload).lower())


@given(st.integers(0, 8), st.integers(1, 9))
def test_every_part_of_what_is_shown_is_found(start: int, length: int) -> None:
    payload = ['\\\\u00e9é\\é\né\x1fÉ"é😀', "é" * start]
    whole = shown(payload)

    for first in range(len(whole) - length):
        part = whole[first : first + length].swapcase()
        assert finds(dump(payload), payload_expression(part)), part


@pytest.mark.parametrize(
    ("one", "other"), [("ΟΔΟΣ", "οδος"), ("οδος", "ΟΔΟΣ"), ("ß", "ẞ"), ("𐐀", "𐐨")]
)
def test_letters_with_unusual_cases_are_found(one: str, other: str) -> None:
    assert finds(dump(one), payload_expression(other))


def test_a_letter_of_ascii_stands_for_itself_only() -> None:
    """U+212A is a k in lower case, U+0131 an I in upper case."""
    assert not finds(dump("\u212a \u0131"), payload_expression("k"))
    assert not finds(dump("k i \u00e9"), payload_expression("\u212a"))
    assert not finds(dump("k i \u00e9"), payload_expression("\u0131"))
