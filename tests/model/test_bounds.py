from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import (
    check_integer,
    check_kind,
    check_queue_name,
    check_text,
    shown,
)


class Evil:
    def __repr__(self) -> str:
        raise ValueError("no repr for you")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", "'a\\nb'"),
        ("x" * 1000, repr("x" * 80)),
        (7, "7"),
        (None, "None"),
        (10**5000, "a number of over 77 digits"),
        (Evil(), "an Evil"),
        (["secret"], "a list"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_shown_is_short_and_runs_no_code_of_the_value(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("value", [1, 5, 10])
def test_check_integer_returns_what_is_within(value: int) -> None:
    assert check_integer("n", value, 1, 10) == value


@pytest.mark.parametrize("value", [0, 11, -(2**70), True, 1.0, "5", None, [1]])
def test_check_integer_refuses_the_rest_and_names_the_field(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_integer("n", value, 1, 10)

    assert caught.value.field == "n"


@pytest.mark.parametrize("value", ["", "x" * 6, None, 3, b"x", "a\x00", "\ud800"])
def test_check_text_refuses(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_text("key", value, 5)

    assert caught.value.field == "key"


def test_check_text_counts_characters() -> None:
    assert check_text("key", "äöü€😀", 5) == "äöü€😀"


@pytest.mark.parametrize(
    "name", ["default", "a b", "gh-1.x:y", "Ärger", "日本", "😀", ".a.", "x" * 128]
)
def test_check_queue_name_returns_what_can_name_a_queue(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " mail",
        "mail ",
        "a,b",
        "a/b",
        "a?b",
        "a#b",
        "a%b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "x" * 129,
        None,
        7,
        # A part of a path that no client sends as it is.
        ".",
        "..",
        "a..b",
        # Two names that look the same, or one that looks like another.
        "pay\u200bments",
        "pay\u00adments",
        "\ufeffpayments",
        "\u202ednim",
        "a\u2067b",
        "a\u200fb",
        "a\ufe0fb",
        "a\u3164b",
        "a\U000e0041b",
        "A\u0308rger",
    ],
)
def test_check_queue_name_refuses(name: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_queue_name(name)

    assert caught.value.field == "queue_name"


@pytest.mark.parametrize("kind", ["send_receipt", "a/b, c", "x" * 128])
def test_check_kind_returns_what_can_name_a_kind(kind: str) -> None:
    assert check_kind(kind) == kind


@pytest.mark.parametrize(
    "kind",
    [
        "", "  ", "a\tb", "x" * 129, None, 1, "\ud800", "a\u200bb", "\u202eb",
        "A\u0308rger",
    ],
)  # fmt: skip
def test_check_kind_refuses(kind: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_kind(kind)

    assert caught.value.field == "kind"
