"""Figures reach the database once: none is lost or counted twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest

from flask_forge_jobs.errors import StorageOutcomeUnknownError, StorageUnavailableError
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.model.metrics import DAY, LEVELS, MetricKey, Tally
from flask_forge_jobs.storage import flusher
from flask_forge_jobs.storage import flusher as flusher_module
from flask_forge_jobs.storage.flusher import Flusher
from flask_forge_jobs.storage.metrics import FOLD_AFTER_US, SOURCE_US, MetricStore
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.uncommitted import Uncommitted
from tests.support.clocks import SECOND_US, START_US, MovingClock
from tests.support.processes import fork_in_c, in_child
from tests.support.runtimes import LIMIT_S
from tests.support.waiting import wait_until

# Its default limit takes long to fill.
MAX_HELD = 1000
MOMENT_US = START_US + DAY_US // 2


class Store:
    """Keeps rows as the table does, and is away when the test says so."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, MetricKey], Tally] = {}
        self.numbers: dict[str, int] = {}
        self.calls = 0
        self.is_away = False
        self.loses_answer = False
        self.was_called = threading.Event()

    def add(
        self,
        host: str,
        number: int,
        new: Mapping[MetricKey, Tally],
        known: Mapping[MetricKey, Tally],
    ) -> dict[MetricKey, Tally]:
        self.calls += 1
        self.was_called.set()
        if self.is_away:
            raise StorageUnavailableError("away")
        rows: dict[MetricKey, Tally] = {}
        if number > self.numbers.get(host, 0):
            assert number == self.numbers.get(host, 0) + 1
            self.numbers[host] = number
            for key, tally in new.items():
                rows[key] = Tally()
                if (host, key) in self.rows:
                    rows[key].merge(known.get(key, self.rows[host, key]))
                rows[key].merge(tally)
            self.rows.update({(host, key): each for key, each in rows.items()})
        if self.loses_answer:
            raise StorageOutcomeUnknownError
        return rows

    def fold(self, levels: Sequence[int] = LEVELS) -> None:
        """Count every row without its process."""
        for (host, key), tally in list(self.rows.items()):
            if host and key.level in levels:
                self.rows.setdefault(("", key), Tally()).merge(tally)
                del self.rows[host, key]

    def total(self, level: int, queue: str = "", kind: str = "") -> int:
        return sum(
            tally.enqueued
            for (_, key), tally in self.rows.items()
            if (key.level, key.queue_name, key.kind) == (level, queue, kind)
        )

    def hosts(self) -> set[str]:
        return {host for host, _ in self.rows}


class NoAnswer:
    """Jobs in open transactions that nobody can ask for."""

    is_waiting = True

    def count_committed(self) -> None:
        raise StorageUnavailableError("away")


