from __future__ import annotations

import pytest

from flask_forge_jobs.model.log_lines import MAX_LENGTH, PERIOD_S, LogThrottle, one_line
from tests.support.clocks import MovingClock


def test_each_kind_is_said_once_a_minute_with_how_often_it_was_not() -> None:
    clock = MovingClock()
    throttle = LogThrottle(clock.monotonic)

    said = [throttle.is_time_for("away") for _ in range(4)]
    other = throttle.is_time_for("slow")
    clock.move(PERIOD_S)
    later = throttle.is_time_for("away")

    assert said == [True, False, False, False]
    assert (other, later) == (True, True)
    assert throttle.more("away") == " (3 more since the last line)"
    assert throttle.more("away") == throttle.more("slow") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain: é ü 語 😀", "plain: é ü 語 😀"),
        ("x\nINFO fake", r"x\nINFO fake"),
        ("a\r\nb\tc\0d", r"a\r\nb\tc\x00d"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066\u200f\ufeff", r"\u2066\u200f\ufeff"),
        ("\ud800", r"\ud800"),
    ],
)
def test_sec_S41_unfit_characters_are_escaped(text: str, expected: str) -> None:
    shown = one_line(text)

    assert shown == expected
    assert len(shown.splitlines()) == 1
    shown.encode()


def test_sec_S41_long_text_is_cut_and_says_by_how_much() -> None:
    shown = one_line("x" * 100_000)

    assert shown == "x" * MAX_LENGTH + f"... ({100_000 - MAX_LENGTH} more)"
    assert one_line("x" * MAX_LENGTH) == "x" * MAX_LENGTH
