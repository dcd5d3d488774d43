"""What an expression means, in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.model.cron_description import describe
from flask_forge_jobs.model.cron_expression import CronExpression


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * * *", "Every minute"),
        ("* * * * * *", "Every second"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("15 * * * * *", "At second 15 of every minute"),
        ("*/10 * * * *", "Every 10 minutes"),
        ("*/7 * * * *", "At every 7th minute from 0 of every hour"),
        ("5/15 * * * *", "At every 15th minute from 5 of every hour"),
        ("2/22 * * * *", "At every 22nd minute from 2 of every hour"),
        ("*/11 * * * *", "At every 11th minute from 0 of every hour"),
        ("30 * * * *", "At minute 30 of every hour"),
        ("*/30 * * * *", "Every 30 minutes"),
        ("0 * * * *", "Every hour"),
        ("@hourly", "Every hour"),
        ("0 */2 * * *", "At minute 0, every 2 hours, every day"),
        ("* 2 * * *", "Every minute, in hour 2, every day"),
        ("0 6 * * *", "At 06:00, every day"),
        ("15,45 8 * * *", "At 08:15 and 08:45, every day"),
        ("30 0 6 * * *", "At 06:00:30, every day"),
        ("0 9-17 * * 1-5", "At minute 0, in hours 9 to 17, on Monday to Friday"),
        ("0 0 * * 5-7", "At 00:00, on Friday to Sunday"),
        ("0 0 0 * * 6,7,1", "At 00:00, on Friday to Sunday"),
        ("30 2 1,15 * *", "At 02:30, on days 1 and 15 of the month"),
        ("0 0 1 * MON", "At 00:00, on day 1 of the month or on Monday"),
        ("0 0 1-31 * MON", "At 00:00, every day"),
        (
            "0 0 0 13 * FRI,SUN",
            "At 00:00, on day 13 of the month if it is a Friday or Sunday",
        ),
        ("0 0 29 2 *", "At 00:00, on day 29 of the month, in February"),
        (
            "0 30 9 ? JAN-MAR,DEC 2-6 2030",
            "At 09:30, on Monday to Friday, in January to March and December, in 2030",
        ),
    ],
)  # fmt: skip
def test_an_expression_in_words(text: str, words: str) -> None:
    assert describe(CronExpression.parse(text)) == words


SOME = st.lists(st.integers(1, 7), min_size=1, max_size=5).map(
    lambda values: ",".join(map(str, values))
)


@given(st.lists(st.one_of(st.just("*"), SOME), min_size=5, max_size=6))
def test_every_expression_has_words(fields: list[str]) -> None:
    words = describe(CronExpression.parse(" ".join(fields)))

    assert words[0].isupper()
    assert len(words) < 400
