from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from flask_forge_jobs.runtime.foreground import (
    CHILD_REPEAT_S,
    EXIT_AT_ONCE,
    HURRY,
    StopSignals,
)
from tests.support.clocks import MovingClock
from tests.support.commands import ROOT
from tests.support.leaks import assert_leaks_nothing
from tests.support.processes import in_child

LIMIT_S = 30.0


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_a_request_to_stop(number: signal.Signals) -> None:
    with StopSignals() as signals:
        before = signals.is_stopping
        os.kill(os.getpid(), number)
        signals.wait(LIMIT_S)

        assert not before
        assert signals.is_stopping


def test_a_child_that_a_task_forks_is_ended_by_sigterm() -> None:
    with StopSignals() as signals:
        status = in_child(lambda: os.kill(os.getpid(), signal.SIGTERM))

        assert status == -signal.SIGTERM
        assert not signals.is_stopping


def test_a_signal_before_the_wait_ends_it_at_once() -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)

        assert signals.wait(LIMIT_S) == []
        assert signals.is_stopping


def test_wait_returns_when_the_time_has_passed() -> None:
    with StopSignals() as signals:
        assert signals.wait(0.01) == []
        assert not signals.is_stopping


def test_wait_names_the_descriptors_that_are_ready() -> None:
    reader, writer = os.pipe()
    with StopSignals() as signals:
        os.close(writer)

        assert signals.wait(LIMIT_S, [reader]) == [reader]
    os.close(reader)


def test_handlers_and_descriptors_are_restored() -> None:
    """F8: whoever had a handler has it again."""

    def handler(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGTERM, handler)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    descriptor_before = signal.set_wakeup_fd(writer)
    try:
        with StopSignals(watch_children=True):
            during = signal.getsignal(signal.SIGTERM)
        after = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
        descriptor_after = signal.set_wakeup_fd(descriptor_before)
        os.close(reader)
        os.close(writer)

    assert during is not handler
    assert after is handler
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
    assert descriptor_after == writer


def test_signals_that_are_not_watched_any_more_leave_nothing_open() -> None:
    def watch() -> None:
        with StopSignals(watch_children=True):
            pass

    assert_leaks_nothing(watch)


def test_the_second_signal_ends_the_process() -> None:
    finished = run(
        """
        import os, signal
        from flask_forge_jobs.runtime.foreground import REPEAT_S, StopSignals
        from tests.support.clocks import MovingClock
        clock = MovingClock()
        called = lambda: os.write(1, b"called")
        with StopSignals(at_once=called, clock=clock) as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            signals.wait(30)
            clock.move(REPEAT_S)
            os.kill(os.getpid(), signal.SIGINT)
            signals.wait(30)
        os.write(1, b"never")
        """
    )

    assert (finished.returncode, finished.stdout) == (EXIT_AT_ONCE, "called")


def test_a_terminal_that_hangs_up_hurries_nothing() -> None:
    clock = MovingClock()
    with StopSignals(clock=clock) as signals:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            signals.wait(LIMIT_S)
            clock.move(CHILD_REPEAT_S)

        assert signals.is_stopping
        assert not signals.is_hurried


@pytest.mark.parametrize(
    "then", ["os.kill(os.getpid(), signal.SIGHUP)", "signals.leave_terminal()"]
)
def test_a_task_may_print_once_its_terminal_has_closed(then: str) -> None:
    finished = run(
        f"""
        import os, signal
        from flask_forge_jobs.runtime.foreground import StopSignals

        ours, terminal = os.openpty()
        os.dup2(terminal, 1)
        with StopSignals() as signals:
            print("seen", flush=True)
            os.close(ours)
            {then}
            print("dropped", flush=True)
        os.write(2, b"went on")
        """
    )

    assert (finished.returncode, finished.stderr) == (0, "went on")


def test_a_terminal_that_closes_stops_a_process_without_free_descriptors() -> None:
    finished = run(
        """
        import os, resource, signal
        from flask_forge_jobs.runtime.foreground import StopSignals

        ours, terminal = os.openpty()
        os.dup2(terminal, 1)
        with StopSignals() as signals:
            os.close(ours)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
            os.kill(os.getpid(), signal.SIGHUP)
            os.write(2, b"stops" if signals.is_stopping else b"goes on")
        """
    )

    assert finished.stderr.startswith("stops")


def test_a_terminal_that_is_open_is_still_written_to() -> None:
    finished = run(
        """
        import os, signal
        from flask_forge_jobs.runtime.foreground import StopSignals

        ours, terminal = os.openpty()
        os.dup2(terminal, 1)
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            print("seen", flush=True)
        os.write(2, os.read(ours, 4))
        """
    )

    assert (finished.returncode, finished.stderr) == (0, "seen")


def test_a_program_under_nohup_goes_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            signals.wait(0.0)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert not signals.is_stopping


