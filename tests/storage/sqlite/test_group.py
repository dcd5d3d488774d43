"""Threads that add jobs at the same time share a transaction, and nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.sqlite import group as group_module
from flask_forge_jobs.storage.sqlite import turn as turn_module
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from flask_forge_jobs.storage.sqlite.turn import WriterLock
from tests.support.clocks import MovingClock
from tests.support.jobs import QUEUE, enqueue, enqueued
from tests.support.processes import LIMIT_S, in_child, start_python
from tests.support.sql import Sql
from tests.support.threads import run_together
from tests.support.waiting import wait_until

_FRAME = struct.Struct(">II8s8x")
Work = Callable[[], object]
# What SQLite cannot take: it is no text.
UNSTORABLE = NewJob("noop").with_checked(payload='"\ud800"')


@pytest.fixture
def opened(sqlite: Storage) -> Storage:
    """The stores, whose file is open and whose queue is known."""
    sqlite.recorder.on_activity = lambda: None  # its flusher would commit, too
    enqueue(sqlite)
    return sqlite


def turn_of(storage: Storage) -> WriterLock:
    assert isinstance(storage.database, SqliteDatabase)
    return storage.database._state.turn


@contextlib.contextmanager
def in_line(storage: Storage, works: Sequence[Work]) -> Iterator[list[Future[object]]]:
    """Start threads that line up one after the other; at the end they get the turn."""
    turn = turn_of(storage)
    with ThreadPoolExecutor(len(works)) as pool:
        with turn:
            futures: list[Future[object]] = []
            for number, work in enumerate(works, 1):
                futures.append(pool.submit(work))
                wait_until(lambda number=number: len(turn.line) == number, "in line")  # type: ignore[misc]
            yield futures
        for each in futures:
            each.exception(LIMIT_S)
    assert not turn.line


def commits_of(settings: DatabaseSettings) -> int:
    """Return how many transactions the log holds."""
    with open(f"{settings.path}-wal", "rb") as log:  # noqa: PTH123
        head = log.read(32)
        page = int.from_bytes(head[8:12], "big")
        count = 0
        while len(frame := log.read(24 + page)) == 24 + page:
            _, is_commit, salt = _FRAME.unpack(frame[:24])
            count += bool(is_commit and salt == head[16:24])
    return count


def stored(sql: Sql) -> list[str]:
    sql.assert_counts_equal_rows()
    return [job_id for (job_id,) in sql.run("SELECT id FROM forge_job ORDER BY id")]


@pytest.fixture
def sql(sqlite_settings: DatabaseSettings) -> Sql:
    return Sql(sqlite_settings)


def test_threads_that_wait_share_one_commit(
    opened: Storage, sqlite_settings: DatabaseSettings, sql: Sql
) -> None:
    before, known = commits_of(sqlite_settings), stored(sql)

    with in_line(opened, [partial(enqueue, opened)] * 8) as futures:
        pass

    ids = [each.result() for each in futures]
    assert sorted(known + [str(each) for each in ids]) == stored(sql)
    assert commits_of(sqlite_settings) == before + 1


def test_each_thread_gets_the_start_of_its_own_job(opened: Storage, sql: Sql) -> None:
    with in_line(opened, [partial(enqueued, opened)] * 3) as futures:
        pass

    results: list[Any] = [each.result() for each in futures]
    starts = dict(sql.run("SELECT id, scheduled_at FROM forge_job"))
    assert [each.scheduled_at_us for each in results] == [
        starts[each.id] for each in results
    ]


def test_a_group_has_a_largest_size(
    opened: Storage,
    sqlite_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    sql: Sql,
) -> None:
    monkeypatch.setattr(group_module, "MAX_AT_ONCE", 3)
    before = commits_of(sqlite_settings)

    with in_line(opened, [partial(enqueue, opened)] * 7):
        pass

    assert len(stored(sql)) == 8
    assert commits_of(sqlite_settings) == before + 3


def test_keys_count_within_a_group_as_between_commits(
    opened: Storage, sql: Sql
) -> None:
    """One gets a new job, the others that one; a key is free for another kind never."""
    add = partial(enqueued, opened, key="one")

    with in_line(opened, [add, partial(enqueue, opened), add, add]) as futures:
        pass

    first, plain, *others = [each.result() for each in futures]
    keyed: Any = [first, *others]
    assert sorted(each.is_deduped for each in keyed) == [False, True, True]
    assert len({each.id for each in keyed}) == 1
    assert len(stored(sql)) == 3
    assert plain in stored(sql)


@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_statement_that_fails_harms_its_caller_only(
    opened: Storage, sqlite_settings: DatabaseSettings, sql: Sql, place: int
) -> None:
    works: list[Work] = [partial(enqueue, opened)] * 3
    works.insert(place, partial(opened.jobs.enqueue, UNSTORABLE))
    before = commits_of(sqlite_settings)

    with in_line(opened, works) as futures:
        pass

    errors = [each.exception() for each in futures]
    assert [type(each) for each in errors if each] == [UnicodeEncodeError]
    assert errors[place] is not None
    assert len(stored(sql)) == 4
    assert commits_of(sqlite_settings) == before + 1


def test_who_has_no_time_left_leaves_the_line(opened: Storage, sql: Sql) -> None:
    def hasty() -> str:
        with within(0.05):
            return enqueue(opened)

    turn = turn_of(opened)
    with turn, ThreadPoolExecutor(1) as pool:
        with pytest.raises(StorageBusyError, match="another thread"):
            pool.submit(hasty).result(LIMIT_S)
        assert not turn.line

    assert len(stored(sql)) == 1
    assert enqueue(opened)


class ReadClock(MovingClock):
    """A clock that counts how often it is read."""

    reads = 0

    def monotonic(self) -> float:
        self.reads += 1
        return super().monotonic()


def test_whose_statement_is_taken_waits_for_the_end_of_the_commit(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is up, but only the end tells whether the job is stored."""
    clock = ReadClock()
    monkeypatch.setattr(turn_module, "time", clock)

    def execute(
        connection: sqlite3.Connection, text: str, *values: Any
    ) -> sqlite3.Cursor:
        if text == "COMMIT":
            clock.move(1000)
            read = clock.reads
            wait_until(lambda: clock.reads > read + 2, "the other one has looked")
        return sqlite3.Connection.execute(connection, text, *values)

    monkeypatch.setattr(SqliteConnection, "execute", execute)
    with in_line(opened, [partial(enqueue, opened)] * 2) as futures:
        pass

    assert {str(each.result()) for each in futures} <= set(stored(sql))


