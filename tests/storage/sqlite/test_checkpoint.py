"""The log stays small and the file sound under concurrent writes and reads."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageCorruptError
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.sqlite import checkpoint
from flask_forge_jobs.storage.sqlite.checkpoint import (
    CHECKPOINT_BYTES,
    COMMITS_BETWEEN_LOOKS,
    LOG_BYTES_KEPT,
    PAGES_BEFORE_A_START,
    PAGES_BETWEEN_CHECKPOINTS,
    PAGES_BETWEEN_SUMS,
    PAGES_OF_A_COMMIT,
    Checkpoints,
    check_not_emptied,
    has_wal_reset_bug,
)
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from flask_forge_jobs.storage.sqlite.gate import WritersGate
from tests.support.jobs import OWNER, QUEUE, enqueue
from tests.support.processes import in_child, output_of, start_python
from tests.support.sql import Sql

LARGEST_LOG = 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("version", "has_bug"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 46, 1), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_the_versions_with_the_bug_are_known(
    version: tuple[int, ...], *, has_bug: bool
) -> None:
    assert has_wal_reset_bug(version) is has_bug


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    """Those that are needed, whatever the SQLite of this machine."""
    monkeypatch.setattr(checkpoint, "has_wal_reset_bug", lambda: True)
    return Checkpoints(tmp_path / "queue.sqlite")


def connect(path: Path) -> SqliteConnection:
    return sqlite3.connect(
        path, isolation_level=None, timeout=0.01, factory=SqliteConnection
    )


def large_log(path: Path) -> SqliteConnection:
    """Return a connection to a file whose log has grown past the limit."""
    connection = connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_KEPT}")
    connection.execute("CREATE TABLE filler (x)")
    connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (CHECKPOINT_BYTES,))
    return connection


def look(checkpoints: Checkpoints, connection: SqliteConnection) -> list[bool]:
    """Look as often as it takes for one real look."""
    return [checkpoints.make_if_due(connection) for _ in range(COMMITS_BETWEEN_LOOKS)]


def log_of(path: Path) -> Path:
    return Path(f"{path}-wal")


def test_a_large_log_is_written_back(checkpoints: Checkpoints, tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    with contextlib.closing(large_log(path)) as connection:
        looks = look(checkpoints, connection)

        assert looks == [False] * (COMMITS_BETWEEN_LOOKS - 1) + [True]
        assert path.stat().st_size > CHECKPOINT_BYTES
        connection.execute("INSERT INTO filler VALUES (1)")
        assert log_of(path).stat().st_size == LOG_BYTES_KEPT


def test_a_writer_of_the_applications_puts_a_checkpoint_off(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """It does not pass the gate, and its commit must not meet a checkpoint."""
    path = tmp_path / "queue.sqlite"
    with (
        contextlib.closing(large_log(path)) as connection,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer,
    ):
        before = path.read_bytes()
        writer.execute("BEGIN IMMEDIATE")
        assert not any(look(checkpoints, connection))
        assert path.read_bytes() == before
        writer.execute("COMMIT")

        checkpoints._not_before = 0.0
        assert any(look(checkpoints, connection))


def test_a_checkpoint_keeps_the_applications_writers_out(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    path = tmp_path / "queue.sqlite"
    refusals: list[str] = []

    def write(statement: str) -> None:
        if "wal_checkpoint" in statement:
            try:
                writer.execute("INSERT INTO filler VALUES (1)")
            except sqlite3.OperationalError as error:
                refusals.append(str(error))

    with (
        contextlib.closing(large_log(path)) as connection,
        contextlib.closing(
            sqlite3.connect(path, isolation_level=None, timeout=0)
        ) as writer,
    ):
        connection.set_trace_callback(write)
        assert any(look(checkpoints, connection))
        writer.execute("INSERT INTO filler VALUES (1)")

    assert refusals == ["database is locked"]


def test_a_small_log_is_left_alone(checkpoints: Checkpoints, tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    with contextlib.closing(connect(path)) as connection:
        assert not any(look(checkpoints, connection))
        connection.execute("PRAGMA journal_mode = WAL")
        assert not any(look(checkpoints, connection))


def test_connections_of_threads_that_ended_leave_nothing(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """A server may have a thread for each request."""
    connections = [connect(tmp_path / "queue.sqlite") for _ in range(20)]
    for each in connections:
        checkpoints.make_if_due(each)
        each.close()

    kept = [each for each in vars(checkpoints).values() if isinstance(each, dict)]
    assert sum(map(len, kept)) == 0


def test_looks_at_the_log_intern_no_name(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would fill the interpreter's table of names, whose growth shows."""
    interned: list[str] = []

    def intern(name: str) -> str:
        interned.append(name)
        return name

    with contextlib.closing(connect(tmp_path / "queue.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        look(checkpoints, connection)  # a path's own parts are parsed once
        with monkeypatch.context() as patch:
            patch.setattr(sys, "intern", intern)
            look(checkpoints, connection)

    assert interned == []


def test_a_reader_that_pins_the_log_puts_the_checkpoint_off(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PAUSE_AFTER_BUSY_S", 60.0)
    path = tmp_path / "queue.sqlite"
    with (
        contextlib.closing(large_log(path)) as connection,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM filler").fetchone()
        connection.execute("INSERT INTO filler VALUES (1)")

        assert not any(look(checkpoints, connection))
        reader.execute("COMMIT")

        assert not any(look(checkpoints, connection))  # the pause after a busy one
        checkpoints._not_before = 0.0
        assert any(look(checkpoints, connection))


class OverlappingReaders:
    """Transactions of 15 ms, one every 5 ms, by a clock that only sleep() moves."""

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self._path = path
        self._stack = stack
        self._open: deque[tuple[float, sqlite3.Connection]] = deque()
        self.now = 0.0

    def begin(self, ends_at: float) -> None:
        reader = self._stack.enter_context(
            contextlib.closing(sqlite3.connect(self._path, isolation_level=None))
        )
        self._read(reader, ends_at)

    def _read(self, reader: sqlite3.Connection, ends_at: float) -> None:
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM filler LIMIT 1").fetchone()
        self._open.append((ends_at, reader))

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        while self._open and self._open[0][0] <= self.now:
            ended_at, reader = self._open.popleft()
            reader.execute("COMMIT")
            self._read(reader, ended_at + 0.015)


def test_overlapping_readers_do_not_make_the_log_grow(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.sqlite"
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(large_log(path)))
        readers = OverlappingReaders(path, stack)
        monkeypatch.setattr("flask_forge_jobs.storage.sqlite.checkpoint.time", readers)
        for ends_at in (0.005, 0.01, 0.015):
            readers.begin(ends_at)
            connection.execute("INSERT INTO filler VALUES (1)")

        assert any(look(checkpoints, connection))

        connection.execute("INSERT INTO filler VALUES (1)")
        assert log_of(path).stat().st_size == LOG_BYTES_KEPT


def test_a_checkpoint_waits_for_readers_only_if_it_must(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that was cut to the kept size is not a large one."""
    path = tmp_path / "queue.sqlite"
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(large_log(path)))
        assert any(look(checkpoints, connection))
        connection.execute("INSERT INTO filler VALUES (1)")
        assert log_of(path).stat().st_size == LOG_BYTES_KEPT
        clock = OverlappingReaders(path, stack)
        monkeypatch.setattr("flask_forge_jobs.storage.sqlite.checkpoint.time", clock)
        checkpoints._pages = PAGES_BETWEEN_CHECKPOINTS

        assert checkpoints.make_if_due(connection)

        assert clock.now == 0.0


@pytest.fixture
def two(checkpoints: Checkpoints, tmp_path: Path) -> Iterator[list[Checkpoints]]:
    """Those of two processes, whose gates are open."""
    del checkpoints  # sets the version
    path = tmp_path / "queue.sqlite"
    gates = [WritersGate(path), WritersGate(path)]
    for gate in gates:
        with gate.until(time.monotonic() + 1):
            pass
    yield [Checkpoints(path, gate) for gate in gates]
    for gate in gates:
        gate.close()


def commits_until_due(
    two: list[Checkpoints], connection: SqliteConnection
) -> tuple[int, int]:
    """Commit in turns; return how many commits it took, and in which process."""
    for number in itertools.count(1):
        index = number % 2
        if two[index].make_if_due(connection):
            return number, index
    raise AssertionError("it counts on")


def test_processes_count_together_what_the_log_holds(
    two: list[Checkpoints], tmp_path: Path
) -> None:
    """Each by itself, two let the log grow twice as long before they cut it."""
    with contextlib.closing(connect(tmp_path / "queue.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        at_first, _ = commits_until_due(two, connection)
        again, _ = commits_until_due(two, connection)

    commits = PAGES_BETWEEN_CHECKPOINTS // PAGES_OF_A_COMMIT
    late = 2 * PAGES_BETWEEN_SUMS // PAGES_OF_A_COMMIT
    assert commits <= at_first <= commits + late
    assert commits - late <= again <= commits + late


def test_a_checkpoint_of_another_process_is_not_repeated(
    two: list[Checkpoints], tmp_path: Path
) -> None:
    first, second = two
    with contextlib.closing(connect(tmp_path / "queue.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        first._pages = second._pages = PAGES_BETWEEN_CHECKPOINTS
        first._pages_to_add = PAGES_BETWEEN_CHECKPOINTS
        assert first.make_if_due(connection)

        assert not second.make_if_due(connection)


def test_a_failing_checkpoint_is_no_error_of_the_commit_before_it(
    checkpoints: Checkpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.sqlite"
    connection = large_log(path)
    connection.close()
    log_of(path).write_bytes(b"x" * (CHECKPOINT_BYTES + 1))

    assert not any(look(checkpoints, connection))

    assert "cannot write back the log" in caplog.text


def test_a_checkpoint_delays_no_job_that_is_about_to_start(
    sqlite: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes as long as all else between a job's enqueue and its start"""
    monkeypatch.setattr(checkpoint, "has_wal_reset_bug", lambda: True)
    enqueue(sqlite)  # makes the queue
    database = sqlite.database
    assert isinstance(database, SqliteDatabase)
    state = database._state
    made: list[str] = []
    verb = ""

    def make(checkpoints: Checkpoints, *_: object) -> bool:
        made.append(verb)
        checkpoints._pages = 0
        return True

    monkeypatch.setattr(Checkpoints, "_make", make)
    state.checkpoints = Checkpoints(database.file)
    for pages in (PAGES_BETWEEN_CHECKPOINTS, PAGES_BEFORE_A_START):
        state.checkpoints._pages = pages
        verb = f"enqueue after {pages}"
        enqueue(sqlite)
        verb = f"claim after {pages}"
        (job,) = sqlite.jobs.exchange(OWNER, (), {QUEUE: 1}).claimed
        verb = f"end after {pages}"
        sqlite.jobs.finish(OWNER, [JobUpdate(job, JobStatus.DONE)])

    assert made == ["end after 1000", "enqueue after 2000"]


def test_a_child_has_locks_of_its_own(sqlite: Storage) -> None:
    """A lock shared across a fork would let a checkpoint run during a commit."""
    enqueue(sqlite)

    assert in_child(lambda: [enqueue(sqlite) for _ in range(40)]) == 0

    assert enqueue(sqlite)


def test_a_database_that_is_being_made_is_not_emptied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its maker writes the file, then the log: here between the two looks."""
    path = tmp_path / "queue.sqlite"
    path.touch()

    def make(of: Path) -> int:
        of.write_bytes(b"a header")
        return 4152

    monkeypatch.setattr(checkpoint, "log_bytes", make)

    check_not_emptied(path)


def test_an_emptied_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    check_not_emptied(path)
    path.touch()
    check_not_emptied(path)
    log_of(path).touch()
    check_not_emptied(path)
    log_of(path).write_bytes(b"x")

    with pytest.raises(StorageCorruptError, match=r"queue\.sqlite-wal is not"):
        check_not_emptied(path)


def test_writers_in_four_processes_keep_the_log_small_and_the_file_sound(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    """I14"""
    script = """
import os
payload = '"' + "x" * 20_000 + '"'
largest = 0
for _ in range(60):
    storage.jobs.enqueue_many([NewJob("big", payload) for _ in range(10)])
    jobs = storage.jobs.claim("default", sys.argv[8], 5)
    storage.jobs.finish(sys.argv[8], [JobUpdate(job, JobStatus.DONE) for job in jobs])
    largest = max(largest, os.stat(f"{path}-wal").st_size)
print(largest)
storage.close()
"""
    sqlite.open()
    assert sqlite_settings.path is not None
    writers = [start_python(sqlite_settings, script, f"owner-{n}") for n in range(4)]

    largest = [int(output_of(writer)) for writer in writers]

    assert max(largest) <= LARGEST_LOG
    counts = sqlite.job_reader.statistics()[QUEUE].counts
    assert (counts.total, counts.done) == (2400, 1200)
    sql = Sql(sqlite_settings)
    assert sql.run("PRAGMA integrity_check") == [("ok",)]
    sql.assert_counts_equal_rows()


def test_bulk_writes_of_one_process_are_written_back(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    payload = '"' + "x" * 100_000 + '"'

    for _ in range(3 * COMMITS_BETWEEN_LOOKS):
        sqlite.jobs.enqueue_many([NewJob("big", payload)] * 10)

    assert sqlite_settings.path is not None
    assert log_of(sqlite_settings.path).stat().st_size <= LARGEST_LOG
