from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.runtime.service import (
    FIRST_S,
    LONGEST_S,
    Backoff,
    Duty,
    Service,
    Watch,
)
from tests.support.clocks import MovingClock
from tests.support.runtimes import LIMIT_S

LONG_S = 3600.0
SHORT_S = 0.005


class Counting(Duty):
    """Counts its ticks and does what a function says in each."""

    def __init__(
        self, work: Callable[[int], bool | None], period_s: float, **options: Any
    ) -> None:
        super().__init__("counting", period_s, **options)
        self.count = 0
        self._work = work
        self._ticked = threading.Semaphore(0)
        self._service = Service(self)
        self.start, self.stop = self._service.start, self._service.stop
        self.join = self._service.join

    def tick(self) -> bool | None:
        self.count += 1
        try:
            return self._work(self.count)
        finally:
            self._ticked.release()

    def wait_for_ticks(self, count: int) -> None:
        for _ in range(count):
            assert self._ticked.acquire(timeout=LIMIT_S), "no tick came"

    def end(self) -> None:
        self.stop()
        assert self.join(LIMIT_S)


def test_service_ticks_at_once_and_not_before_its_period() -> None:
    service = Counting(lambda _: None, LONG_S)

    service.start()
    service.wait_for_ticks(1)
    service.end()

    assert service.count == 1


