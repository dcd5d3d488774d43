"""Waiting for real programs, and stopping them in time."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.model.bounds import TIMEOUT_RANGE_S
from flask_forge_jobs.model.run_end import SHUTDOWN_GRACE_S, CancelReason
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.process_groups import ProcessGroup
from flask_forge_jobs.tasks.supervision import (
    CHUNK_BYTES,
    LineReader,
    LineTooLongError,
    Supervision,
    WriteBuffer,
    read_some,
)
from tests.support.costs import no_hang
from tests.support.leaks import assert_leaks_nothing
from tests.support.runtimes import LIMIT_S

CLOCK = SystemClock()
ENDS = "pass"
SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, lambda *_: None); {SLEEPS}"
SPEAKS = "import sys; sys.stdout.write('x' * 60000)"


class Programs:
    """Starts programs; they are ended with the test."""

    def __init__(self) -> None:
        self._groups: list[ProcessGroup] = []

    def start(self, script: str, *, up: bool = False) -> ProcessGroup:
        """Start a script; with ``up`` wait until it says so."""
        group = ProcessGroup(
            [sys.executable, "-S", "-c", script],
            environ={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._groups.append(group)
        if up:
            assert group.process.stdout is not None
            assert group.process.stdout.readline() == b"up\n"
        return group

    def close(self) -> None:
        for group in self._groups:
            group.close()


@pytest.fixture
def programs() -> Iterator[Programs]:
    found = Programs()
    yield found
    found.close()


def output_of(group: ProcessGroup) -> int:
    assert group.process.stdout is not None
    return group.process.stdout.fileno()


def test_a_listener_that_is_content_ends_the_wait(programs: Programs) -> None:
    group = programs.start(SLEEPS)
    with Supervision(group, CancelToken(), clock=CLOCK, grace_s=0.0) as watch:
        watch.read(output_of(group), lambda: True)

        assert watch.run()

    assert not watch.has_ended
    assert not group.wait(0.0)


def test_the_longest_time_limit_is_waited_for(programs: Programs) -> None:
    group = programs.start(ENDS)
    deadline = CLOCK.monotonic() + TIMEOUT_RANGE_S[1]
    with Supervision(
        group, CancelToken(), clock=CLOCK, deadline=deadline, grace_s=0.0
    ) as watch:
        assert not watch.run()

    assert watch.has_ended


def test_the_end_of_the_program_ends_the_wait(programs: Programs) -> None:
    group = programs.start(ENDS)
    with Supervision(group, CancelToken(), clock=CLOCK, grace_s=0.0) as watch:
        assert not watch.run()

    assert watch.has_ended
    assert not watch.is_stopping


def test_what_it_has_written_at_its_end_is_not_lost(programs: Programs) -> None:
    group = programs.start(SPEAKS)
    assert group.wait(LIMIT_S)
    chunks: list[bytes] = []

    def listen() -> bool:
        chunks.append(read_some(output_of(group)) or b"")
        return False

    with Supervision(group, CancelToken(), clock=CLOCK, grace_s=0.0) as watch:
        watch.read(output_of(group), listen)
        watch.run()

    assert b"".join(chunks) == b"x" * 60000


def test_writing_and_waiting_go_together(programs: Programs) -> None:
    """More than a pipe holds, to a program that reads it all before it ends."""
    group = programs.start("import sys; sys.exit(len(sys.stdin.read()) != 10 ** 6)")
    assert group.process.stdin is not None
    descriptor = group.process.stdin.fileno()
    with Supervision(group, CancelToken(), clock=CLOCK, grace_s=0.0) as watch:
        watch.write(descriptor, b"x" * 10**6, group.process.stdin.close)
        watch.run()

    assert group.end() == 0


@pytest.mark.parametrize(
    ("reason", "grace_s"),
    [(CancelReason.USER, 0.2), (CancelReason.SHUTDOWN, 2 * LIMIT_S)],
)
def test_a_deaf_program_is_killed_after_the_grace(
    programs: Programs, reason: CancelReason, grace_s: float
) -> None:
    """At a shutdown sooner: the job is given back a second later."""
    group = programs.start(DEAF, up=True)
    token = CancelToken()
    token.cancel(reason)
    began_at = time.monotonic()
    with no_hang(), Supervision(group, token, clock=CLOCK, grace_s=grace_s) as watch:
        watch.run()
    took_s = time.monotonic() - began_at

    assert group.end() == -signal.SIGKILL
    assert took_s >= min(grace_s, SHUTDOWN_GRACE_S)


def test_a_program_that_obeys_is_not_waited_for(programs: Programs) -> None:
    group = programs.start(SLEEPS, up=True)
    token = CancelToken()
    asked: list[CancelReason | None] = []
    with Supervision(
        group,
        token,
        clock=CLOCK,
        grace_s=LIMIT_S,
        ask=lambda: asked.append(token.reason),
    ) as watch:
        timer = threading.Timer(0.05, token.cancel, [CancelReason.USER])
        timer.start()
        watch.run()
        timer.join()

    assert group.end() == -signal.SIGTERM
    assert watch.is_stopping
    assert not watch.is_late
    assert asked == [CancelReason.USER]


def test_a_deadline_trips_the_token(programs: Programs) -> None:
    group, token = programs.start(SLEEPS, up=True), CancelToken()
    deadline = CLOCK.monotonic() + 0.05
    with Supervision(
        group, token, clock=CLOCK, deadline=deadline, grace_s=LIMIT_S
    ) as watch:
        watch.run()

    assert token.reason is CancelReason.TIMEOUT
    assert group.end() == -signal.SIGTERM


def test_a_limit_of_its_own_leaves_the_token_alone(programs: Programs) -> None:
    group, token = programs.start(SLEEPS, up=True), CancelToken()
    limit_at = CLOCK.monotonic() + 0.05
    with Supervision(
        group, token, clock=CLOCK, limit_at=limit_at, grace_s=LIMIT_S
    ) as watch:
        watch.run()

    assert watch.is_late
    assert not token.is_cancelled
    assert group.end() == -signal.SIGTERM


def test_without_a_grace_the_program_is_left_alone(programs: Programs) -> None:
    group, token = programs.start(SLEEPS, up=True), CancelToken()
    token.cancel(CancelReason.USER)
    with Supervision(group, token, clock=CLOCK, grace_s=None) as watch:
        assert not watch.run()

    assert not group.wait(0.0)


def test_a_kill_by_another_thread_ends_the_wait(programs: Programs) -> None:
    group = programs.start(DEAF, up=True)
    with Supervision(group, CancelToken(), clock=CLOCK, grace_s=0.0) as watch:
        timer = threading.Timer(0.05, group.end)
        timer.start()

        assert not watch.run()
        timer.join()

    assert watch.has_ended


def test_a_wait_leaves_no_descriptor_open(programs: Programs) -> None:
    group = programs.start(ENDS)

    def wait() -> None:
        with Supervision(group, CancelToken(), clock=CLOCK, grace_s=0.0) as watch:
            assert not watch.run()

    assert_leaks_nothing(wait)


LONGEST = 100


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue  # by the test


def test_lines_come_when_they_are_complete(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = LineReader(reader, LONGEST)

    nothing = lines.read()
    os.write(writer, b"one\ntw")
    first = lines.read()
    os.write(writer, b"o\n\n")
    second = lines.read()

    assert (nothing, first, second) == ([], [b"one"], [b"two", b""])
    assert not lines.is_over


def test_the_end_is_noticed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = LineReader(reader, LONGEST)
    os.write(writer, b"last\nrest")
    os.close(writer)

    found = lines.read()
    after = lines.read()

    assert (found, after) == ([b"last"], [])
    assert lines.is_over


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_may_be_so_long_and_no_longer(pipe: tuple[int, int], end: bytes) -> None:
    reader, writer = pipe
    lines = LineReader(reader, LONGEST)
    os.write(writer, b"x" * LONGEST + b"\n")
    fits = lines.read()
    os.write(writer, b"x" * (LONGEST + 1) + end)

    with pytest.raises(LineTooLongError):
        lines.read()

    assert fits == [b"x" * LONGEST]


def test_outgoing_goes_on_where_the_reader_was_slow(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    data = random.Random(7).randbytes(5 * CHUNK_BYTES + 7)
    outgoing = WriteBuffer(writer, data)

    early = outgoing.write()
    found = b""
    while not outgoing.write():
        found += read_some(reader) or b""
    while chunk := read_some(reader):
        found += chunk

    assert not early
    assert found == data


def test_outgoing_is_done_when_nobody_reads(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)

    assert WriteBuffer(writer, b"lost").write()


def test_a_socket_whose_other_side_died_is_over() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(b"never read")
        theirs.close()

        assert read_some(ours.fileno()) == b""
