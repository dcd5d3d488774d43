"""Calls do not wait for a server that is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.storage.postgres import process
from flask_forge_jobs.storage.postgres.process import Availability

LIMIT_S = 30.0


class Server:
    """Answers once a test lets it."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = threading.Event()
        self.returned = threading.Event()
        self.error: Exception = StorageError("still away")
        self.asked_to_write: list[bool] = []

    def probe(self, writes: bool) -> None:  # as it is called
        self.asked_to_write.append(writes)
        self.asked.set()
        if not self.answers.is_set():
            raise self.error

    def come_back(self) -> None:
        self.answers.set()
        assert self.returned.wait(LIMIT_S)
        self.answers.clear()
        self.returned.clear()
        self.asked.clear()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def availability(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Availability]:
    monkeypatch.setattr(process, "PROBE_PERIOD_S", 0.01)
    found = Availability(server.probe, server.returned.set)
    yield found
    found.close()


def test_who_comes_while_the_server_is_away_fails_at_once(
    server: Server, availability: Availability
) -> None:
    availability.check()
    availability.note_away("time-out")

    with pytest.raises(StorageUnavailableError, match="time-out"):
        availability.check()
    server.come_back()

    availability.check()


@pytest.mark.parametrize("error", [StorageError("away"), RuntimeError("odd")])
def test_it_is_looked_for_until_it_answers(
    server: Server, availability: Availability, error: Exception
) -> None:
    server.error = error
    availability.note_away("time-out")
    for _ in range(3):
        server.asked.clear()
        assert server.asked.wait(LIMIT_S)

    server.come_back()

    assert len(server.asked_to_write) >= 4
    assert not any(server.asked_to_write)


def test_one_that_is_away_again_must_take_a_write(
    server: Server, availability: Availability
) -> None:
    """It waits for its standby: it answers, and ends no commit."""
    availability.note_away("time-out")
    server.come_back()
    server.asked_to_write.clear()

    availability.note_away("time-out")
    server.come_back()

    assert all(server.asked_to_write)


def test_a_second_time_out_starts_no_second_look(
    server: Server, availability: Availability
) -> None:
    before = set(threading.enumerate())  # an earlier test's look may still end
    availability.note_away("first")
    availability.note_away("second")

    with pytest.raises(StorageUnavailableError, match="first"):
        availability.check()
    new = set(threading.enumerate()) - before
    assert [each.name for each in new] == ["forge-jobs-probe"]
    server.come_back()


def test_calls_go_on_when_no_thread_can_start_to_look(
    server: Server, availability: Availability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise they would fail for ever, and at once."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        availability.note_away("time-out")
    availability.check()
    assert not server.asked.is_set()

    availability.note_away("time-out")
    server.come_back()

    availability.check()


def test_after_the_close_nobody_looks_and_calls_find_out_for_themselves(
    server: Server, availability: Availability
) -> None:
    availability.note_away("time-out")

    availability.close()

    availability.check()
    assert not server.returned.is_set()
