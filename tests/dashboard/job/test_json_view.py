"""JSON values as lines that fold."""

from __future__ import annotations

import json

import pytest

from flask_forge_jobs.dashboard.job import json_view as module
from flask_forge_jobs.dashboard.job.json_view import Form, JsonView, json_view
from flask_forge_jobs.model.masking import REDACTED
from flask_forge_jobs.model.payloads import MAX_DEPTH


def text_of(view: JsonView) -> str:
    """Return the text of a view with everything unfolded."""
    lines = []
    for line in view.lines:
        key = "" if line.key is None else f"{line.key}: "
        lines.append(f"{'  ' * line.depth}{key}{line.text}{line.comma}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [1, 2, {"c": None}], "d": {}, "e": [], "f": "x"},
        [], {}, "text", 5, None, True, [[[[]]]], {"": ""},
        {"id": 90071992547409931, "amount": 129.9, "tiny": 1e-300, "neg": -0.0},
    ],
)  # fmt: skip
def test_a_value_is_shown_as_json(value: object) -> None:
    assert text_of(json_view(value)) == json.dumps(value, indent=2)


def test_numbers_are_printed_as_they_are_stored() -> None:
    stored = '{"a": 90071992547409931, "b": 0.1, "c": 1e+22, "d": -0.0}'

    numbers = [
        line.text
        for line in json_view(json.loads(stored)).lines
        if line.form is Form.NUMBER
    ]

    assert numbers == ["90071992547409931", "0.1", "1e+22", "-0.0"]


def test_the_first_level_is_open_if_it_is_short() -> None:
    value = {"few": {"a": {"deep": 1}}, "many": list(range(9))}

    opening = {
        line.key: (line.is_open, line.closed)
        for line in json_view(value).lines
        if line.form is Form.OPENS
    }

    assert opening == {
        None: (True, "{ 2 keys }"),
        '"few"': (True, "{ 1 key },"),
        '"a"': (False, "{ 1 key }"),
        '"many"': (False, "[ 9 items ]"),
    }


def test_masked_values_are_marked_and_counted() -> None:
    view = json_view({"token": REDACTED, "list": [REDACTED, "free"]})

    assert view.masked == 2
    assert [line.text for line in view.lines if line.form is Form.MASKED] == [
        "masked", "masked",
    ]  # fmt: skip


def test_of_many_values_some_are_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_VALUES", 5)

    view = json_view({"a": [1, 2, 3, 4, 5, 6], "b": 1, "c": 2})

    assert [line.text for line in view.lines] == [
        "{", "[", "1", "2", "3", "3 more", "]", "2 more", "}",
    ]  # fmt: skip


def test_a_text_over_64_kib_is_a_head() -> None:
    view = json_view(["ä" * 40_000])

    assert (list(view.lines), view.size) == ([], 80_004)
    assert view.head == '["' + "ä" * (module.HEAD - 2)


def test_a_long_string_is_cut_and_says_so() -> None:
    (line,) = json_view("x" * 5000).lines

    assert line.text == f'"{"x" * 4000}" … 1,000 more characters'


def test_invisible_characters_are_escaped() -> None:
    (line,) = json_view("a\u202eb\x00c\u200bd\ud800<b>&\"'").lines

    assert line.text == '"a\\u202eb\\u0000c\\u200bd\\ud800<b>&\\"\'"'


def test_the_deepest_and_widest_values_are_bounded() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]

    assert len(json_view(deep).lines) == 2 * MAX_DEPTH + 1
    assert len(json_view([[1]] * 13_000).lines) <= 2 * module.MAX_VALUES
