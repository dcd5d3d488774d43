"""The two dialects, row by row, and what neither takes."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.cron_expression import CronExpression, parse_cron
from tests.support.costs import lines_run, no_hang

parse = CronExpression.parse
EVERY_MINUTE = tuple(range(60))
EVERY_DAY = tuple(range(1, 32))
EVERY_WEEKDAY = tuple(range(7))


def refused(value: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        parse(value)
    assert caught.value.field == "cron_expr"
    return caught.value.message


def test_parse_cron_is_the_way_in_for_programs() -> None:
    assert parse_cron("0 */6 * * *") == parse("0 */6 * * *")
    with pytest.raises(InvalidInputError) as caught:
        parse_cron("at noon")
    assert caught.value.field == "cron_expr"


# -- six and seven fields: the dialect of the reference ----------------------------


def test_six_fields_begin_with_the_second() -> None:
    found = parse("1 2 3 4 5 6")

    assert (found.seconds, found.minutes, found.hours) == ((1,), (2,), (3,))
    assert (found.days, found.months, found.weekdays) == ((4,), (5,), (5,))
    assert (found.years[0], found.years[-1]) == (1970, 2100)


def test_the_seventh_field_is_the_year() -> None:
    assert parse("0 0 0 1 1 ? 2027,2030-2032").years == (2027, 2030, 2031, 2032)
    assert parse("0 0 0 1 1 ? 2098/1").years == (2098, 2099, 2100)


@pytest.mark.parametrize(
    ("name", "index", "low", "high"),
    [
        ("second", 0, 0, 59),
        ("minute", 1, 0, 59),
        ("hour", 2, 0, 23),
        ("day of month", 3, 1, 31),
        ("month", 4, 1, 12),
        ("day of week", 5, 1, 7),
        ("year", 6, 1970, 2100),
    ],
)
def test_a_field_has_the_bounds_of_the_reference(
    name: str, index: int, low: int, high: int
) -> None:
    def with_field(text: str) -> str:
        return " ".join([*["*"] * index, text, *["*"] * (6 - index)])

    parse(with_field(f"{low}-{high}"))
    parse(with_field(f"*/{high}"))
    for value in (low - 1, high + 1):
        if value >= 0:
            assert refused(with_field(str(value))) == (
                f"{name}: {value} is not within {low} to {high}"
            )
    for step in (0, high + 1):
        assert refused(with_field(f"*/{step}")) == (
            f"{name}: step {step} is not within 1 to {high}"
        )


@pytest.mark.parametrize(
    ("text", "weekday"),
    [
        ("1", 0), ("7", 6), ("sun", 0), ("Sunday", 0), ("MON", 1), ("monday", 1),
        ("tue", 2), ("tues", 2), ("Tuesday", 2), ("wed", 3), ("wednesday", 3),
        ("thu", 4), ("Thurs", 4), ("THURSDAY", 4), ("fri", 5), ("friday", 5),
        ("sat", 6), ("saturday", 6),
    ],
)  # fmt: skip
def test_weekdays_with_sunday_as_1(text: str, weekday: int) -> None:
    assert parse(f"0 0 0 * * {text}").weekdays == (weekday,)


@pytest.mark.parametrize(
    ("text", "months"),
    [("jan", (1,)), ("December", (12,)), ("JUN-aug", (6, 7, 8)), ("may,2", (2, 5))],
)
def test_months_by_name(text: str, months: Sequence[int]) -> None:
    assert parse(f"0 0 0 1 {text} ?").months == months
    assert parse(f"0 0 1 {text} *").months == months


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("*", EVERY_MINUTE),
        ("7", (7,)),
        ("05", (5,)),
        ("3-6", (3, 4, 5, 6)),
        ("6-6", (6,)),
        ("50,10,10-12", (10, 11, 12, 50)),
        ("*/20", (0, 20, 40)),
        ("5/20", (5, 25, 45)),
        ("10-20/5", (10, 15, 20)),
        ("10-20/5,*/30", (0, 10, 15, 20, 30)),
    ],
)
def test_forms_of_a_field(text: str, minutes: Sequence[int]) -> None:
    assert parse(f"0 {text} * * * *").minutes == minutes
    assert parse(f"{text} * * * *").minutes == minutes


def test_a_range_of_names_may_have_a_step() -> None:
    assert parse("0 0 0 * * mon-fri/2").weekdays == (1, 3, 5)
    assert parse("0 0 * * mon-fri/2").weekdays == (1, 3, 5)


def test_a_question_mark_is_any_day() -> None:
    assert parse("0 0 0 ? * 2").days == EVERY_DAY
    assert parse("0 0 0 1 * ?").weekdays == EVERY_WEEKDAY
    for text in ("? 0 0 * * *", "0 0 0 * ? *", "0 0 0 ?/2 * *", "0 0 ? * *"):
        assert "? stands alone" in refused(text)


def test_both_day_fields_must_match() -> None:
    assert not parse("0 0 0 13 * FRI").either_day


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("@yearly", "0 0 0 1 1 *"),
        ("@annually", "0 0 0 1 1 *"),
        ("@monthly", "0 0 0 1 * *"),
        ("@weekly", "0 0 0 * * 1"),
        ("@daily", "0 0 0 * * *"),
        ("@midnight", "0 0 0 * * *"),
        ("@Hourly", "0 0 * * * *"),
    ],
)
def test_shorthands(text: str, same: str) -> None:
    short, long = parse(text), parse(same)

    assert short.text == text
    for name in ("seconds", "minutes", "hours", "days", "months", "weekdays"):
        assert getattr(short, name) == getattr(long, name)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0 0 0 * * 6-2", "day of week"),
        ("0 0 0 * * Sat-Sun", "day of week"),
        ("0 0 0 * * 0", "day of week"),
        ("0 0 0 * * mon/2", "day of week"),
        ("0 0 0 * * 6L", "day of week"),
        ("0 0 0 * * 6#3", "day of week"),
        ("0 0 0 * * jan", "day of week"),
        ("0 0 0 L * *", "day of month"),
        ("0 0 0 15W * *", "day of month"),
        ("0 0 0 * januar *", "month"),
        ("0 30-10 * * * *", "minute"),
        ("0 1,,2 * * * *", "minute"),
        ("0 1, * * * *", "minute"),
        ("0 1-2-3 * * * *", "minute"),
        ("0 1/2/3 * * * *", "minute"),
        ("0 *-5 * * * *", "minute"),
        ("0 1-* * * * *", "minute"),
        ("0 -5 * * * *", "minute"),
        ("0 +5 * * * *", "minute"),
        ("0 1.5 * * * *", "minute"),
        ("0 ٣ * * * *", "minute"),
        ("0 5/ * * * *", "minute"),
        ("0 1--100000000 * * * *", "minute"),
        ("0 1-100000000 * * * *", "minute"),
        ("0 0 0 1 1 * 20300", "year"),
    ],
)
def test_what_neither_dialect_takes_names_its_field(text: str, part: str) -> None:
    assert refused(text).startswith(f"{part}: ")


# -- five fields: Unix cron --------------------------------------------------------


def test_five_fields_begin_with_the_minute() -> None:
    found = parse("2 3 4 5 6")

    assert (found.seconds, found.minutes, found.hours) == ((0,), (2,), (3,))
    assert (found.days, found.months, found.weekdays) == ((4,), (5,), (6,))


@pytest.mark.parametrize(
    ("text", "weekdays"),
    [
        ("0", (0,)),
        ("7", (0,)),
        ("sun", (0,)),
        ("1", (1,)),
        ("6", (6,)),
        ("5-7", (0, 5, 6)),
        ("0-7", EVERY_WEEKDAY),
        ("*/2", (0, 2, 4, 6)),
        ("MON-FRI", (1, 2, 3, 4, 5)),
    ],
)
def test_weekdays_with_sunday_as_0_or_7(text: str, weekdays: Sequence[int]) -> None:
    assert parse(f"0 0 * * {text}").weekdays == weekdays


@pytest.mark.parametrize(
    ("days", "weekday", "either"),
    [
        ("13", "fri", True),
        ("1-31", "fri", True),
        ("*", "fri", False),
        ("13", "*", False),
        ("*/2", "fri", False),
        ("13", "*/2", False),
        ("1,*", "fri", True),
    ],
)
def test_two_restricted_day_fields_are_joined_by_or(
    days: str, weekday: str, *, either: bool
) -> None:
    assert parse(f"0 0 {days} * {weekday}").either_day is either


def test_the_steps_of_crontabs_that_mean_once_are_taken() -> None:
    assert parse("*/60 * * * *").minutes == (0,)
    assert parse("0 */24 * * *").hours == (0,)
    assert "step 61 is not within 1 to 60" in refused("*/61 * * * *")
    assert "step 25 is not within 1 to 24" in refused("0 */25 * * *")


# -- the whole text ----------------------------------------------------------------


@pytest.mark.parametrize("text", [" 0 6 * * * ", "0\t6  * \t* *"])
def test_blanks_part_the_fields(text: str) -> None:
    assert parse(text).hours == (6,)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 9])
def test_another_number_of_fields_is_refused(count: int) -> None:
    assert refused(" ".join(["*"] * count)).startswith(f"has {count} fields")


@pytest.mark.parametrize(
    "value",
    ["", " ", "@", "@reboot", "@every 5m", "hello", "0 6 * *\n*", "0\u00a06 * * *",
     "0 6 * * *\x00", "\ud800", None, 5, True, [], {}, b"0 6 * * *"],
)  # fmt: skip
def test_what_is_no_expression_is_refused(value: object) -> None:
    assert refused(value)


def test_an_expression_has_at_most_255_characters() -> None:
    assert parse("0 6 * * *" + " " * 246).hours == (6,)
    assert "1 to 255 characters, not 256" in refused("0 6 * * *" + " " * 247)


def test_the_hour_field_says_whether_real_time_is_meant() -> None:
    for text in ("* * * * *", "0 */2 * * *", "0 1-5/2 * * *", "0 0 * * * *", "@hourly"):
        assert parse(text).is_interval, text
    for text in ("* 2 * * *", "*/5 1,2 * * *", "0 0-23 * * *", "@daily"):
        assert not parse(text).is_interval, text


# -- hostile text ------------------------------------------------------------------

PIECES = ("*", "?", "/", "-", ",", " ", "0", "9", "59", "100000000", "mon", "jan", "L",
          "#", "@", "--", "*/0", "1-2", "x", "\t", "٣", "\x00", "\n")  # fmt: skip


def faulty_field(text: str) -> str | None:
    """Parse; the field of the error, or None."""
    try:
        parse(text)
    except InvalidInputError as error:
        return error.field if len(error.message) < 300 else "endless"
    return None


def test_hostile_text_costs_little() -> None:
    chance = random.Random(1)
    corpus = ["*" * 255, "1," * 127 + "1", "0-59," * 50 + "0 * * * *", "9" * 10_000,
              "0 " * 5_000, "1--100000000 * * * *", "*/0 * * * *"]  # fmt: skip
    corpus += ["".join(chance.choices(PIECES, k=60)) for _ in range(2_000)]
    tracemalloc.start()
    with no_hang():
        lines = [lines_run(partial(faulty_field, text)) for text in corpus]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert {faulty_field(text) for text in corpus} <= {"cron_expr", None}
    assert max(lines) < 200
    assert peak < 1_048_576


@given(st.text(max_size=300))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    assert faulty_field(text) in ("cron_expr", None)