def test_who_is_interrupted_in_the_line_leaves_it(opened: Storage, sql: Sql) -> None:
    """As a greenlet that is killed, or the main thread by a handler that raises."""
    idents: list[int] = []

    def interrupted() -> str:
        idents.append(threading.get_ident())
        return enqueue(opened)

    works: list[Work] = [interrupted, partial(enqueue, opened)]
    with in_line(opened, works) as futures:
        kind = ctypes.py_object(SystemExit)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(idents[0]), kind)
        wait_until(lambda: len(turn_of(opened).line) == 1, "left")

    assert isinstance(futures[0].exception(), SystemExit)
    assert len(stored(sql)) == 2


class Failing:
    """Raises once, before or after a statement of whichever thread runs it first."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        begins_with: str,
        error: BaseException,
        *,
        is_run: bool,
    ) -> None:
        self._begins_with = begins_with
        self._error: BaseException | None = error
        self._is_run = is_run
        monkeypatch.setattr(SqliteConnection, "execute", self._hooked())

    def _hooked(self) -> Callable[..., sqlite3.Cursor]:
        def execute(
            connection: sqlite3.Connection, sql: str, *values: Any
        ) -> sqlite3.Cursor:
            fails = sql.startswith(self._begins_with) and self._error is not None
            if fails and not self._is_run:
                self._fail()
            cursor = sqlite3.Connection.execute(connection, sql, *values)
            if fails:
                self._fail()
            return cursor

        return execute

    def _fail(self) -> None:
        error, self._error = self._error, None
        assert error is not None
        raise error


PLACES = [
    (text, is_run)
    for text in ("BEGIN IMMEDIATE", "INSERT INTO forge_job", "COMMIT")
    for is_run in (False, True)
]


@pytest.mark.parametrize(("begins_with", "is_run"), PLACES)
def test_who_stores_for_all_and_is_interrupted_leaves_the_rest_to_them(
    opened: Storage,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    begins_with: str,
    *,
    is_run: bool,
) -> None:
    with in_line(opened, [partial(enqueue, opened)] * 5) as futures:
        Failing(monkeypatch, begins_with, KeyboardInterrupt(), is_run=is_run)

    errors = [each.exception() for each in futures]
    ids = {str(each.result()) for each in futures if each.exception() is None}
    assert [type(each) for each in errors if each] == [KeyboardInterrupt]
    # Behind the commit the interrupted one is stored, too.
    assert len(stored(sql)) == 5 + (begins_with == "COMMIT" and is_run)
    assert ids <= set(stored(sql))
    assert enqueue(opened)


def test_a_commit_that_fails_is_the_error_of_one_and_the_others_try_again(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = 10

    with in_line(opened, [partial(enqueue, opened)] * 4) as futures:
        Failing(monkeypatch, "COMMIT", error, is_run=False)

    errors = [each.exception() for each in futures]
    assert [type(each) for each in errors if each] == [StorageUnavailableError]
    assert len(stored(sql)) == 4


def test_a_commit_that_was_not_answered_stores_nothing_twice(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each meets its own id when it tries again."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = 10

    with in_line(opened, [partial(enqueued, opened, key="k")] * 3) as futures:
        Failing(monkeypatch, "COMMIT", error, is_run=True)

    results: Any = [each.result() for each in futures if each.exception() is None]
    assert len(results) == 2
    assert len(stored(sql)) == 2
    assert {each.id for each in results} <= set(stored(sql))


def test_what_nobody_knows_is_said_to_be_unclear(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who stored for both was interrupted twice, and the disk failed then."""
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorcode = 10

    def roll_back(connection: SqliteConnection) -> None:
        monkeypatch.undo()
        sqlite3.Connection.rollback(connection)
        Failing(monkeypatch, "INSERT INTO forge_job", broken, is_run=False)
        raise KeyboardInterrupt

    with in_line(opened, [partial(enqueue, opened)] * 2) as futures:
        Failing(monkeypatch, "COMMIT", KeyboardInterrupt(), is_run=False)
        monkeypatch.setattr(SqliteConnection, "rollback", roll_back)

    errors = {type(each.exception()): each.exception() for each in futures}
    assert errors.keys() == {KeyboardInterrupt, StorageOutcomeUnknownError}
    unclear = errors[StorageOutcomeUnknownError]
    assert isinstance(unclear, StorageOutcomeUnknownError)
    assert len(unclear.job_ids) == 1
    again = NewJob("noop", job_id=unclear.job_ids[0])
    assert opened.jobs.enqueue(again).id in stored(sql)


