"""The threads of a slot pool."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flask_forge_jobs.runtime.slots import Crew
from tests.support.runtimes import LIMIT_S, worker_state


class Work:
    """What the threads do: they wait until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.state = worker_state(threads=3)
        self.crew = Crew(self.state, self.run)

    def run(self) -> None:
        self.over.wait(LIMIT_S)
        self.crew.leave()


@pytest.fixture
def work() -> Iterator[Work]:
    found = Work()
    yield found
    found.over.set()
    for thread in found.crew.threads():
        thread.join(LIMIT_S)


def test_threads_start_as_they_are_needed(work: Work) -> None:
    work.crew.staff(1)
    one = len(work.crew.threads())
    work.crew.staff(9)

    assert (one, len(work.crew.threads())) == (1, 3)


def test_idle_threads_are_used_first(work: Work) -> None:
    work.crew.idle = 2

    work.crew.staff(2)

    assert work.crew.threads() == []


def test_a_lost_thread_is_replaced(work: Work) -> None:
    work.crew.staff(3)
    lost, *_ = work.crew.threads()
    assert lost.ident is not None
    work.crew.lose(lost.ident)

    work.crew.staff(9)

    assert len(work.crew.threads()) == 4


def test_a_thread_that_has_left_is_not_waited_for(work: Work) -> None:
    work.crew.staff(2)
    threads = work.crew.threads()

    work.over.set()
    for thread in threads:
        thread.join(LIMIT_S)

    assert work.crew.threads() == []


def test_threads_that_cannot_start_are_done_without(
    work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A13"""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    work.crew.staff(1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    work.crew.staff(9)

    assert work.state.most_runs == 1
    assert "cannot start more threads; using 1" in caplog.text
