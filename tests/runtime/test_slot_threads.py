"""The threads of a slot pool."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.slots import Slots, SlotThreads
from tests.support.runtimes import LIMIT_S, claimed


class Work:
    """What the threads do: they wait until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.slots = Slots(["default"], 3)
        self.threads = SlotThreads(self.slots, self.run)

    def run(self) -> None:
        self.over.wait(LIMIT_S)
        self.threads.leave()


@pytest.fixture
def work() -> Iterator[Work]:
    found = Work()
    yield found
    found.over.set()
    for thread in found.threads.threads():
        thread.join(LIMIT_S)


def test_threads_start_as_they_are_needed(work: Work) -> None:
    work.threads.staff(1)
    one = len(work.threads.threads())
    work.threads.staff(9)

    assert (one, len(work.threads.threads())) == (1, 3)


def test_idle_threads_are_used_first(work: Work) -> None:
    work.threads.idle = 2

    work.threads.staff(2)

    assert work.threads.threads() == []


def test_a_lost_thread_is_replaced(work: Work) -> None:
    work.threads.staff(3)
    lost, *_ = work.threads.threads()
    assert lost.ident is not None
    run = Execution(claimed(), 0.0)
    work.threads.runs[lost.ident] = run
    work.threads.lose(run)

    work.threads.staff(9)

    assert len(work.threads.threads()) == 4


def test_a_thread_that_has_left_is_not_waited_for(work: Work) -> None:
    work.threads.staff(2)
    threads = work.threads.threads()

    work.over.set()
    for thread in threads:
        thread.join(LIMIT_S)

    assert work.threads.threads() == []


def test_threads_that_cannot_start_are_done_without(
    work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A13"""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    work.threads.staff(1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    work.threads.staff(9)

    assert work.slots.max_runs == 1
    [record] = caplog.records
    assert record.getMessage() == "cannot start more threads; using 1"
    assert record.exc_info is None
