"""What happens around a fork, and what a child begins anew."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_forge_jobs import forks
from flask_forge_jobs.forks import PID, PerProcess, own_pid
from tests.support.processes import Child, fork_in_c, in_child
from tests.support.threads import run_together


class Door:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def before_fork(self, ends_at: float) -> None:
        self.told.append("closed" if ends_at > 0 else "too late")

    def after_fork_in_parent(self) -> None:
        self.told.append("opened")


class Counter(PerProcess):
    """Counts how often it began."""

    def __init__(self) -> None:
        self.begins = 0
        self.stay_own()

    def _begin(self) -> None:
        self.begins += 1


@pytest.fixture
def door() -> Door:
    watched = Door()
    forks.watch(watched)
    return watched


def test_everything_is_put_away_for_the_time_of_a_fork(door: Door) -> None:
    def look() -> None:
        assert door.told == ["closed"]

    assert in_child(look) == 0
    assert door.told == ["closed", "opened"]


def test_a_child_can_fork_as_well(door: Door) -> None:
    def look() -> None:
        assert in_child(lambda: None) == 0
        assert door.told == ["closed", "closed", "opened"]

    assert in_child(look) == 0


def test_a_fork_within_the_wait_of_another_changes_nothing(door: Door) -> None:
    """A signal may come, and its handler may fork."""
    forks._forks.before()
    assert in_child(lambda: None) == 0
    assert door.told == ["closed"]
    forks._forks.after_in_parent()

    assert door.told == ["closed", "opened"]
    assert in_child(lambda: None) == 0


def test_a_fork_that_was_interrupted_before_it_began_opens_nothing(door: Door) -> None:
    forks._forks.after_in_parent()

    assert door.told == []
    assert in_child(lambda: None) == 0


def test_only_one_thread_forks_at_a_time(door: Door) -> None:
    run_together([lambda: in_child(lambda: None)] * 3)

    assert door.told == ["closed", "opened"] * 3


def test_what_nobody_uses_any_more_is_not_watched() -> None:
    watched = Door()
    forks.watch(watched)
    told = watched.told
    del watched

    assert in_child(lambda: None) == 0
    assert told == []


def one_after_the_other(calls: list[Callable[[], object]]) -> None:
    """Call in one thread: the child of a fork in C may start no other."""
    for call in calls:
        call()


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
def test_a_child_has_its_own_id(fork: Callable[[], int]) -> None:
    parent = os.getpid()
    assert PID[0] == parent

    def look() -> None:
        assert PID[0] != parent
        assert own_pid() == PID[0] == os.getpid()

    assert in_child(look, fork) == 0
    assert PID[0] == parent


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
def test_a_system_that_clears_no_memory_is_asked(
    monkeypatch: pytest.MonkeyPatch, fork: Callable[[], int]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    kept = forks._kept_id()
    assert kept[0] == os.getpid()

    def look() -> None:
        assert kept[0] == os.getpid()

    assert in_child(look, fork) == 0


class Stuck(Door):
    """Takes all the time that it gets."""

    def before_fork(self, ends_at: float) -> None:
        super().before_fork(ends_at - time.monotonic())
        time.sleep(max(ends_at - time.monotonic(), 0.0))


def test_a_database_that_takes_long_leaves_time_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "LONGEST_WAIT_S", 0.05)
    doors = Stuck(), Stuck(), Stuck()
    for door in doors:
        forks.watch(door)

    assert in_child(bool) == 0

    assert [door.told for door in doors] == [["closed", "opened"]] * 3


class Deaf(mmap.mmap):
    """Memory of a system that accepts every advice and obeys none."""

    def madvise(self, *_: int) -> None:
        """As QEMU up to 5.0, in programs of another machine."""


def test_a_system_that_obeys_no_advice_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mmap, "mmap", Deaf)

    assert forks._kept_id()[0] == os.getpid()


@pytest.mark.parametrize(
    ("fork", "run_all"), [(os.fork, run_together), (fork_in_c, one_after_the_other)]
)
def test_a_child_begins_once(
    fork: Callable[[], int], run_all: Callable[[list[Callable[[], object]]], object]
) -> None:
    counter = Counter()
    counter.stay_own()
    assert counter.begins == 1

    def use() -> None:
        run_all([counter.stay_own] * 4)
        assert counter.begins == 2

    assert in_child(use, fork) == 0
    assert counter.begins == 1


def test_a_child_begins_although_another_thread_was_about_to() -> None:
    counter = Counter()
    holds, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with PerProcess._beginning:
            holds.set()
            assert leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(30)
    assert in_child(counter.stay_own) == 0
    leave.set()
    holder.join()


def test_no_hook_waits_while_it_holds_the_lock_of_logging() -> None:
    """Hooks before a fork run in reverse: those of ``logging`` have to be older."""
    script = """
import sys
from flask_forge_jobs import forks
assert "logging" in sys.modules
import logging, threading

class Door:
    def before_fork(self, ends_at):
        other = threading.Thread(target=logging.getLogger, args=["new"])
        other.start()
        other.join(10)
        print(other.is_alive())
    def after_fork_in_parent(self):
        pass

door = Door()
forks.watch(door)
import os
if os.fork() == 0:
    os._exit(0)
os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n", done.stderr


def test_files_that_were_open_are_known_to_a_child(tmp_path: Path) -> None:
    database, text = tmp_path / "a.sqlite", tmp_path / "text"
    database.write_bytes(b"SQLite format 3\0 and more")
    text.write_text("something else")
    door = Door()
    forks.watch(door)

    def look() -> None:
        assert forks.was_inherited(database)
        assert not forks.was_inherited(text)
        assert not forks.was_inherited(tmp_path / "not there")
        file.close()
        # What is noted of it in memory is not forgotten by that.
        assert in_child(look_again) == 0

    def look_again() -> None:
        assert forks.was_inherited(database)

    with database.open("rb") as file, text.open():
        assert in_child(look) == 0
    assert not forks.was_inherited(database)


def test_sigterm_ends_a_child_of_a_process_that_handles_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one that comes as early as can be, within the fork."""
    heard: list[int] = []

    def own_pid_and_signal() -> int:  # the child calls it first
        os.kill(os.getpid(), signal.SIGTERM)
        return own_pid()

    monkeypatch.setattr(forks._forks, "on_sigterm", None)
    monkeypatch.setattr(forks, "own_pid", own_pid_and_signal)
    before = forks.handle_sigterm(lambda number, _: heard.append(number))
    try:
        status = in_child(lambda: None)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)  # type: ignore[arg-type]  # its own

    assert status == -signal.SIGTERM
    assert heard == [signal.SIGTERM]


def test_a_child_keeps_no_private_pipe_open() -> None:
    reader, writer = forks.private_pipe()
    child = Child(lambda parent: parent.hear())

    writer.close()

    with os.fdopen(reader, "rb") as end:
        assert end.read() == b""
    child.say()
    assert child.end() == 0


def test_no_child_is_forked_while_a_private_pipe_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its child would keep a pipe that is not noted yet."""
    pipe, lock = os.pipe, forks._forks._lock
    may_fork: list[bool] = []

    def pipe_and_look() -> tuple[int, int]:
        monkeypatch.undo()
        run_together([lambda: may_fork.append(lock.acquire(blocking=False))])
        return pipe()

    monkeypatch.setattr(os, "pipe", pipe_and_look)
    reader, writer = forks.private_pipe()
    writer.close()
    os.close(reader)

    assert may_fork == [False]
