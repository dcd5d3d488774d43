"""Writers of several processes get the file one after the other, soon and fairly."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.sqlite import gate as gate_module
from flask_forge_jobs.storage.sqlite.checkpoint import Checkpoints
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.gate import LIMIT_S, PASSED_BY_S, WritersGate
from tests.support.clocks import MovingClock
from tests.support.jobs import enqueue
from tests.support.leaks import assert_leaks_nothing
from tests.support.processes import output_of, start_python, suspend
from tests.support.sql import Sql
from tests.support.waiting import wait_until

LONG_S = 1000.0


class Clock(MovingClock):
    """A clock that only sleeping moves; counts the sleeps."""

    sleeps = 0

    def __init__(self) -> None:
        super().__init__(0)
        self.wakes: Callable[[], object] = lambda: None
        self.pauses: dict[float, float] = {}

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        self.pauses[self.monotonic()] = seconds
        self.move(seconds)
        self.wakes()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(gate_module, "time", made)
    return made


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[tuple[WritersGate, WritersGate]]:
    """The gates of two processes."""
    both = (
        WritersGate(tmp_path / "queue.sqlite"),
        WritersGate(tmp_path / "queue.sqlite"),
    )
    yield both
    for each in both:
        each.close()


def is_free(path: Path) -> bool:
    with Path(f"{path}.ckpt-lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_one_writer_at_a_time_is_within_the_gate(
    gates: tuple[WritersGate, WritersGate], tmp_path: Path, clock: Clock
) -> None:
    first, second = gates
    for gate in (first, second, first):
        with gate.until(LONG_S):
            assert not is_free(tmp_path / "queue.sqlite")
        assert is_free(tmp_path / "queue.sqlite")

    assert clock.sleeps == 0


def test_processes_share_a_number_in_the_file(
    gates: tuple[WritersGate, WritersGate], tmp_path: Path
) -> None:
    first, second = gates
    assert first.add(1) is None  # the file is not open

    sums: list[int | None] = []
    for gate, number in ((first, 3), (second, 4), (first, 0)):
        with gate.until(LONG_S):
            sums.append(gate.add(number))
    with second.until(LONG_S):
        second.reset()
    with first.until(LONG_S):
        sums.append(first.add(5))

    assert sums == [3, 7, 7, 5]
    # It is only an estimate, so what somebody else has written there is a large one.
    (tmp_path / "queue.sqlite.ckpt-lock").write_bytes(b"\xff" * 9)
    with first.until(LONG_S):
        assert first.add(1) == first.add(1) == 2**63


def test_the_gate_tells_all_of_a_gap_in_the_log(
    gates: tuple[WritersGate, WritersGate],
) -> None:
    first, second = gates
    assert not first.has_gap()  # the file is not open

    seen: list[bool] = []
    for has_gap in (True, False):
        for gate in gates:
            with gate.until(LONG_S):
                gate.add(1)
        first.mark(has_gap=has_gap)
        second.reset()
        seen += [gate.has_gap() for gate in gates]

    assert seen == [True, True, False, False]


def test_a_file_that_may_only_be_read_holds_no_number(
    gates: tuple[WritersGate, WritersGate], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = gates

    def refuse(*_: object) -> int:
        raise OSError(errno.EBADF, "opened to read")

    monkeypatch.setattr(os, "pwrite", refuse)
    with first.until(LONG_S):
        first.reset()
        assert first.add(1) is None


def test_who_waits_enters_as_soon_as_the_other_one_has_left(
    gates: tuple[WritersGate, WritersGate], tmp_path: Path, clock: Clock
) -> None:
    first, second = gates
    first.enter(LONG_S)
    clock.wakes = first.unlock

    second.enter(LONG_S)

    first.unlock()  # it has nothing to give back any more
    assert not is_free(tmp_path / "queue.sqlite")
    assert clock.monotonic() < LIMIT_S


def test_a_gate_that_stays_closed_is_passed_by_and_not_waited_for_again(
    gates: tuple[WritersGate, WritersGate], clock: Clock
) -> None:
    """Its process is stopped, or is in a long transaction."""
    first, second = gates
    first.enter(LONG_S)

    second.enter(LONG_S)
    assert clock.monotonic() == pytest.approx(LIMIT_S, abs=0.01)
    sleeps = clock.sleeps
    second.enter(LONG_S)
    assert clock.sleeps == sleeps
    clock.move(PASSED_BY_S)
    second.enter(LONG_S)
    assert clock.sleeps > sleeps


@pytest.mark.usefixtures("clock")
def test_who_has_passed_the_gate_by_enters_it_once_it_opens(
    gates: tuple[WritersGate, WritersGate], tmp_path: Path
) -> None:
    """It must not have to meet one of the rare moments at which nobody writes."""
    first, second = gates
    path = tmp_path / "queue.sqlite"
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer,
        contextlib.closing(
            sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)
        ) as connection,
    ):
        first.enter(LONG_S)
        writer.execute("BEGIN EXCLUSIVE")
        second.enter(LONG_S)
        assert second.is_passed_by
        first.unlock()
        looks: list[bool] = []

        def begin() -> None:
            looks.append(second.is_passed_by)
            if len(looks) == 3:
                writer.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")

        connection.when_free(begin, time.monotonic() + LONG_S, second)

    assert looks == [True, False, False]
    assert not is_free(path)


def test_who_has_less_time_waits_no_longer_and_tries_the_gate_again(
    gates: tuple[WritersGate, WritersGate], clock: Clock
) -> None:
    first, second = gates
    first.enter(LONG_S)

    second.enter(0.01)
    assert clock.monotonic() == pytest.approx(0.01, abs=0.001001)
    sleeps = clock.sleeps
    second.enter(LONG_S)

    assert clock.sleeps > sleeps


def test_a_patient_writer_lets_others_go_first_but_not_for_long(
    gates: tuple[WritersGate, WritersGate], clock: Clock
) -> None:
    """So that each of a crowd stores several jobs in a row."""
    first, second = gates
    first.enter(LONG_S)

    second.wait(LONG_S, is_patient=True)

    early = [pause for at, pause in clock.pauses.items() if at < 0.02]
    late = [pause for at, pause in clock.pauses.items() if at > 0.03]
    assert (early[0], max(early)) == (0.0003, 0.003)
    assert len(early) < 12
    assert set(late) == {0.001}


def test_a_lock_file_that_cannot_be_opened_leaves_none_open(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite.ckpt-lock").symlink_to(tmp_path / "nowhere")
    gate = WritersGate(tmp_path / "queue.sqlite")

    def enter() -> None:
        with pytest.raises(OSError, match="symbolic links"):
            gate.enter(LONG_S)

    assert_leaks_nothing(enter)


def test_a_database_in_memory_needs_no_gate() -> None:
    gate = WritersGate(None)

    with gate.until(LONG_S):
        pass
    gate.close()


def test_a_write_is_within_the_gate_until_it_is_committed(
    sqlite: Storage, sqlite_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sqlite_settings.path
    assert path is not None
    enqueue(sqlite)
    seen: list[bool] = []

    def look(*_: object) -> bool:
        seen.append(is_free(path))
        return False

    monkeypatch.setattr(Checkpoints, "make_if_due", look)
    enqueue(sqlite)
    sqlite.queues.ensure("mail")

    assert seen == [False, False]
    assert is_free(path)


HOLDER = """
import fcntl
with open(f"{path}.ckpt-lock", "r+b") as gate:
    fcntl.flock(gate, fcntl.LOCK_EX)
    print("in", flush=True)
    sys.stdin.readline()
