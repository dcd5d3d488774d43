"""A filter in words: chips, and the lines of a confirmation."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.jobs.conditions import chips, in_words
from tests.dashboard.jobs.test_query import read

FULL = (
    "queue=mail&queue=bulk&kind=send&error=out&q=card&signature=s&cron=nightly"
    "&dedupe_key=k&min_attempts=3&ending=dead&last=24h&waiting=1"
    "&batch=01KB9V6W3E5Q8Y4N2M7T6R1W0X"
)


def test_each_condition_is_a_chip_that_can_be_removed() -> None:
    shown = [(chip.name, chip.value) for chip in chips(read(FULL))]

    assert shown == [
        ("queue is", "mail"),
        ("queue is", "bulk"),
        ("kind is", "send"),
        ("error contains", "out"),
        ("payload contains", "card"),
        ("signature is", "s"),
        ("schedule is", "nightly"),
        ("dedupe key is", "k"),
        ("ended as", "dead"),
        ("tries at least", "3"),
        ("batch is", "01KB9V6W3E5Q8Y4N2M7T6R1W0X"),
        ("waits for", "other jobs"),
        ("enqueued", "last 24 h"),
    ]
    for chip in chips(read(FULL)):
        kept = chips(read(chip.address.partition("?")[2]))
        assert [each.value for each in kept] == [
            value for name, value in shown if (name, value) != (chip.name, chip.value)
        ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("last=90m", "last 90 min"),
        ("from=2026-11-01", "from 2026-11-01 00:00:00 UTC"),
        ("to=2026-11-01", "up to 2026-11-01 00:00:00 UTC"),
        (
            "from=2026-11-01&to=2026-11-02",
            "2026-11-01 00:00:00 UTC to 2026-11-02 00:00:00 UTC",
        ),
    ],
)
def test_a_range_of_time_names_its_zone(text: str, words: str) -> None:
    assert [chip.value for chip in chips(read(text))] == [words]


def test_a_confirmation_has_one_line_for_each_condition() -> None:
    query = read("status=dead&queue=mail&queue=bulk&queue=x&last=7d")

    assert in_words(query, ("failed", "dead")) == [
        ("status is", "Retrying or Dead"),
        ("queue is", "mail, bulk or x"),
        ("enqueued", "last 7 days"),
    ]
    assert in_words(read(""), ()) == [("every job", "")]
