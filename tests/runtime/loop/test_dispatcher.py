"""The thread of the dispatcher; what it does round by round is in test_rounds.py."""

from __future__ import annotations

import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.runtime.loop.dispatcher import LONGEST_ROUND_S, Dispatcher
from flask_forge_jobs.runtime.service import FIRST_S
from tests.support.rounds import RoundsRig as Rig
from tests.support.rounds import finished, known
from tests.support.runtimes import LIMIT_S, QuickTask
from tests.support.waiting import wait_until

# -- the thread ----------------------------------------------------------------------


def test_finish_writes_what_is_left() -> None:
    rig = Rig(QuickTask())
    finished(rig, "a")
    rig.dispatcher.start()

    is_stored = rig.dispatcher.finish(10.0)

    assert is_stored
    assert rig.written == [("a", JobStatus.DONE)]


def test_small_exchanges_in_a_row_leave_room_to_other_writers() -> None:
    rig = Rig(QuickTask())
    rig.jobs.during_exchange = lambda: rig.moving.move(0.003)
    rig.dispatcher.start()

    for count in range(1, 6):
        rig.dispatcher.notify("default")
        wait_until(lambda count=count: len(rig.jobs.demands) == count, "it has claimed")  # type: ignore[misc]
    rig.dispatcher.finish(10.0)

    assert rig.pauses[:3] == pytest.approx([0.002, 0.005, 0.005], rel=1e-3)


def test_finish_tries_again_until_its_time_is_over() -> None:
    rig = Rig(QuickTask())
    finished(rig, "a")
    rig.jobs.error = StorageUnavailableError("gone")
    rig.dispatcher.start()
    wait_until(lambda: rig.rounds.rest.is_resting, "the storage has failed")

    def recover() -> None:
        rig.moving.move(FIRST_S)
        rig.jobs.error = None
        rig.dispatcher.notify()

    recover()

    assert rig.dispatcher.finish(20.0)
    assert rig.written == [("a", JobStatus.DONE)]


def test_finish_tells_what_it_could_not_store() -> None:
    rig = Rig(QuickTask())
    finished(rig, "a")
    rig.jobs.error = StorageUnavailableError("gone")
    rig.dispatcher.start()

    is_stored = rig.dispatcher.finish(0.0)

    assert not is_stored
    assert known(rig) == {"a"}


def test_finish_of_a_dispatcher_that_never_started_returns() -> None:
    assert Rig().dispatcher.finish(10.0)


def test_an_error_of_any_kind_does_not_end_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.jobs.error = ZeroDivisionError("a bug")
    rig.dispatcher.start()
    wait_until(lambda: "the dispatcher failed" in caplog.text, "it failed")
    rig.jobs.error = None

    assert rig.dispatcher.finish(10.0)


def test_an_error_that_ends_other_threads_does_not_end_this_one() -> None:
    rig = Rig()
    rig.jobs.error = SystemExit("enough")
    rig.dispatcher.start()
    wait_until(lambda: rig.rounds.rest.is_resting, "it failed")
    rig.jobs.error = None
    finished(rig)

    assert not rig.dispatcher.is_stuck
    assert rig.dispatcher.finish(10.0)


def test_a_round_that_hangs_is_stuck() -> None:
    rig = Rig()
    seen = []

    def hang() -> None:
        for _ in range(2):
            rig.moving.move(LONGEST_ROUND_S / 2)
            seen.append(rig.dispatcher.is_stuck)
        rig.dispatcher._ends_at = rig.clock.monotonic()

    rig.jobs.during_exchange = hang
    rig.dispatcher._run()

    assert seen == [False, True]
    assert not rig.dispatcher.is_stuck


def test_a_thread_that_is_gone_is_stuck_unless_it_was_asked_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Dispatcher, "_run", lambda _: None)
    rig = Rig()
    before = rig.dispatcher.is_stuck
    rig.dispatcher.start()
    rig.dispatcher._thread.join(LIMIT_S)
    gone = rig.dispatcher.is_stuck
    rig.dispatcher.finish(0.0)

    assert (before, gone, rig.dispatcher.is_stuck) == (False, True, False)
