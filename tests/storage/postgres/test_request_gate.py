"""One thread of a server never waits for a database that hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.request_threads import this_thread
from flask_forge_jobs.storage.postgres import request_gate
from flask_forge_jobs.storage.postgres.faults import NotTriedError
from flask_forge_jobs.storage.postgres.request_gate import RequestGate
from flask_forge_jobs.storage.postgres.trial import Trial
from tests.support.threads import LIMIT_S


class RequestThread:
    """A thread of a server, which does one thing after the other."""

    def __init__(self, gate: RequestGate) -> None:
        self._gate = gate
        self._pool = ThreadPoolExecutor(1, initializer=self._mark)
        self.close = self._pool.shutdown

    def _mark(self) -> None:
        this_thread.answers_requests = True

    def enter(self) -> bool:
        return self._pool.submit(self._gate.enter).result(LIMIT_S)

    def leave(self) -> None:
        self._pool.submit(self._gate.leave).result(LIMIT_S)

    def pause(self) -> None:
        self._pool.submit(self._gate.pause).result(LIMIT_S)

    def call(self) -> None:
        assert self.enter()
        self.leave()

    def call_another(self, gate: RequestGate) -> None:
        assert self._pool.submit(gate.enter).result(LIMIT_S)
        self._pool.submit(gate.leave).result(LIMIT_S)


class Hang:
    """A trial's commit: it hangs until a test lets it end."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.count = 0
        self.ended = threading.Event()

    def __call__(self) -> bool:
        self.count += 1
        assert self.ended.wait(LIMIT_S)
        if self.error is not None:
            raise self.error
        return True


@pytest.fixture
def hang() -> Iterator[Hang]:
    found = Hang()
    yield found
    found.ended.set()


@pytest.fixture
def threads(
    hang: Hang, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[RequestThread]]:
    """Three threads that have called the database before."""
    for name in ("YOUNG_S", "DOUBT_S", "SILENCE_S", "CONNECT_S"):
        monkeypatch.setattr(request_gate, name, 0.0)
    gate = RequestGate(Trial(hang))
    with ExitStack() as stack:
        found = [RequestThread(gate) for _ in range(3)]
        for each in found:
            stack.callback(each.close)
            each.call()
        yield found


def test_the_last_thread_does_not_wait_for_a_database_that_hangs(
    threads: list[RequestThread], hang: Hang
) -> None:
    first, second, last = threads
    first.enter()
    second.enter()

    for _ in range(2):
        with pytest.raises(NotTriedError, match="nothing is stored"):
            last.enter()
    assert hang.count == 1
    second.leave()

    last.call()


def test_a_thread_counts_once_if_it_asks_two_databases(
    threads: list[RequestThread], hang: Hang
) -> None:
    """As those of a server with a standby do, in turns."""
    another = RequestGate(Trial(hang))
    for each in threads:
        each.call_another(another)
        each.call()
    first, second, last = threads
    first.enter()
    second.enter()

    with pytest.raises(NotTriedError, match="nothing is stored"):
        last.enter()


def test_the_last_thread_goes_on_if_the_others_are_merely_slow(
    threads: list[RequestThread], hang: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_gate, "CONNECT_S", LIMIT_S)
    hang.ended.set()
    first, second, last = threads
    first.enter()
    second.enter()

    last.call()

    assert hang.count == 1


def test_nothing_is_asked_while_calls_are_young(
    threads: list[RequestThread], hang: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_gate, "YOUNG_S", LIMIT_S)
    first, second, last = threads
    first.enter()
    second.enter()

    last.call()

    assert not hang.count


def test_a_thread_that_waits_goes_on_once_another_is_free(
    threads: list[RequestThread], hang: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_gate, "DOUBT_S", LIMIT_S)
    first, second, last = threads
    first.enter()
    second.enter()

    with ThreadPoolExecutor(1) as pool:
        entered = pool.submit(last.enter)
        first.leave()

        assert entered.result(LIMIT_S)
    assert not hang.count


def test_a_call_holds_its_turn_until_its_last_try(
    threads: list[RequestThread], hang: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database refuses, threads sleep between their tries."""
    monkeypatch.setattr(request_gate, "CONNECT_S", LIMIT_S)
    hang.error = StorageUnavailableError("refused")
    hang.ended.set()
    first, second, last = threads
    first.enter()
    second.enter()
    first.pause()
    second.pause()

    with pytest.raises(NotTriedError, match="refused"):
        last.enter()
    assert first.enter()
    first.leave()

    last.call()


def test_a_call_within_a_call_takes_no_turn(threads: list[RequestThread]) -> None:
    first = threads[0]

    assert first.enter()
    assert not first.enter()


def test_other_threads_are_never_refused(
    threads: list[RequestThread], hang: Hang
) -> None:
    """Those of a worker have nobody to answer to."""
    threads[0].enter()
    threads[1].enter()

    with ThreadPoolExecutor(1) as pool:
        gate = threads[0]._gate
        assert not pool.submit(gate.enter).result(LIMIT_S)

    assert not hang.count


def test_a_server_with_one_thread_has_none_to_spare(hang: Hang) -> None:
    gate = RequestGate(Trial(hang))
    only = RequestThread(gate)

    only.call()
    only.call()
    only.close()

    assert not hang.count
