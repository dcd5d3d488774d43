from __future__ import annotations

import pytest

from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.model.instants import MAX_INSTANT_US
from flask_forge_jobs.model.masking import KNOWN
from flask_forge_jobs.model.run_logs import (
    CUT,
    LOOKED_AT,
    MAX_LINE_BYTES,
    LogChunk,
    LogLine,
    StoredLine,
    fit_text,
    fit_trace,
    instant_of,
    read_chunk,
    size_of,
)


def fit(text: str) -> str:
    return fit_text(text, KNOWN.text)


def test_a_chunk_is_read_as_it_was_written() -> None:
    lines = [LogLine(5, "INFO", "shop", 'one\n"two" \\ ä'), LogLine(6, "DEBUG", "", "")]

    text = LogChunk(RunId("a", 3), 2, 7, lines).text()

    assert text.isascii()
    assert read_chunk(3, 7, text) == [
        StoredLine(3, 2, 7, 5, "INFO", "shop", 'one\n"two" \\ ä'),
        StoredLine(3, 2, 8, 6, "DEBUG", "", ""),
    ]


@pytest.mark.parametrize("character", ["x", "ä", "€", "🦉"])
def test_a_line_keeps_8_kib_of_any_character(character: str) -> None:
    width = len(character.encode())
    longest = character * (MAX_LINE_BYTES // width)

    assert fit(longest) == longest
    cut = fit(longest + character)
    assert cut.endswith(character + CUT)
    assert MAX_LINE_BYTES - width < len(cut.encode()) <= MAX_LINE_BYTES


def test_a_line_that_masking_shortens_still_says_that_it_was_cut() -> None:
    text = f"password={'x' * LOOKED_AT}"

    assert fit(text) == f"password=[redacted]{CUT}"


def test_a_secret_across_the_cut_is_masked() -> None:
    """This one is known by what follows it."""
    secret = f"postgres://shop:{'hunter2' * 20}@db/shop"
    text = f"{'x' * (MAX_LINE_BYTES - 100)} {secret}"

    assert "hunter2" not in fit(text)


def test_breaks_and_tabs_stay_and_other_controls_are_escaped() -> None:
    text = "a\r\nb\tc\rd\x00\x1b[1m\u202e\ud800\ufeff"

    assert fit(text) == "a\nb\tc\\rd\\x00\\x1b[1m\\u202e\\ud800\\ufeff"


def test_the_end_of_a_long_traceback_counts() -> None:
    trace = "first\n" + "x" * MAX_LINE_BYTES + "\nKeyError: 'id'"

    text = fit_trace("message", trace)
    both = fit_trace("m" * MAX_LINE_BYTES, trace)

    assert text.startswith(f"message\n{CUT.strip()}\nx")
    assert both.startswith("mmm")
    for each in (text, both):
        assert each.endswith("x\nKeyError: 'id'")
        assert MAX_LINE_BYTES - 8 <= len(each.encode()) <= MAX_LINE_BYTES
    assert fit_trace("message", "KeyError") == "message\nKeyError"


def test_the_size_of_a_line_counts_bytes() -> None:
    assert size_of(LogLine(0, "INFO", "shop", "ä€")) == 5 + 4 + 32


@pytest.mark.parametrize(
    ("seconds", "at_us"),
    [
        (1.5, 1_500_000), (-1.0, 0), (1e300, MAX_INSTANT_US), (float("nan"), 0),
        (float("inf"), 0),
    ],
)  # fmt: skip
def test_any_time_of_a_record_can_be_stored(seconds: float, at_us: int) -> None:
    assert instant_of(seconds) == at_us
