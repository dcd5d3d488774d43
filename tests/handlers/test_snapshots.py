"""Snapshots: one read for all who ask within a second, and for those who wait."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.forks import own_pid
from flask_forge_jobs.handlers.snapshots import FORGOTTEN_S, MAX_KEYS, Snapshots
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.deadlines import within
from tests.support.clocks import MovingClock
from tests.support.processes import in_child
from tests.support.threads import LIMIT_S

STORAGE = open_storage(DatabaseSettings())


def new_snapshots(clock: MovingClock | None = None) -> Snapshots:
    return Snapshots(STORAGE.database, clock or MovingClock())


def test_a_value_is_read_once_a_second() -> None:
    clock = MovingClock()
    snapshots = new_snapshots(clock)
    numbers = iter(range(10))

    seen = []
    for seconds in (0, 0.9, 0.2, 0.5):
        clock.move(seconds)
        seen.append(snapshots.get("key", lambda: next(numbers)))

    assert seen == [0, 0, 1, 1]


def test_each_key_has_its_own_value() -> None:
    snapshots = new_snapshots()

    assert snapshots.get(("jobs", None), lambda: "all") == "all"
    assert snapshots.get(("jobs", "mail"), lambda: "mail") == "mail"
    assert snapshots.get(("jobs", None), lambda: "again") == "all"


def test_callers_at_the_same_time_wait_for_one_read() -> None:
    snapshots = new_snapshots()
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
    snapshots = new_snapshots()

    def fail() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        snapshots.get("key", fail)

    assert snapshots.get("key", lambda: "value") == "value"


def test_the_keys_are_bounded() -> None:
    snapshots = new_snapshots()
    for number in range(MAX_KEYS):
        snapshots.get(number, lambda: "old")

    snapshots.get(0, lambda: "new")  # asked again: not the next to leave
    snapshots.get("one more", lambda: "new")

    assert len(snapshots._slots) == MAX_KEYS
    assert snapshots.get(0, lambda: "new") == "old"
    assert snapshots.get(1, lambda: "new") == "new"


def test_a_change_shows_at_once() -> None:
    snapshots = new_snapshots()
    snapshots.get("key", lambda: "old")

    snapshots.forget()

    assert snapshots.get("key", lambda: "new") == "new"


def test_a_caller_waits_no_longer_than_for_its_own_read() -> None:
    snapshots = new_snapshots()
    begun, may_end = threading.Event(), threading.Event()

    def read() -> str:
        begun.set()
        assert may_end.wait(LIMIT_S)
        return "value"

    with ThreadPoolExecutor(1) as other:
        first = other.submit(snapshots.get, "key", read)
        assert begun.wait(LIMIT_S)

        with within(0.01), pytest.raises(StorageUnavailableError, match="for long"):
            snapshots.get("key", read)
        may_end.set()

        assert first.result(LIMIT_S) == "value"
    assert snapshots.get("key", read) == "value"


def test_a_change_does_not_wait_for_a_read_that_began_before() -> None:
    """The read may hang, and the change is stored by then."""
    snapshots = new_snapshots()
    begun, may_end = threading.Event(), threading.Event()

    def read() -> str:
        begun.set()
        assert may_end.wait(LIMIT_S)
        return "old"

    with ThreadPoolExecutor(1) as other:
        first = other.submit(snapshots.get, "key", read)
        assert begun.wait(LIMIT_S)

        snapshots.forget()

        assert snapshots.get("key", lambda: "new") == "new"
        may_end.set()
        assert first.result(LIMIT_S) == "old"
    assert snapshots.get("key", read) == "new"


def test_a_child_waits_for_no_thread_of_its_parent() -> None:
    snapshots = new_snapshots()
    begun, may_end = threading.Event(), threading.Event()

    def read() -> str:
        begun.set()
        assert may_end.wait(LIMIT_S)
        return "of the parent"

    def read_anew() -> None:
        assert snapshots.get("key", lambda: "of the child") == "of the child"

    with ThreadPoolExecutor(1) as other:
        first = other.submit(snapshots.get, "key", read)
        assert begun.wait(LIMIT_S)

        assert in_child(read_anew) == 0
        may_end.set()
        assert first.result(LIMIT_S) == "of the parent"


def test_a_child_starts_with_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = new_snapshots()
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
    snapshots = new_snapshots(clock)
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
