"""How long the threads of one process wait for their turn to write."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from flask_forge_jobs.errors import JobNotFoundError, StorageBusyError
from flask_forge_jobs.storage.sqlite_turn import WritersTurn

LIMIT_S = 60.0


def patience_s(turn: WritersTurn) -> float:
    """Return how long the next writer would look for the lock of the file."""
    with turn as ends_at:
        return ends_at - time.monotonic()


def give_up(turn: WritersTurn) -> None:
    with pytest.raises(StorageBusyError), turn:
        raise StorageBusyError("the file is locked")


def test_a_writer_waits_for_as_long_as_it_was_told() -> None:
    assert patience_s(WritersTurn(LIMIT_S)) == pytest.approx(LIMIT_S, abs=5)


def test_the_wait_for_the_thread_before_counts() -> None:
    turn = WritersTurn(LIMIT_S)
    with ThreadPoolExecutor(1) as pool:
        came = Event()

        def second() -> tuple[float, float]:
            came_at = time.monotonic()
            came.set()
            with turn as ends_at:
                return came_at, ends_at

        with turn:
            waiting = pool.submit(second)
            assert came.wait(LIMIT_S)
        came_at, ends_at = waiting.result()

    assert ends_at == pytest.approx(came_at + LIMIT_S, abs=1)


def test_who_comes_after_one_that_gave_up_hardly_waits() -> None:
    turn = WritersTurn(LIMIT_S)
    give_up(turn)

    assert patience_s(turn) < 1


def test_each_that_gives_up_shortens_the_wait_of_the_next() -> None:
    turn = WritersTurn(LIMIT_S)
    waits_s = []

    def fail() -> None:
        with turn as ends_at:
            waits_s.append(ends_at - time.monotonic())
            raise StorageBusyError("the file is locked")

    for _ in range(3):
        with pytest.raises(StorageBusyError):
            fail()

    assert waits_s[0] > LIMIT_S - 5
    assert max(waits_s[1:]) < 1


def test_a_write_that_succeeds_brings_patience_back() -> None:
    turn = WritersTurn(LIMIT_S)
    give_up(turn)
    patience_s(turn)

    assert patience_s(turn) > LIMIT_S - 5


def test_a_write_that_fails_for_another_reason_was_not_locked_out() -> None:
    turn = WritersTurn(LIMIT_S)
    give_up(turn)
    with pytest.raises(JobNotFoundError), turn:
        raise JobNotFoundError("gone")

    assert patience_s(turn) > LIMIT_S - 5


def test_giving_up_is_forgotten_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rare writer is not to pay for one of an hour ago."""
    turn = WritersTurn(LIMIT_S)
    give_up(turn)
    later = time.monotonic() + 2
    monkeypatch.setattr(
        "flask_forge_jobs.storage.sqlite_turn.time.monotonic", lambda: later
    )

    with turn as ends_at:
        assert ends_at == later + LIMIT_S


def test_a_turn_that_does_not_come_is_a_busy_database() -> None:
    turn = WritersTurn(0.05)
    with turn, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patience_s, turn)
        with pytest.raises(StorageBusyError, match="another thread"):
            waiting.result()
