"""Events are counted for each key, in a bounded memory."""

from __future__ import annotations

import sys

import pytest

from flask_forge_jobs.auth import limits
from flask_forge_jobs.auth.limits import MAX_KEYS, FixedWindows

MOST, LENGTH_S = 2, 60.0


def test_a_window_lasts_from_its_first_event() -> None:
    counted = FixedWindows(MOST, LENGTH_S)

    waits = [counted.count("ann", now) for now in (5.0, 40.0, 41.5, 64.9, 65.0)]

    assert waits == [0, 0, 24, 1, 0]


def test_keys_do_not_share_a_window() -> None:
    counted = FixedWindows(1, LENGTH_S)

    assert [counted.count(key, 0.0) for key in "abab"] == [0, 0, 60, 60]


def test_sec_S08_memory_is_bounded() -> None:
    counted = FixedWindows(MOST, LENGTH_S)
    for n in range(MAX_KEYS + 500):
        counted.count(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)

    assert len(counted._windows) == MAX_KEYS
    size = sum(
        sys.getsizeof(part) for pair in counted._windows.items() for part in pair
    )
    assert size < 5 * 2**20


def test_the_least_recently_counted_key_is_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 2)
    counted = FixedWindows(MOST, LENGTH_S)
    for key in "ababa":  # a once more, so b is the older one
        counted.count(key, 0.0)

    counted.count("c", 0.0)

    assert counted.count("a", 0.0) > 0
    assert counted.count("b", 0.0) == 0
