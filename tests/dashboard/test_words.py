"""Numbers, sizes and times in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from flask_forge_jobs.dashboard import words

NOW = datetime(2026, 11, 30, 14, 32, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, words.NOTHING),
        (0, "0"),
        (1214, "1,214"),
        (1_204_118.0, "1,204,118"),
        (3.25, "3"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize("names", [["mail-2", "mail-10", "mail-a"], ["1", "02", "10"]])
def test_numbers_in_names_are_numbers(names: list[str]) -> None:
    assert sorted(set(names), key=words.natural) == names


def test_small_numbers_may_have_digits() -> None:
    assert [words.number(each, 1) for each in (3.25, 3.0, 12.5)] == ["3.2", "3", "12"]
    assert [words.percent(each) for each in (0.047, 0.31, None)] == [
        "4.7%", "31%", words.NOTHING
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, words.NOTHING), (0, "0 B"), (1023, "1,023 B"), (4404019, "4.2 MiB"),
        (2**40 * 3, "3 TiB"),
    ],
)  # fmt: skip
def test_sizes(value: float | None, text: str) -> None:
    assert words.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, words.NOTHING), (0, "0s"), (-1, "0s"), (0.0002, "1ms"), (0.122, "122ms"),
        (0.9999, "1s"), (8.4, "8.4s"), (44.3, "44s"), (60, "1m"), (192, "3m 12s"),
        (7_740, "2h 9m"), (7_205, "2h"), (90_000, "1d 1h"), (86_460, "1d"),
    ],
)  # fmt: skip
def test_spans(seconds: float | None, text: str) -> None:
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"), (1, "1s ago"), (540, "9m ago"), (3_599, "59m ago"),
        (7_740, "2h 9m ago"), (90_000, "1d 1h ago"),
        (-192, "in 3m 12s"), (-41, "in 41s"), (-90_000, "in 1d 1h"),
    ],
)  # fmt: skip
def test_times_relative_to_now(seconds: int, text: str) -> None:
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == text


def test_how_long_something_lasts() -> None:
    assert words.age(NOW - timedelta(seconds=124), NOW) == "2m 4s"
    assert words.age(NOW + timedelta(seconds=3), NOW) == "0s"


def test_instants_are_in_utc() -> None:
    at = NOW.astimezone(timezone(timedelta(hours=5)))

    assert words.absolute(at) == "2026-11-30 14:32:08 UTC"
    assert words.stamp(at) == "2026-11-30T14:32:08.000Z"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("Queue mail has no worker. 4 jobs wait.", "Queue mail has no worker."),
        ("send fails: 31% of 20 runs. Most", "send fails:"),
        ("Nothing needs you.", "Nothing needs you."),
        ("mail is paused by ann, “CDN”, for 2h. 4 jobs wait.", "mail is paused"),
    ],
)
def test_the_fact_of_a_sentence_is_its_first_statement(text: str, fact: str) -> None:
    assert words.fact(text)[0] == fact
    assert "".join(words.fact(text)) == text


def test_ages_in_a_sentence_are_instants() -> None:
    evidence = {"oldest_wait_s": 5, "last_seen_s": 65, "paused_s": None, "jobs": 5}
    text = " 2 jobs wait for 5s, the oldest for 5s. Its worker, w, was seen 1m ago."

    pieces = list(words.with_ages(text, evidence, NOW))

    assert pieces == [
        (" 2 jobs wait for 5s, the oldest for ", None),
        ("", NOW - timedelta(seconds=5.5)),
        (". Its worker, w, was seen ", None),
        ("", NOW - timedelta(seconds=65.5)),
        (" ago.", None),
    ]
    assert list(words.with_ages(text, {"oldest_wait_s": 50}, NOW)) == [(text, None)]


def test_ids_in_sentences_are_short() -> None:
    text = words.short_ids("Batch 01KS5E0RT0YRNTKZVSVMRG12BA (report) cannot end.")

    assert text == "Batch …MRG12BA (report) cannot end."


def test_a_time_below_a_millisecond_is_not_zero() -> None:
    taken = [words.took(value) for value in (None, 0, 1, 999, 1000)]

    assert taken == [words.NOTHING, "<1ms", "1ms", "999ms", "1s"]


def test_a_wait_in_whole_seconds_is_as_long_a_moment_before_and_after() -> None:
    """It was a second less beside the sentence that said it."""
    began = words.since(NOW, 19)

    shown = {words.age(began, NOW + timedelta(seconds=late)) for late in (-0.4, 0, 0.4)}
    assert shown == {"19s"}
