"""Groups of real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flask_forge_jobs.tasks import process_groups
from flask_forge_jobs.tasks.process_groups import ProcessGroup, describe_status
from tests.support.commands import ROOT
from tests.support.leaks import assert_leaks_nothing
from tests.support.processes import is_alive
from tests.support.programs import Program
from tests.support.runtimes import LIMIT_S
from tests.support.waiting import wait_until

SLEEPS = "import time; time.sleep(600)"
# Deaf to SIGTERM, with a child that is not.
LEADS = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: None)
child = subprocess.Popen([sys.executable, "-S", "-c", {SLEEPS!r}])
print(child.pid, flush=True)
time.sleep(600)
"""
# Starts a group and says who is in it.
OWNER = f"""
import os, subprocess, sys, time
from flask_forge_jobs.tasks.process_groups import ProcessGroup
group = ProcessGroup(
    [sys.executable, "-S", "-c", {LEADS!r}], environ=os.environ, stdout=subprocess.PIPE
)
print("GROUP", group.pid, group.process.stdout.readline().decode(), flush=True)
time.sleep(600)
"""


# Starts a group, forks a child that outlives it, and says who they are.
FORKS = """
import multiprocessing, os, subprocess, sys, threading, time
from flask_forge_jobs.tasks.process_groups import ProcessGroup
from tests.support.processes import fork_in_c

def fork_for_multiprocessing():
    context = multiprocessing.get_context("fork")
    child = context.Process(target=time.sleep, args=(600,))
    child.start()
    return child.pid

LEADER = {leader!r}
group = ProcessGroup(
    [sys.executable, "-c", LEADER], environ=os.environ, stdout=subprocess.PIPE
)
assert group.process.stdout.readline()
def fork():
    child = {fork}()
    if child == 0:
        time.sleep(600)
    print("FORKED", group.pid, child, flush=True)
thread = threading.Thread(target=fork)
thread.start()
thread.join()
time.sleep(600)
"""
HANGS = "import time; print('there', flush=True); time.sleep(600)"
WATCHES = f"""
from flask_forge_jobs.tasks.process_groups import end_with_parent
end_with_parent()
{HANGS}
"""


def python(script: str, *, stdout: int | None = None) -> ProcessGroup:
    return ProcessGroup([sys.executable, "-S", "-c", script], environ={}, stdout=stdout)


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    """A leader that is deaf to SIGTERM, and its child."""
    found = python(LEADS, stdout=subprocess.PIPE)
    yield found
    found.close()


def child_of(group: ProcessGroup) -> int:
    assert group.process.stdout is not None
    return int(group.process.stdout.readline())


def test_a_program_leads_a_session_and_a_group() -> None:
    group = python(SLEEPS)

    assert os.getpgid(group.pid) == os.getsid(group.pid) == group.pid
    assert group.close() == -signal.SIGKILL


def test_wait_tells_whether_it_has_ended() -> None:
    group = python("raise SystemExit(3)")

    assert group.wait(LIMIT_S)
    assert group.close() == 3


def test_terminate_reaches_the_whole_group(group: ProcessGroup) -> None:
    child = child_of(group)

    group.terminate()
    wait_until(lambda: not is_alive(child), "the child has ended")

    assert not group.wait(0.0)


def test_end_kills_the_whole_group(group: ProcessGroup) -> None:
    child = child_of(group)

    status = group.end()

    assert status == -signal.SIGKILL
    wait_until(lambda: not is_alive(child), "the child has ended")
    assert group.end() == status  # once more changes nothing


def test_end_kills_what_a_program_has_left_behind() -> None:
    script = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", {SLEEPS!r}])
print(child.pid, flush=True)
"""
    group = python(script, stdout=subprocess.PIPE)
    child = child_of(group)
    assert group.wait(LIMIT_S)
    was_alive = is_alive(child)

    status = group.close()

    assert (was_alive, status) == (True, 0)
    wait_until(lambda: not is_alive(child), "the child has ended")


def test_no_signal_goes_to_whoever_gets_the_number_next() -> None:
    group = python("pass")
    group.wait(LIMIT_S)
    group.end()
    calls: list[object] = []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "killpg", lambda *arguments: calls.append(arguments))
        group.terminate()
        group.close()

    assert calls == []


def test_the_group_dies_with_its_owner(tmp_path: Path) -> None:
    """A6: by SIGKILL, deaf as it is."""
    owner = Program(
        [sys.executable, "-c", OWNER],
        environ=os.environ | {"PYTHONPATH": str(ROOT)},
        folder=tmp_path,
    )
    try:
        pids = [int(word) for word in owner.wait_for("GROUP").split()[1:]]
        were_alive = [is_alive(pid) for pid in pids]
        owner.signal(signal.SIGKILL)
        owner.process.wait()
        wait_until(lambda: not any(map(is_alive, pids)), "nobody is left")
    finally:
        owner.end()

    assert were_alive == [True, True]


@pytest.mark.parametrize(
    ("fork", "leader"),
    [("os.fork", HANGS), ("fork_for_multiprocessing", HANGS), ("fork_in_c", WATCHES)],
    ids=["fork", "multiprocessing", "fork in C"],
)
def test_a_child_that_its_owner_forked_does_not_keep_it_alive(
    tmp_path: Path, fork: str, leader: str
) -> None:
    """An isolated task would go on beside its next run."""
    owner = Program(
        [sys.executable, "-c", FORKS.format(fork=fork, leader=leader)],
        environ=os.environ | {"PYTHONPATH": str(ROOT)},
        folder=tmp_path,
    )
    leader_pid, child = map(int, owner.wait_for("FORKED").split()[1:])
    try:
        owner.signal(signal.SIGKILL)
        owner.process.wait()
        wait_until(lambda: not is_alive(leader_pid), "the group has ended")
        outlived = is_alive(child)
    finally:
        for pid in (leader_pid, child):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        owner.end()

    assert outlived


def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    def start() -> None:
        with pytest.raises(FileNotFoundError):
            ProcessGroup([str(tmp_path / "missing")], environ={})

    assert_leaks_nothing(start)


def test_a_group_that_cannot_be_tied_to_us_is_not_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(process_groups, "_kill_at_hang_up", refuse)
    process = psutil.Process()
    children = set(process.children())

    def start() -> None:
        with pytest.raises(OSError, match="no"):
            python(SLEEPS)

    assert_leaks_nothing(start)
    wait_until(
        lambda: (
            not any(is_alive(child.pid) for child in set(process.children()) - children)
        ),
        "it was killed",
    )


def test_a_program_of_another_user_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    group = python("pass")
    assert group.wait(LIMIT_S)
    monkeypatch.setattr(os, "killpg", refuse)

    assert group.close() == 0
    assert f"process {group.pid} belongs to another user" in caplog.text


def test_close_closes_every_descriptor() -> None:
    assert_leaks_nothing(lambda: python(SLEEPS, stdout=subprocess.PIPE).close())


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(OSError, match=r"need Linux 5\.3"):
        python(SLEEPS)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended with exit status 0"),
        (3, "ended with exit status 3"),
        (-15, "was killed by signal 15 (SIGTERM)"),
        (-40, "was killed by signal 40"),
    ],
)
def test_describe_status(status: int, text: str) -> None:
    assert describe_status(status) == text
