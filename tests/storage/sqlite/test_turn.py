"""How long the threads of one process wait for their turn to write."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from flask_forge_jobs.errors import JobNotFoundError, StorageBusyError
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.sqlite import turn as turn_module
from flask_forge_jobs.storage.sqlite.turn import (
    _HOPELESS_FOR_S,
    _SHORT_LIMIT_S,
    WriterLock,
)
from tests.support.clocks import MovingClock
from tests.support.waiting import wait_until

LIMIT_S = 60.0


class Clock(MovingClock):
    """A clock that reports when it is read."""

    def __init__(self) -> None:
        super().__init__(0)
        self.is_read = Event()

    def monotonic(self) -> float:
        now = super().monotonic()
        self.is_read.set()
        return now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the turns."""
    made = Clock()
    monkeypatch.setattr(turn_module, "time", made)
    return made


def patience_s(turn: WriterLock, clock: Clock) -> float:
    """Return how long the next writer would look for the lock of the file."""
    with turn as ends_at:
        return ends_at - clock.monotonic()


def give_up(turn: WriterLock) -> None:
    with pytest.raises(StorageBusyError), turn:
        raise StorageBusyError("the file is locked")


def test_a_writer_waits_for_as_long_as_it_was_told(clock: Clock) -> None:
    assert patience_s(WriterLock(LIMIT_S), clock) == LIMIT_S


def test_a_writer_with_a_deadline_waits_no_longer_than_that(clock: Clock) -> None:
    """A heartbeat's, whose lease may be shorter than the wait."""
    with within(1.0):
        assert patience_s(WriterLock(LIMIT_S), clock) <= 1.0


def test_the_wait_for_the_thread_before_counts(clock: Clock) -> None:
    turn = WriterLock(LIMIT_S)
    with ThreadPoolExecutor(1) as pool:
        with turn:
            clock.is_read.clear()
            waiting = pool.submit(patience_s, turn, clock)
            assert clock.is_read.wait(LIMIT_S)
            clock.move(10)
        left_s = waiting.result()

    assert left_s == LIMIT_S - 10


def test_who_comes_after_one_that_gave_up_hardly_waits(clock: Clock) -> None:
    turn = WriterLock(LIMIT_S)
    give_up(turn)

    assert patience_s(turn, clock) == pytest.approx(_SHORT_LIMIT_S)


def test_each_that_gives_up_shortens_the_wait_of_the_next(clock: Clock) -> None:
    turn = WriterLock(LIMIT_S)
    waits_s: list[float] = []

    def fail() -> None:
        with turn as ends_at:
            waits_s.append(ends_at - clock.monotonic())
            raise StorageBusyError("the file is locked")

    for _ in range(3):
        with pytest.raises(StorageBusyError):
            fail()

    assert waits_s == pytest.approx([LIMIT_S, _SHORT_LIMIT_S, _SHORT_LIMIT_S])


def test_a_write_that_succeeds_brings_patience_back(clock: Clock) -> None:
    turn = WriterLock(LIMIT_S)
    give_up(turn)
    patience_s(turn, clock)

    assert patience_s(turn, clock) == LIMIT_S


def test_a_write_that_fails_for_another_reason_was_not_locked_out(clock: Clock) -> None:
    turn = WriterLock(LIMIT_S)
    give_up(turn)
    with pytest.raises(JobNotFoundError), turn:
        raise JobNotFoundError("gone")

    assert patience_s(turn, clock) == LIMIT_S


def test_giving_up_is_forgotten_with_time(clock: Clock) -> None:
    """A rare writer is not to pay for one of an hour ago."""
    turn = WriterLock(LIMIT_S)
    give_up(turn)
    clock.move(_HOPELESS_FOR_S)

    assert patience_s(turn, clock) == LIMIT_S


def test_a_turn_that_does_not_come_is_a_busy_database(clock: Clock) -> None:
    turn = WriterLock(0.05)
    with turn, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patience_s, turn, clock)
        with pytest.raises(StorageBusyError, match="another thread"):
            waiting.result()


def test_a_thread_waits_for_no_turn_that_it_no_longer_needs() -> None:
    turn = WriterLock(LIMIT_S)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(turn.acquire).result()
        with turn.unless(lambda: True) as ends_at:
            assert ends_at == 0.0
        pool.submit(turn.release).result()

    with turn.unless(lambda: True) as ends_at:
        assert ends_at > time.monotonic()
    with pytest.raises(StorageBusyError), turn.unless(lambda: False):
        raise StorageBusyError("the file is locked")
    with turn as ends_at:
        assert ends_at <= time.monotonic() + _SHORT_LIMIT_S


def test_a_fork_gets_the_turn_before_the_thread_that_has_just_had_it() -> None:
    """It waits for a few seconds only, and each moment between two jobs is short."""
    turn = WriterLock(LIMIT_S)
    with ThreadPoolExecutor(1) as pool:
        with turn:
            fork = pool.submit(turn.acquire_at_rest, time.monotonic() + 3.0)
            wait_until(lambda: turn.is_requested, "it waits")
        assert turn.enter_if_free() == 0.0
        assert fork.result()
        pool.submit(turn.release).result()

    assert turn.enter_if_free()