def test_the_second_signal_ends_it_whatever_is_called_first() -> None:
    finished = run(
        """
        import os, signal
        from flask_forge_jobs.runtime.foreground import REPEAT_S, StopSignals
        from tests.support.clocks import MovingClock
        clock = MovingClock()
        with StopSignals(at_once=lambda: 1 / 0, clock=clock) as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            clock.move(REPEAT_S)
            os.kill(os.getpid(), signal.SIGTERM)
        """
    )

    assert finished.returncode == EXIT_AT_ONCE


def test_the_third_signal_ends_a_process_that_does_something_at_the_second() -> None:
    finished = run(
        """
        import os, signal
        from flask_forge_jobs.runtime.foreground import REPEAT_S, StopSignals
        from tests.support.clocks import MovingClock
        clock = MovingClock()
        with StopSignals(clock=clock) as signals:
            signals.at_second = lambda: os.write(1, b"second ")
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                clock.move(REPEAT_S)
            os.write(1, b"hurried" if signals.is_hurried else b"not")
            os.kill(os.getpid(), signal.SIGTERM)
        os.write(1, b"never")
        """
    )

    assert (finished.returncode, finished.stdout) == (EXIT_AT_ONCE, "second hurried")


@pytest.mark.parametrize("before", [[], [signal.SIGTERM]])
def test_one_of_several_hears_its_parent_at_any_time(
    before: list[signal.Signals],
) -> None:
    calls: list[bool] = []
    with StopSignals(has_parent=True) as signals:
        signals.at_second = lambda: calls.append(True)
        for number in (*before, HURRY):
            os.kill(os.getpid(), number)
        signals.wait(LIMIT_S)

        assert (signals.is_stopping, signals.is_hurried, calls) == (True, True, [True])


@pytest.mark.parametrize("has_parent", [False, True])
def test_a_repeat_within_its_time_is_the_same_wish(*, has_parent: bool) -> None:
    finished = run(
        f"""
        import os, signal
        from flask_forge_jobs.runtime import foreground
        from tests.support.clocks import MovingClock
        clock = MovingClock()
        repeat_s = foreground.{"CHILD_REPEAT_S" if has_parent else "REPEAT_S"}
        with foreground.StopSignals(has_parent={has_parent}, clock=clock):
            os.kill(os.getpid(), signal.SIGTERM)
            clock.move(repeat_s / 2)
            os.kill(os.getpid(), signal.SIGTERM)
            os.write(1, b"goes on")
            clock.move(repeat_s / 2)
            os.kill(os.getpid(), signal.SIGTERM)
        os.write(1, b"never")
        """
    )

    assert (finished.returncode, finished.stdout) == (EXIT_AT_ONCE, "goes on")


def test_what_signals_the_program_and_then_its_group_has_one_wish() -> None:
    """As ``timeout`` does; the system merges the two only now and then."""
    clock = MovingClock()
    calls: list[bool] = []
    with StopSignals(clock=clock) as signals:
        signals.at_second = lambda: calls.append(True)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            clock.move(0.01)

        assert (signals.is_stopping, signals.is_hurried, calls) == (True, False, [])


def test_work_returns_as_soon_as_it_is_done() -> None:
    ran_on: list[threading.Thread] = []
    with StopSignals() as signals:
        signals.wait_during(lambda: ran_on.append(threading.current_thread()))

    assert ran_on != [threading.main_thread()]


def test_work_that_fails_tells_why() -> None:
    with StopSignals() as signals, pytest.raises(ZeroDivisionError):
        signals.wait_during(lambda: 1 / 0)


def test_the_second_signal_ends_it_in_the_midst_of_work() -> None:
    """The system may hand it to another thread, which does not wake the main one."""
    finished = run(
        """
        import signal, threading
        from flask_forge_jobs.runtime.foreground import REPEAT_S, StopSignals
        from tests.support.clocks import MovingClock
        clock = MovingClock()

        def work():
            for _ in range(2):
                signal.pthread_kill(threading.get_ident(), signal.SIGINT)
                while not signals.is_stopping:
                    pass
                clock.move(REPEAT_S)
            threading.Event().wait(300)

        with StopSignals(clock=clock) as signals:
            signals.wait_during(work)
        """
    )

    assert finished.returncode == EXIT_AT_ONCE, finished.stderr


def test_the_end_of_a_child_wakes_the_watcher() -> None:
    finished = run(
        """
        import subprocess, sys
        from flask_forge_jobs.runtime.foreground import StopSignals
        with StopSignals(watch_children=True) as signals:
            child = subprocess.Popen([sys.executable, "-c", ""])
            while child.poll() is None:
                signals.wait(None)
            assert not signals.is_stopping
        """
    )

    assert finished.returncode == 0, finished.stderr
