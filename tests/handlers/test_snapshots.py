"""Snapshots: one read for all who ask within a second, and for those who wait."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_forge_jobs.forks import own_pid
from flask_forge_jobs.handlers.snapshots import FORGOTTEN_S, MAX_KEYS, Snapshots
from tests.support.clocks import MovingClock


def test_a_value_is_read_once_a_second() -> None:
    clock = MovingClock()
    snapshots = Snapshots(clock)
    numbers = iter(range(10))

    seen = []
    for seconds in (0, 0.9, 0.2, 0.5):
        clock.move(seconds)
        seen.append(snapshots.get("key", lambda: next(numbers)))

    assert seen == [0, 0, 1, 1]


def test_each_key_has_its_own_value() -> None:
    snapshots = Snapshots(MovingClock())

    assert snapshots.get(("jobs", None), lambda: "all") == "all"
    assert snapshots.get(("jobs", "mail"), lambda: "mail") == "mail"
    assert snapshots.get(("jobs", None), lambda: "again") == "all"


def test_callers_at_the_same_time_wait_for_one_read() -> None:
    snapshots = Snapshots(MovingClock())
    begun, may_end = threading.Event(), threading.Event()
    reads = []

    def read() -> str:
        reads.append(1)
        begun.set()
        assert may_end.wait(10)
        return "value"

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(snapshots.get, "key", read)
        assert begun.wait(10)
        others = [pool.submit(snapshots.get, "key", read) for _ in range(7)]
        # Another key does not wait for it.
        assert snapshots.get("other", lambda: "at once") == "at once"
        may_end.set()
        values = {each.result(10) for each in (first, *others)}

    assert values == {"value"}
    assert len(reads) == 1


def test_a_failed_read_is_not_kept() -> None:
    snapshots = Snapshots(MovingClock())

    def fail() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        snapshots.get("key", fail)

    assert snapshots.get("key", lambda: "value") == "value"


def test_the_keys_are_bounded() -> None:
    snapshots = Snapshots(MovingClock())
    for number in range(MAX_KEYS):
        snapshots.get(number, lambda: "old")

    snapshots.get(0, lambda: "new")  # asked again: not the next to leave
    snapshots.get("one more", lambda: "new")

    assert len(snapshots._slots) == MAX_KEYS
    assert snapshots.get(0, lambda: "new") == "old"
    assert snapshots.get(1, lambda: "new") == "new"


def test_a_change_shows_at_once() -> None:
    snapshots = Snapshots(MovingClock())
    snapshots.get("key", lambda: "old")

    snapshots.forget()

    assert snapshots.get("key", lambda: "new") == "new"


def test_a_child_starts_with_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = Snapshots(MovingClock())
    snapshots.get("key", lambda: "of the parent")

    monkeypatch.setattr("os.getpid", lambda: -2)
    own_pid()  # as behind a fork

    try:
        assert snapshots.get("key", lambda: "of the child") == "of the child"
    finally:
        monkeypatch.undo()
        own_pid()


def test_what_nobody_asks_for_does_not_stay_in_memory() -> None:
    class Value:
        pass

    clock = MovingClock()
    snapshots = Snapshots(clock)
    left = [weakref.ref(snapshots.get(number, Value)) for number in range(3)]

    clock.move(FORGOTTEN_S - 1)
    snapshots.get(2, Value)
    clock.move(1)
    snapshots.get("other", Value)

    assert [each() is None for each in left] == [True, True, True]
    assert [snapshots.known(number) is None for number in range(3)] == [
        True,
        True,
        False,
    ]