class Rig:
    def __init__(self, uncommitted: NoAnswer | None = None) -> None:
        self.clock = MovingClock(MOMENT_US)
        self.recorder = Recorder(self.clock)
        self.store = Store()
        names = iter(f"host-{n}" for n in range(99))
        self.flusher = Flusher(
            self.recorder,
            cast("MetricStore", self.store),
            self.clock,
            lambda: next(names),
            cast("Uncommitted | None", uncommitted),
        )


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A flusher that flushes only when the test says so."""
    made = Rig()
    made.recorder.on_activity = lambda: None
    yield made
    made.flusher.close()


# -- figures -----------------------------------------------------------------------


def test_every_level_and_every_sum_is_stored(rig: Rig) -> None:
    rig.recorder.enqueued("mail", "send", 3)
    rig.recorder.enqueued("bulk", "pack", 4)

    assert rig.flusher.flush() == len(LEVELS) * 5

    for level in LEVELS:
        assert rig.store.total(level, "mail", "send") == 3
        assert rig.store.total(level, "mail") == 3
        assert rig.store.total(level) == 7


def test_a_bucket_has_one_row(rig: Rig) -> None:
    for _ in range(3):
        rig.recorder.enqueued("mail", "send")
        rig.flusher.flush()
        rig.clock.move(4)

    assert rig.store.total(60) == rig.store.total(DAY) == 3
    assert len([1 for _, key in rig.store.rows if key.level == 60]) == 3  # its sums
    assert rig.flusher.flush() == 0


def test_a_store_that_is_away_loses_nothing(rig: Rig) -> None:
    rig.store.is_away = True
    for _ in range(50):
        rig.recorder.enqueued("mail", "send")
        with pytest.raises(StorageUnavailableError):
            rig.flusher.flush()
        rig.clock.move(7)

    rig.store.is_away = False
    rig.flusher.flush()

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, 50
    )


def test_figures_do_not_wait_for_open_transactions() -> None:
    rig = Rig(NoAnswer())
    rig.recorder.on_activity = lambda: None
    rig.recorder.enqueued("mail", "send")
    with pytest.raises(StorageUnavailableError):
        rig.flusher.flush()

    assert (rig.store.total(DAY), rig.recorder.take()) == (1, {})


def test_a_lost_answer_counts_nothing_twice(rig: Rig) -> None:
    rig.recorder.enqueued("mail", "send")
    rig.store.loses_answer = True
    with pytest.raises(StorageUnavailableError):
        rig.flusher.flush()

    rig.store.loses_answer = False
    rig.recorder.enqueued("mail", "send")
    rig.flusher.flush()

    assert rig.store.total(10) == 2


def test_what_comes_while_the_store_is_slow_joins_its_bucket(rig: Rig) -> None:
    rig.recorder.enqueued("mail", "send")
    add = rig.store.add

    def slow(*write: Any) -> dict[MetricKey, Tally]:
        rig.store.add = add  # type: ignore[method-assign]  # once
        rig.recorder.enqueued("mail", "send")
        rig.clock.move(300)
        return add(*write)

    rig.store.add = slow  # type: ignore[assignment, method-assign]
    rig.flusher.flush()
    rig.flusher.flush()

    assert rig.store.total(10) == 2


def test_rows_of_buckets_that_are_over_are_forgotten(rig: Rig) -> None:
    for _ in range(1000):
        rig.recorder.enqueued("mail", "send")
        rig.flusher.flush()
        rig.clock.move(10)

    # Three sums of each level, and the finest bucket before the present one.
    assert len(rig.flusher._rows) <= 3 * (len(LEVELS) + 2)


def test_a_clock_that_goes_back_loses_nothing(rig: Rig) -> None:
    for seconds in (0, 120, -115, -3, 200):
        rig.clock.move(seconds)
        rig.recorder.enqueued("mail", "send")
        rig.flusher.flush()

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, 5
    )


def test_what_was_folded_meanwhile_is_not_counted_again(rig: Rig) -> None:
    """As when the store was away for so long that others took this process for gone."""
    rig.recorder.enqueued("mail", "send")
    rig.flusher.flush()
    rig.store.is_away = True
    for _ in range(8):
        rig.recorder.enqueued("mail", "send")
        with pytest.raises(StorageUnavailableError):
            rig.flusher.flush()
        rig.clock.move(200)
    rig.store.is_away = False
    rig.store.fold()

    for jobs in range(9, 12):
        rig.flusher.flush()
        assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
            LEVELS, jobs
        )
        rig.recorder.enqueued("mail", "send")


def test_a_row_that_began_anew_is_added_to_and_folded_like_any_other(rig: Rig) -> None:
    for _ in range(9):
        for _ in range(3):
            rig.recorder.enqueued("mail", "send")
            rig.flusher.flush()
        rig.store.fold()

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, 27
    )
    assert rig.store.hosts() == {""}


@pytest.mark.parametrize("written_before", [0, 1])
@pytest.mark.parametrize(
    ("minutes", "folded"), [(5, ()), (12, LEVELS[:2]), (21, LEVELS)]
)
def test_what_was_folded_after_its_answer_was_lost_is_not_counted_again(
    rig: Rig, minutes: int, folded: Sequence[int], written_before: int
) -> None:
    for _ in range(written_before):
        rig.recorder.enqueued("mail", "send")
        rig.flusher.flush()
    rig.recorder.enqueued("mail", "send")
    rig.store.loses_answer = True
    with pytest.raises(StorageOutcomeUnknownError):
        rig.flusher.flush()
    rig.clock.move(60 * minutes)
    rig.store.fold(folded)
    rig.store.loses_answer = False

    rig.recorder.enqueued("mail", "send")
    rig.flusher.flush()

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, written_before + 2
    )


def test_nothing_counts_twice_while_all_is_stored_and_no_answer_comes(rig: Rig) -> None:
    """As with a standby that is lost: the commits are kept and not confirmed."""
    rig.store.loses_answer = True
    for _ in range(5):
        rig.recorder.enqueued("mail", "send")
        with pytest.raises(StorageOutcomeUnknownError):
            rig.flusher.flush()
        rig.clock.move((SOURCE_US + FOLD_AFTER_US) / SECOND_US)
        rig.store.fold()
    rig.store.loses_answer = False
    rig.flusher.flush()

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, 5
    )


def test_a_first_write_with_an_unknown_outcome_that_was_not_stored_is_repeated(
    rig: Rig,
) -> None:
    rig.recorder.enqueued("mail", "send")
    rig.store.loses_answer = True
    with pytest.raises(StorageOutcomeUnknownError):
        rig.flusher.flush()
    rig.store.rows.clear()
    rig.store.numbers.clear()
    rig.store.loses_answer = False

    rig.recorder.enqueued("mail", "send")
    rig.flusher.flush()

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, 2
    )


def test_statements_that_were_stored_are_not_repeated_for_one_that_was_not(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "PUT_ROWS", 1)
    add = rig.store.add

    def fail_at_second(*write: Any) -> dict[MetricKey, Tally]:
        rows = add(*write)
        rig.store.is_away = True
        return rows

    for _ in range(3):
        rig.recorder.enqueued("mail", "send")
        with monkeypatch.context() as patch:
            patch.setattr(rig.store, "add", fail_at_second)
            with pytest.raises(StorageUnavailableError):
                rig.flusher.flush()
        rig.store.fold()
        rig.store.is_away = False
    rig.flusher.flush()

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, 3
    )


def test_a_process_takes_a_new_source_from_time_to_time(rig: Rig) -> None:
    """So that the rows of the old one can be folded although the day is not over."""
    for _ in range(30):
        rig.recorder.enqueued("mail", "send")
        rig.flusher.flush()
        rig.clock.move(SOURCE_US / SECOND_US / 10)

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, 30
    )
    assert rig.store.hosts() == {"host-0", "host-1", "host-2"}


def test_a_process_that_was_idle_takes_a_new_source_at_once(rig: Rig) -> None:
    for _ in range(2):
        rig.recorder.enqueued("mail", "send")
        rig.flusher.flush()
        rig.clock.move(3 * SOURCE_US / SECOND_US)

    assert rig.store.total(DAY) == 2
    assert rig.store.hosts() == {"host-0", "host-1"}


def test_no_new_source_is_taken_before_the_old_one_is_stored(rig: Rig) -> None:
    rig.recorder.enqueued("mail", "send")
    rig.flusher.flush()
    rig.store.loses_answer = True
    for _ in range(5):
        rig.recorder.enqueued("mail", "send")
        with pytest.raises(StorageUnavailableError):
            rig.flusher.flush()
        rig.clock.move(SOURCE_US / SECOND_US)
    assert rig.store.hosts() == {"host-0"}
    rig.store.loses_answer = False

    for _ in range(2):
        rig.recorder.enqueued("mail", "send")
        rig.flusher.flush()

    assert {level: rig.store.total(level) for level in LEVELS} == dict.fromkeys(
        LEVELS, 8
    )
    assert rig.store.hosts() == {"host-0", "host-1"}


def test_memory_is_bounded_while_the_store_is_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "MAX_HELD", MAX_HELD)
    rig.store.is_away = True
    for _ in range(MAX_HELD // 100):
        for number in range(100):
            rig.recorder.enqueued("mail", f"kind-{number}")
        with pytest.raises(StorageUnavailableError):
            rig.flusher.flush()
        rig.clock.move(10)
    rig.store.is_away = False

    assert len(rig.flusher._new) <= MAX_HELD
    rig.flusher.flush()
    assert rig.store.total(DAY) == MAX_HELD


# -- the thread --------------------------------------------------------------------


def test_no_thread_runs_before_there_is_something_to_store() -> None:
    rig = Rig()

    states = [rig.flusher.is_running]
    rig.recorder.enqueued("mail", "send")
    states.append(rig.flusher.is_running)
    rig.flusher.close()
    states.append(rig.flusher.is_running)

    assert states == [False, True, False]


def test_the_thread_stores_within_seconds() -> None:
    rig = Rig()
    rig.recorder.enqueued("mail", "send")

    wait_until(lambda: rig.store.total(10) == 1, "stored")
    rig.flusher.close()


def test_closing_stores_the_rest_at_once() -> None:
    rig = Rig()
    rig.recorder.enqueued("mail", "send")

    rig.flusher.close()

    assert rig.store.total(10) == 1


def test_closing_stores_what_no_thread_could_be_started_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As at the end of an interpreter."""
    rig = Rig()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        rig.recorder.enqueued("mail", "send")

    rig.flusher.close()

    assert rig.store.total(10) == 1


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_use_after_closing_stores_again() -> None:
    rig = Rig()
    for _ in range(3):
        rig.recorder.enqueued("mail", "send")
        rig.flusher.close()

    assert rig.store.total(10) == 3