def test_forks_between_groups_lose_nothing(opened: Storage, sql: Sql) -> None:
    ends = threading.Event()
    ids: list[str] = []

    def produce() -> None:
        while not ends.is_set():
            ids.append(enqueue(opened))

    def fork() -> None:
        try:
            for _ in range(5):
                assert in_child(lambda: [enqueue(opened) for _ in range(3)]) == 0
        finally:
            ends.set()

    run_together([fork, *[produce] * 4])

    assert set(ids) <= set(stored(sql))
    assert len(stored(sql)) == 1 + len(ids) + 15


@pytest.mark.usefixtures("opened")
def test_a_killed_process_loses_no_job_that_it_has_acknowledged(
    sqlite_settings: DatabaseSettings, sql: Sql
) -> None:
    script = """
import threading
def produce():
    while True:
        print(storage.jobs.enqueue(NewJob("noop")).id + "\\n", end="", flush=True)
for _ in range(8):
    threading.Thread(target=produce).start()
"""
    acknowledged = []
    with start_python(sqlite_settings, script) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(line.strip())
            if len(acknowledged) == 300:
                process.kill()
    # The last line may be half of one.
    whole = {each for each in acknowledged if len(each) == 26}

    ids = stored(sql)
    assert len(whole) >= 300
    assert whole <= set(ids)
    assert len(ids) == len(set(ids))
    assert sql.run("PRAGMA integrity_check") == [("ok",)]


def test_tasks_of_an_application_share_commits(
    sqlite_settings: DatabaseSettings,
) -> None:
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = f"sqlite:///{sqlite_settings.path}"
    forge = ForgeJobs(app)

    @forge.task
    def note(number: int) -> None:
        del number

    def add(number: int) -> str:
        with app.app_context():
            return note.enqueue(number=number).id

    with contextlib.closing(state_of(app).storage) as storage:
        storage.recorder.on_activity = lambda: None
        add(0)
        before = commits_of(sqlite_settings)
        with in_line(storage, [partial(add, number) for number in range(6)]) as futures:
            pass
        assert commits_of(sqlite_settings) == before + 1
        ids = [str(each.result()) for each in futures]
        jobs = [storage.job_reader.get(job_id) for job_id in ids]

    assert [each.payload for each in jobs] == [f'{{"number":{n}}}' for n in range(6)]
    assert {each.queue_name for each in jobs} == {QUEUE}
