from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.runtime.service import Service
from tests.support.runtimes import LIMIT_S

LONG_S = 3600.0
SHORT_S = 0.005


class Counting(Service):
    """Counts its ticks and does what a function says in each."""

    def __init__(self, work: Callable[[int], object], period_s: float) -> None:
        super().__init__("counting", period_s)
        self.count = 0
        self._work = work
        self._ticked = threading.Semaphore(0)

    def tick(self) -> None:
        self.count += 1
        try:
            self._work(self.count)
        finally:
            self._ticked.release()

    def wait_for_ticks(self, count: int) -> None:
        for _ in range(count):
            assert self._ticked.acquire(timeout=LIMIT_S), "no tick came"

    def end(self) -> None:
        self.stop()
        assert self.join(LIMIT_S)


def test_service_ticks_at_once_and_when_it_is_woken() -> None:
    service = Counting(lambda _: None, LONG_S)

    service.start()
    service.wait_for_ticks(1)
    service.wake()
    service.wait_for_ticks(1)
    service.end()

    assert service.count == 2


def test_service_ticks_at_its_period() -> None:
    service = Counting(lambda _: None, SHORT_S)

    service.start()
    service.wait_for_ticks(3)
    service.end()


def test_service_outlives_any_error(caplog: pytest.LogCaptureFixture) -> None:
    """D51: no loop dies of an exception; the next tick comes as if nothing was."""

    def work(count: int) -> None:
        if count == 1:
            raise ZeroDivisionError("first tick")

    service = Counting(work, SHORT_S)

    service.start()
    service.wait_for_ticks(3)
    service.end()

    failures = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in failures] == [
        "counting failed; trying again"
    ]


def test_service_tells_of_a_failing_storage_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    def work(count: int) -> None:
        if count in (1, 2, 3, 5):
            raise StorageUnavailableError("gone")

    service = Counting(work, SHORT_S)

    service.start()
    service.wait_for_ticks(7)
    service.end()

    told = ["counting: storage failed, going on: gone", "counting: storage works again"]
    assert [record.getMessage() for record in caplog.records] == told * 2
    assert not any(record.exc_info for record in caplog.records)


def test_stop_does_not_wait_for_the_period() -> None:
    service = Counting(lambda _: None, LONG_S)
    service.start()
    service.wait_for_ticks(1)

    service.stop()

    assert service.join(LIMIT_S)
    assert not service.is_alive


def test_join_tells_when_a_tick_hangs() -> None:
    release = threading.Event()
    service = Counting(lambda _: release.wait(LIMIT_S), LONG_S)
    service.start()

    service.stop()
    has_ended = service.join(0.01)
    release.set()

    assert not has_ended
    assert service.join(LIMIT_S)


def test_a_service_that_never_started_can_be_stopped() -> None:
    service = Counting(lambda _: None, LONG_S)

    service.stop()

    assert service.join(0.0)
    assert service.count == 0