def test_each_duty_of_a_service_has_its_own_period_and_errors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first one wakes the last one; the one between fails."""
    last = Counting(lambda _: None, LONG_S, begins_late=True)

    def fail(_: int) -> None:
        raise ZeroDivisionError

    def wake(count: int) -> None:
        if count == 2:
            last.wake()

    first = Counting(wake, SHORT_S)
    failing = Counting(fail, LONG_S)
    service = Service(first, failing, last)

    service.start()
    last.wait_for_ticks(1)
    first.wait_for_ticks(3)
    service.stop()
    assert service.join(LIMIT_S)

    assert (failing.count, last.count) == (1, 1)
    assert caplog.text.count("counting failed") == 1


def test_a_stop_lets_no_other_duty_begin() -> None:
    never = Counting(lambda _: None, LONG_S)
    first = Counting(lambda _: service.stop(), LONG_S)
    service = Service(first, never)

    service.start()

    assert service.join(LIMIT_S)
    assert (first.count, never.count) == (1, 0)


def test_service_ticks_at_its_period() -> None:
    service = Counting(lambda _: None, SHORT_S)

    service.start()
    service.wait_for_ticks(3)
    service.end()


def test_service_outlives_any_error(caplog: pytest.LogCaptureFixture) -> None:
    """No loop dies of an exception, of whatever class."""

    def work(count: int) -> None:
        if count == 1:
            raise ZeroDivisionError("first tick")
        if count == 2:
            raise SystemExit(3)

    service = Counting(work, SHORT_S)

    service.start()
    service.wait_for_ticks(3)
    service.end()

    failures = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in failures] == [
        "counting failed; retrying in 0.005 s",
        "counting failed; retrying in 0.01 s",
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

    told = ["counting: storage failed, retrying: gone", "counting: storage works again"]
    assert [record.getMessage() for record in caplog.records] == told * 2


def test_a_tick_without_the_storage_does_not_say_that_it_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    def work(count: int) -> bool:
        if count == 1:
            raise StorageUnavailableError("gone")
        return count > 2

    duty = Counting(work, LONG_S)

    duty.attempt()
    duty.attempt()
    told = [record.getMessage() for record in caplog.records]
    duty.attempt()

    assert told == ["counting: storage failed, retrying: gone"]
    assert caplog.records[-1].getMessage() == "counting: storage works again"
    assert not any(record.exc_info for record in caplog.records)


def test_stop_does_not_wait_for_the_period() -> None:
    service = Counting(lambda _: None, LONG_S)
    service.start()
    service.wait_for_ticks(1)

    service.stop()

    assert service.join(LIMIT_S)


def test_join_tells_when_a_tick_hangs() -> None:
    began, release = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        began.set()
        release.wait(LIMIT_S)

    service = Counting(hang, LONG_S)
    service.start()
    assert began.wait(LIMIT_S)

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


@pytest.mark.parametrize(
    ("period_s", "longest_s", "pauses_s"),
    [
        (1.0, 30.0, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
        (15.0, 30.0, [15.0, 30.0, 30.0]),
        (300.0, 30.0, [300.0, 300.0]),
        (1.0, 0.0, [1.0, 1.0, 1.0]),
    ],
)
def test_errors_put_the_next_tick_off(
    period_s: float, longest_s: float, pauses_s: list[float]
) -> None:
    def work(count: int) -> None:
        if count != len(pauses_s) + 1:
            raise ZeroDivisionError(count)

    service = Counting(work, period_s, longest_backoff_s=longest_s)

    assert [service.attempt() for _ in pauses_s] == pauses_s
    # One success, and it begins anew.
    assert [service.attempt() for _ in range(2)] == [period_s, period_s]


def test_a_failing_storage_puts_nothing_off() -> None:
    def work(count: int) -> None:
        raise StorageUnavailableError(f"gone {count}")

    service = Counting(work, 1.0)

    assert [service.attempt() for _ in range(5)] == [1.0] * 5


def test_the_age_is_that_of_the_last_tick_that_succeeded() -> None:
    clock = MovingClock()

    def work(count: int) -> None:
        if count == 2:
            raise StorageUnavailableError("gone")
        if count == 3:
            raise ZeroDivisionError

    service = Counting(work, 1.0, clock=clock)
    ages_s = []
    for _ in range(4):
        clock.move(10)
        service.attempt()
        ages_s.append(service.age.age_s)

    assert ages_s == [0, 10, 20, 0]


def test_a_late_beginner_waits_a_period() -> None:
    service = Counting(lambda _: None, LONG_S, begins_late=True)

    service.begin()
    before = service.wait_s
    service.wake()

    assert LONG_S - LIMIT_S < before <= LONG_S
    assert service.wait_s == 0.0


def test_all_duties_of_a_service_may_begin_later() -> None:
    duty = Counting(lambda _: None, LIMIT_S)
    late = Counting(lambda _: None, LONG_S, begins_late=True)
    service = Service(duty, late, delay_s=LONG_S / 2)

    service.start()
    waits_s = (duty.wait_s, late.wait_s)
    service.stop()

    assert service.join(LIMIT_S)
    assert LONG_S / 2 - LIMIT_S < waits_s[0] <= LONG_S / 2
    assert LONG_S - LIMIT_S < waits_s[1] <= LONG_S
    assert duty.count == late.count == 0


def test_a_late_beginner_may_be_stopped_before_it_begins() -> None:
    service = Counting(lambda _: None, LONG_S, begins_late=True)
    service.start()

    service.end()

    assert service.count == 0


def test_the_thread_cleans_up_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    class Cleaning(Counting):
        def finish(self) -> None:
            self.count = -1
            raise StorageUnavailableError("gone too")

    service = Cleaning(lambda _: None, SHORT_S)
    service.start()
    service.wait_for_ticks(1)

    service.end()

    assert service.count == -1
    assert caplog.records == []


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (Backoff(), [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_S, LONGEST_S]),
        (Backoff(0.5), [0.5, 1.0, 2.0]),
        (Backoff(15.0), [15.0, 30.0, 30.0]),
        (Backoff(300.0), [300.0, 300.0]),
        (Backoff(2.0, 0.0), [2.0, 2.0, 2.0]),
    ],
    ids=["default", "first", "longest", "first above the longest", "never longer"],
)
def test_each_failure_doubles_the_pause_up_to_a_bound(
    backoff: Backoff, pauses: list[float]
) -> None:
    assert [backoff.fail() for _ in pauses] == pauses
    assert backoff.pause_s == pauses[-1]


def test_a_success_starts_anew() -> None:
    backoff = Backoff()
    backoff.fail()
    backoff.fail()

    backoff.reset()

    assert backoff.pause_s == 0.0
    assert backoff.fail() == FIRST_S


LONGEST_S = 10.0


@pytest.fixture
def watch(clock: MovingClock) -> Watch:
    return Watch(clock, LONGEST_S)


def test_a_turn_that_takes_too_long_is_stuck(watch: Watch, clock: MovingClock) -> None:
    watch.began_at = clock.monotonic()
    clock.move(LONGEST_S - 0.1)
    before = watch.is_stuck
    clock.move(0.2)
    during = watch.is_stuck
    watch.began_at = None

    assert (before, during, watch.is_stuck) == (False, True, False)


def test_turns_that_only_fail_are_stuck(watch: Watch, clock: MovingClock) -> None:
    watch.began_at = clock.monotonic()
    watch.fail()
    clock.move(LONGEST_S - 0.1)
    watch.fail()
    before = watch.is_stuck
    clock.move(0.1)
    stuck = watch.is_stuck
    watch.broken_since = None

    assert (before, stuck, watch.is_stuck) == (False, True, False)


def test_whoever_waits_between_two_turns_is_not_stuck(
    watch: Watch, clock: MovingClock
) -> None:
    watch.began_at = clock.monotonic()
    watch.began_at = None
    clock.move(LONGEST_S)

    assert not watch.is_stuck
