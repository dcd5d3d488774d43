"""The parent of several processes; here the children are small scripts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.variables import CHILD_VARIABLE
from flask_forge_jobs.runtime.children import (
    EXIT_GAVE_UP,
    HEALTHY_AFTER_S,
    LONGEST_BACKOFF_S,
    MAX_RESTARTS,
    Children,
    _ChildState,
    own_command,
)
from tests.support.clocks import MovingClock
from tests.support.commands import ROOT
from tests.support.programs import Program

PARENT = """
import sys
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.runtime import children
{prelude}
command = [sys.executable, "-c", sys.argv[1]]
parent = children.Children(
    command, count={count}, grace_s={grace_s}, clock=SystemClock()
)
sys.exit(parent.run())
"""


@contextlib.contextmanager
def started(
    folder: Path, child: str, *, count: int = 1, grace_s: float = 5.0, prelude: str = ""
) -> Iterator[Program]:
    script = PARENT.format(count=count, grace_s=grace_s, prelude=prelude)
    program = Program(
        [sys.executable, "-c", script, textwrap.dedent(child)],
        environ=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        folder=folder,
    )
    try:
        yield program
    finally:
        program.end()


OBEYING = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"SIGNALLED\\n"))
number, pipe = os.environ["FORGE_JOBS_CHILD"], os.environ["FORGE_JOBS_PARENT_PIPE"]
os.write(1, f"CHILD {number} {os.getsid(0) == os.getpid()}\\n".encode())
os.read(int(pipe), 1)
os.write(1, f"LET GO {number}\\n".encode())
"""


def test_children_have_numbers_and_sessions_of_their_own(tmp_path: Path) -> None:
    with started(tmp_path, OBEYING, count=2) as parent:
        parent.wait_for("CHILD", 2)
        status = parent.stop()

        assert status == 0
        assert sorted(parent.lines_with("CHILD")) == ["CHILD 0 True", "CHILD 1 True"]
        assert sorted(parent.lines_with("LET GO")) == ["LET GO 0", "LET GO 1"]
        assert parent.lines_with("SIGNALLED") == []


def test_the_pipe_closes_when_the_parent_is_killed(tmp_path: Path) -> None:
    with started(tmp_path, OBEYING, count=2) as parent:
        parent.wait_for("CHILD", 2)

        parent.signal(signal.SIGKILL)

        parent.wait_for("LET GO", 2)


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    with started(
        tmp_path,
        """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("CHILD", flush=True)
        while True:
            signal.pause()
        """,
        grace_s=0.1,
        prelude="children.KILL_SLACK_S = 0.2",
    ) as parent:
        parent.wait_for("CHILD")

        assert parent.stop() == 0
        assert "did not stop; killed" in parent.text


def test_children_that_keep_ending_are_given_up(tmp_path: Path) -> None:
    with started(
        tmp_path,
        "raise SystemExit(3)",
        prelude="children.MAX_RESTARTS = 3; children.MAX_RESTARTS_PER_CHILD = 0; "
        "children.FIRST_BACKOFF_S = children.LONGEST_BACKOFF_S = 0.01",
    ) as parent:
        assert parent.wait() == EXIT_GAVE_UP
        assert "worker processes keep ending; giving up" in parent.text


def test_a_command_that_cannot_start_is_tried_again_and_given_up(
    tmp_path: Path,
) -> None:
    """No process is left on the machine, for instance; the others go on meanwhile."""
    with started(
        tmp_path,
        "",
        prelude="children.MAX_RESTARTS = 2; children.MAX_RESTARTS_PER_CHILD = 0; "
        "children.FIRST_BACKOFF_S = 0.01; sys.executable = '/nowhere'",
    ) as parent:
        assert parent.wait() == EXIT_GAVE_UP
        assert len(parent.lines_with("cannot start worker process 0")) == 3
        assert "Traceback" not in parent.text


# -- the pauses ----------------------------------------------------------------------


@pytest.fixture
def family() -> tuple[Children, MovingClock]:
    clock = MovingClock()
    return Children(["true"], count=1, grace_s=1.0, clock=clock), clock


def test_each_restart_comes_later_up_to_a_limit(
    family: tuple[Children, MovingClock],
) -> None:
    parent, clock = family
    (child,) = parent._children
    pauses = []

    for _ in range(8):
        child.started_at = clock.monotonic()
        clock.move(0.1)
        parent._note_end(child, 1, clock.monotonic())
        pauses.append(round(child.not_before - clock.monotonic(), 3))

    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, LONGEST_BACKOFF_S]


def test_a_child_that_lived_long_is_replaced_at_once(
    family: tuple[Children, MovingClock],
) -> None:
    parent, clock = family
    (child,) = parent._children
    for _ in range(10):
        child.backoff.fail()
    child.started_at = clock.monotonic()

    clock.move(HEALTHY_AFTER_S)
    parent._note_end(child, -9, clock.monotonic())

    assert child.not_before - clock.monotonic() == 0.5


def test_no_child_is_started_after_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the children of a machine start, one after the other."""
    parent = Children(["true"], count=3, grace_s=1.0, clock=MovingClock())
    begun: list[int] = []

    def start(_: Children, child: _ChildState, *more: float) -> None:
        del more
        begun.append(child.number)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Children, "_start", start)

    assert parent.run() == 0
    assert begun == [0]


def restarts_allowed(count: int, window_s: float) -> int:
    parent = Children(["true"], count=count, grace_s=1.0, clock=SystemClock())
    allowed = 0
    while parent._may_restart(allowed * window_s):
        allowed += 1
        if allowed > 1000:
            break
    return allowed


def test_restarts_are_limited_within_a_window() -> None:
    assert restarts_allowed(1, 0.0) == MAX_RESTARTS
    assert restarts_allowed(1, 10.0) > 1000


def test_one_cause_may_end_many_children_at_once() -> None:
    """64 of them killed for want of memory are no reason to give up."""
    assert restarts_allowed(64, 0.0) >= 2 * 64


# -- the command ---------------------------------------------------------------------


def test_own_command_repeats_a_module(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from flask_forge_jobs.runtime.children import own_command\n"
        "print(own_command()[1:])\n"
    )
    environ = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}

    def output(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments, "--flag"],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert output("-m", "program") == "['-m', 'program', '--flag']\n"
    assert output("program.py") == "['program.py', '--flag']\n"
    assert own_command()[0] == sys.executable
    assert CHILD_VARIABLE == "FORGE_JOBS_CHILD"