def test_closing_does_not_wait_for_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flusher, "PERIOD_S", 2 * LIMIT_S)  # once, as it closes
    rig = Rig()
    rig.store.is_away = True
    rig.recorder.enqueued("mail", "send")

    rig.flusher.close()

    assert not rig.flusher.is_running
    assert rig.store.calls == 1


def test_closing_leaves_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "LAST_WRITE_S", 0.05)
    rig, over = Rig(), threading.Event()
    monkeypatch.setattr(rig.store, "add", lambda *_: over.wait(LIMIT_S) and {})
    rig.recorder.enqueued("mail", "send")

    rig.flusher.close()

    assert rig.flusher.is_running
    over.set()
    wait_until(lambda: not rig.flusher.is_running, "it has ended")


def test_an_error_that_nobody_thought_of_ends_no_thread_and_spins_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flusher, "PERIOD_S", 2 * LIMIT_S)  # once, as it closes
    rig = Rig()
    calls: list[None] = []

    def fail(*_: object) -> dict[MetricKey, Tally]:
        calls.append(None)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "add", fail)
        rig.recorder.enqueued("mail", "send")
        rig.flusher.close()
    rig.recorder.enqueued("mail", "send")
    rig.flusher.close()

    assert len(calls) == 1
    assert rig.store.total(10) == 2