"""


WRITER = """
import sqlite3
other = sqlite3.connect(path, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
print("in", flush=True)
sys.stdin.readline()
other.execute("COMMIT")
"""


@contextlib.contextmanager
def holder_of(
    settings: DatabaseSettings, script: str = HOLDER
) -> Iterator[subprocess.Popen[str]]:
    """Start a process that is within the gate, or has the file's lock, and end it."""
    with start_python(settings, script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_process_that_is_stopped_within_the_gate_keeps_nobody_out(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    enqueue(sqlite)
    with holder_of(sqlite_settings) as process:
        suspend(process.pid)
        assert enqueue(sqlite)
        assert enqueue(sqlite)
        os.kill(process.pid, signal.SIGCONT)


def test_a_process_that_is_killed_within_the_gate_opens_it(
    sqlite: Storage, sqlite_settings: DatabaseSettings, clock: Clock
) -> None:
    enqueue(sqlite)
    with holder_of(sqlite_settings) as process:
        process.kill()
        process.wait()
        enqueue(sqlite)

    assert clock.sleeps == 0


def test_a_writer_that_knows_no_gate_is_waited_for(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    enqueue(sqlite)
    path = sqlite_settings.path
    assert path is not None
    with holder_of(sqlite_settings, WRITER) as process, ThreadPoolExecutor(1) as pool:
        job_id = pool.submit(enqueue, sqlite)
        wait_until(lambda: not is_free(path), "it waits within the gate")
        process.communicate("commit\n")

    assert sqlite.job_reader.get(job_id.result()).kind == "noop"


@pytest.mark.long
def test_processes_that_write_at_once_store_everything(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    """Also while one of them passes by the gate of a stopped one."""
    enqueue(sqlite)
    script = """
for _ in range(60):
    storage.jobs.enqueue(NewJob("noop"))
    storage.jobs.enqueue_many([NewJob("noop")] * 2)
storage.close()
"""
    with holder_of(sqlite_settings):
        writers = [start_python(sqlite_settings, script) for _ in range(3)]
        assert [output_of(writer) for writer in writers] == [""] * 3

    sql = Sql(sqlite_settings)
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 1 + 3 * 180
    assert sql.run("PRAGMA integrity_check") == [("ok",)]
    sql.assert_counts_equal_rows()
