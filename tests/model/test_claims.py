from __future__ import annotations

import json

import pytest

from flask_forge_jobs.model.claims import ClaimedJob, append_entry, append_error

AT_US = 1_750_000_000_250_000


def test_entries_are_appended_newest_last() -> None:
    one = append_entry(None, at_us=AT_US, attempt=1, message="smtp timeout")
    two = append_entry(one, at_us=AT_US + 1_000_000, attempt=2, message="refused")

    assert json.loads(two) == [
        {"at": "2025-06-15T15:06:40.250Z", "attempt": 1, "message": "smtp timeout"},
        {"at": "2025-06-15T15:06:41.250Z", "attempt": 2, "message": "refused"},
    ]


def test_only_the_newest_keeps_its_traceback() -> None:
    one = append_entry("[]", at_us=0, attempt=1, message="a", traceback="in a")
    two = append_entry(one, at_us=0, attempt=2, message="b", traceback="in b")
    three = append_entry(two, at_us=0, attempt=3, message="c")

    def tracebacks(history: str) -> list[str | None]:
        return [entry.get("traceback") for entry in json.loads(history)]

    assert tracebacks(one) == ["in a"]
    assert tracebacks(two) == [None, "in b"]
    assert tracebacks(three) == [None, None, None]


def test_the_oldest_falls_off_past_32() -> None:
    history = "[]"
    for attempt in range(1, 41):
        history = append_entry(history, at_us=AT_US, attempt=attempt, message="x")

    attempts = [entry["attempt"] for entry in json.loads(history)]

    assert attempts == list(range(9, 41))


@pytest.mark.parametrize("damaged", ["", "{", "null", "7", '{"a":1}'])
def test_damaged_history_starts_anew(damaged: str) -> None:
    history = append_entry(damaged, at_us=AT_US, attempt=3, message="x")

    assert [entry["attempt"] for entry in json.loads(history)] == [3]


def test_history_is_ascii_and_compact() -> None:
    history = append_entry("[]", at_us=0, attempt=1, message="für \ud800")

    assert history.isascii()
    assert history.startswith('[{"at":"1970-01-01T00:00:00Z","attempt":1,"message":')


def test_append_error_takes_the_attempt_of_the_claim() -> None:
    job = ClaimedJob("01", "mail", "send", "{}", 0, 0, 4, 5, 0, "[]", None)

    assert json.loads(append_error(job, "x", AT_US))[0]["attempt"] == 4