def test_what_comes_while_it_closes_is_stored_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A thread that was begun meanwhile ends by itself.
    monkeypatch.setattr(flusher_module, "IDLE_S", 1.0)
    rig = Rig()
    add = rig.store.add

    def use_again(*write: Any) -> dict[MetricKey, Tally]:
        rig.store.add = add  # type: ignore[method-assign]  # once
        rig.recorder.enqueued("mail", "send")
        return add(*write)

    rig.store.add = use_again  # type: ignore[assignment, method-assign]
    rig.recorder.enqueued("mail", "send")
    rig.flusher.close()
    rig.flusher.close()

    assert rig.store.total(10) == 2
    assert not rig.flusher.is_running


def test_the_thread_goes_on_when_the_store_was_away() -> None:
    rig = Rig()
    rig.store.is_away = True
    rig.recorder.enqueued("mail", "send")
    assert rig.store.was_called.wait(LIMIT_S)
    rig.store.is_away = False

    wait_until(lambda: rig.store.total(10) == 1, "stored")
    rig.flusher.close()


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
def test_a_child_has_a_thread_and_rows_of_its_own(fork: Callable[[], int]) -> None:
    rig = Rig()
    rig.recorder.enqueued("mail", "send")
    rig.flusher.flush()
    assert rig.flusher.is_running

    def count() -> None:
        rig.store.rows.clear()
        rig.recorder.enqueued("mail", "send")
        assert rig.flusher.is_running
        rig.flusher.close()
        assert (rig.store.total(10), rig.store.hosts()) == (1, {"host-1"})

    assert in_child(count, fork) == 0
    rig.flusher.close()
