"""A flag that a signal handler may use amid its own use."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_forge_jobs.reentry import Flag
from tests.support.costs import no_hang
from tests.support.runtimes import LIMIT_S


def test_a_flag_lets_those_who_wait_go_on() -> None:
    flag = Flag()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(flag.wait, LIMIT_S) for _ in range(2)]
        flag.set()

        assert [each.result() for each in waiting] == [True, True]
    assert flag.is_set()
    assert flag.wait(0.0)


def test_a_flag_that_is_cleared_is_waited_for_again() -> None:
    flag = Flag()
    flag.set()
    flag.clear()

    assert not flag.is_set()
    assert not flag.wait(0.001)


def test_a_handler_may_set_a_flag_that_is_being_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would wait for ever within an event of the library."""
    flag = Flag()
    notify_all = threading.Condition.notify_all

    def interrupted(condition: threading.Condition) -> None:
        monkeypatch.undo()
        flag.set()
        notify_all(condition)

    monkeypatch.setattr(threading.Condition, "notify_all", interrupted)
    with no_hang():
        flag.set()

    assert flag.is_set()
