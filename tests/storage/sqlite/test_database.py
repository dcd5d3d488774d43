"""SQLite: transactions, threads, damaged files and read time-outs."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import re
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Throttled
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from tests.api.mounting import PREFIX, mount
from tests.support.backends import long
from tests.support.clocks import MovingClock
from tests.support.jobs import OWNER, QUEUE, claim_one, enqueue, enqueued, finish, run
from tests.support.leaks import assert_leaks_nothing
from tests.support.processes import in_child, output_of, start_python
from tests.support.sql import Sql
from tests.support.threads import run_together

WRITES: dict[str, Callable[[Storage], object]] = {
    "enqueue": enqueue,
    "enqueue_many": lambda s: s.jobs.enqueue_many([NewJob("noop")]),
    "claim": lambda s: s.jobs.claim(QUEUE, OWNER),
    "exchange": lambda s: s.jobs.exchange(OWNER, [], {QUEUE: 1}),
    "finish": lambda s: finish(s, claim_one(s), Throttled()),
    "heartbeat": lambda s: s.jobs.heartbeat(OWNER, {"x": "1"}),
    "rescue": lambda s: s.jobs.rescue(s.jobs.running()),
    "delete": lambda s: s.job_admin.delete("x"),
    "change": lambda s: s.job_admin.change(JobAction.DELETE, ["x"]),
    "cancel": lambda s: s.job_admin.cancel(enqueue(s)),
    "reschedule": lambda s: s.job_admin.reschedule(enqueue(s), priority=1),
    "requeue": lambda s: s.job_admin.requeue("x"),
    "step": lambda s: [
        finish(s, claim_one(s), Dead("x")),
        s.job_admin.step(JobAction.RETRY, JobFilter()),
    ],
    "run_now": lambda s: s.job_admin.run_now(enqueue(s)),
    "fold_counts": lambda s: s.job_admin.fold_counts(0),
    "ensure": lambda s: s.queues.ensure("mail"),
    "delete_queue": lambda s: s.queues.delete("empty"),
    "delete_queue_with_jobs": lambda s: s.queues.delete_with_jobs(QUEUE),
    "create_queue": lambda s: s.queues.create(QueueSettings("new")),
    "change_queue": lambda s: s.queues.change(QUEUE, {"paused": True}),
    "set_paused_many": lambda s: s.queues.set_paused_many(None, paused=True),
    "sweep": lambda s: s.retention.sweep(),
    "take_lease": lambda s: s.leases.take("x", "y", 1),
    "release_lease": lambda s: s.leases.release("x", "y"),
    "beat": lambda s: s.workers.beat("host", None, [], []),
    "remove": lambda s: s.workers.remove("host"),
    "reap": lambda s: s.workers.reap(["host"]),
}
READS: dict[str, Callable[[Storage], object]] = {
    "get": lambda s: s.job_reader.page(JobFilter(), 5),
    "statistics": lambda s: s.job_reader.statistics(),
    "running": lambda s: s.jobs.running(),
    "cancelled": lambda s: s.jobs.cancelled(OWNER),
    "next_due": lambda s: s.jobs.next_due_in_s([QUEUE]),
    "queues": lambda s: s.queues.all(),
    "workers": lambda s: s.workers.all(),
}


def database_of(storage: Storage) -> SqliteDatabase:
    assert isinstance(storage.database, SqliteDatabase)
    return storage.database


def traced(storage: Storage, work: Callable[[Storage], object]) -> list[str]:
    """Return the statements that were run, without those of triggers."""
    database = database_of(storage)
    connection = database._state.connection()
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    try:
        work(storage)
    finally:
        connection.set_trace_callback(None)
    return [each for each in seen if not each.startswith(("--", "PRAGMA busy_timeout"))]


# -- transactions ------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITES)
def test_every_write_begins_immediately(sqlite: Storage, name: str) -> None:
    sqlite.queues.ensure("empty")
    enqueue(sqlite), enqueue(sqlite)
    sqlite.jobs.claim(QUEUE, OWNER)

    seen = traced(sqlite, WRITES[name])

    begun, alone = "", ""
    for statement in seen:
        if statement.startswith(("BEGIN", "COMMIT")):
            begun = statement.removeprefix("COMMIT")
        elif re.search(r"\b(INSERT INTO|UPDATE|DELETE FROM)\b", statement):
            # One statement of its own, seen again for its triggers, takes the lock as
            # it begins.
            alone = alone if begun else (alone or statement)
            assert begun == "BEGIN IMMEDIATE" or statement == alone, statement
    assert "BEGIN IMMEDIATE" in seen or len(set(seen)) == 1 or alone
    assert "ROLLBACK" not in seen


def test_a_transaction_has_the_time_behind_its_wait_for_the_lock(
    sqlite_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process was stopped before it, and a claim began before an earlier run's end"""
    clock = MovingClock()
    execute = SqliteConnection.execute

    def waiting(self: SqliteConnection, text: str, *values: Any) -> sqlite3.Cursor:
        if text == "BEGIN IMMEDIATE":
            clock.move(5)
        return execute(self, text, *values)

    with contextlib.closing(open_storage(sqlite_settings, clock=clock)) as storage:
        storage.recorder.on_activity = lambda: None
        enqueue(storage)
        monkeypatch.setattr(SqliteConnection, "execute", waiting)
        (job,) = storage.jobs.claim(QUEUE, OWNER)

    assert job.claimed_at_us == clock.now_us()


def test_an_enqueue_has_the_time_behind_its_wait_for_the_lock(
    sqlite_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an earlier time, a reader of the newest events has passed it by."""
    clock = MovingClock()
    execute = SqliteConnection.execute
    locked = iter([True])

    def waiting(self: SqliteConnection, text: str, *values: Any) -> sqlite3.Cursor:
        if text.startswith("INSERT INTO forge_job") and next(locked, False):
            clock.move(5)
            busy = sqlite3.OperationalError("database is locked")
            busy.sqlite_errorcode = 5
            raise busy
        return execute(self, text, *values)

    with contextlib.closing(open_storage(sqlite_settings, clock=clock)) as storage:
        storage.recorder.on_activity = lambda: None
        enqueue(storage)
        monkeypatch.setattr(SqliteConnection, "execute", waiting)
        added = enqueued(storage)
        job = storage.job_reader.get(added.id)

    assert added.scheduled_at_us == clock.now_us()
    assert to_micros(job.enqueued_at) == clock.now_us()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/jobs/enqueue", {"kind": "k", "payload": {}}),
        ("/v1/jobs", {"kind": "k", "payload": {}, "dedupe_key": "one"}),
        ("/queue/default/paused", {"paused": True}),
    ],
)
def test_a_change_over_http_and_its_entry_are_one_commit(
    sqlite: Storage, path: str, body: dict[str, object]
) -> None:
    client = mount(sqlite)
    # The first registers the queue, the second remembers the stored kind.
    for _ in range(2):
        client.post(f"{PREFIX}/v1/jobs", json={"kind": "k", "payload": {}})

    seen = traced(sqlite, lambda _: client.post(PREFIX + path, json=body))

    changes = [
        place
        for place, statement in enumerate(seen)
        if re.search(r"\b(INSERT INTO|UPDATE|DELETE FROM)\b", statement)
    ]
    [begun] = [place for place, text in enumerate(seen) if text.startswith("BEGIN I")]
    [ended] = [place for place, text in enumerate(seen) if text == "COMMIT"]
    assert begun < min(changes) < max(changes) < ended


@pytest.mark.parametrize("name", READS)
def test_every_read_is_one_snapshot(sqlite: Storage, name: str) -> None:
    enqueue(sqlite)

    seen = traced(sqlite, READS[name])

    marks = [each for each in seen if each.startswith(("BEGIN", "COMMIT"))]
    if len(seen) == 1:  # one statement is a snapshot by itself
        assert marks == []
    else:
        assert marks == [seen[0], seen[-1]] == ["BEGIN", "COMMIT"]


def test_an_error_in_a_unit_rolls_it_back(sqlite: Storage) -> None:
    def work(transaction: Transaction) -> None:
        transaction.run("ensure_queue", name="lost", max_workers=1, max_queues=9)
        raise LookupError

    with pytest.raises(LookupError):
        sqlite.database.write(work)

    assert sqlite.queues.all() == []


def test_a_write_within_a_write_is_an_error(sqlite: Storage) -> None:
    with pytest.raises(StorageError, match="write cannot start inside a transaction"):
        sqlite.database.write(lambda _: sqlite.queues.ensure("inner"))
    with pytest.raises(StorageError, match="read cannot start inside a transaction"):
        sqlite.database.write(lambda _: sqlite.queues.all())

    assert sqlite.queues.all() == []


def test_a_locked_file_is_busy_after_the_time_out(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    sqlite.open()
    impatient = open_storage(
        DatabaseSettings(path=sqlite_settings.path, busy_timeout_s=0.05)
    )
    assert sqlite_settings.path is not None
    with (
        contextlib.closing(impatient),
        contextlib.closing(sqlite3.connect(sqlite_settings.path)) as other,
    ):
        impatient.open()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusyError, match=r"queue\.sqlite is locked"):
            enqueue(impatient)
        assert impatient.queues.all() == []  # readers are not held up
        other.rollback()

        assert enqueue(impatient)


def test_a_writer_looks_for_the_lock_until_its_time_is_up(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    """SQLite's own waiting would be one look, answered late."""
    sqlite.open()
    impatient = open_storage(
        DatabaseSettings(path=sqlite_settings.path, busy_timeout_s=0.2)
    )
    assert sqlite_settings.path is not None
    with (
        contextlib.closing(impatient),
        contextlib.closing(sqlite3.connect(sqlite_settings.path)) as other,
    ):
        impatient.open()
        other.execute("BEGIN IMMEDIATE")

        def write(storage: Storage) -> None:
            with pytest.raises(StorageBusyError):
                enqueue(storage)

        seen = traced(impatient, write)
        assert seen.count("BEGIN IMMEDIATE") > 5

        impatient.queues.all()
        assert dict(impatient.database.describe())["busy_timeout_secs"] == "0.2"


def test_a_thread_that_waits_too_long_for_another_is_told(
    sqlite_settings: DatabaseSettings,
) -> None:
    settings = DatabaseSettings(path=sqlite_settings.path, busy_timeout_s=0.05)
    with contextlib.closing(open_storage(settings)) as storage:
        storage.open()
        inside, leave = threading.Event(), threading.Event()

        def hold(_: Transaction) -> None:
            inside.set()
            assert leave.wait(30)

        holder = threading.Thread(target=storage.database.write, args=[hold])
        holder.start()
        assert inside.wait(30)
        try:
            with pytest.raises(StorageBusyError, match="another thread"):
                enqueue(storage)
        finally:
            leave.set()
            holder.join()


class LockedError(sqlite3.OperationalError):
    """A transient fault."""

    sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT


def test_a_transient_fault_is_retried_whole(sqlite_settings: DatabaseSettings) -> None:
    waited: list[float] = []
    database = SqliteDatabase(sqlite_settings, SystemClock(), wait=waited.append)
    attempts: list[int] = []

    def work(transaction: Transaction) -> str:
        attempts.append(transaction.attempt)
        transaction.run(
            "ensure_queue", name=f"q{transaction.attempt}", max_workers=1, max_queues=9
        )
        if len(attempts) < 3:
            raise LockedError
        return "stored"

    with contextlib.closing(database):
        assert database.write(work) == "stored"
        rows = database.read(lambda tx: tx.all("all_queues"))

    assert (attempts, waited) == ([0, 1, 2], [0.1, 0.3])
    assert [row[0] for row in rows] == ["q2"]


class CrowdedError(sqlite3.OperationalError):
    """SQLite gives up to get at the log, which too many use at once."""

    sqlite_errorcode = sqlite3.SQLITE_PROTOCOL


@pytest.mark.parametrize("error", [LockedError, CrowdedError])
@pytest.mark.parametrize("verb", ["write", "read", "open"])
def test_a_fault_that_stays_surfaces_as_ours(
    sqlite_settings: DatabaseSettings,
    error: type[Exception],
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = SqliteDatabase(sqlite_settings, SystemClock(), wait=lambda _: None)

    def fail(*_: object) -> None:
        raise error

    with contextlib.closing(database):
        if verb == "open":
            monkeypatch.setattr(database._state, "_configure", fail)
        else:
            database.open()
        call = (
            database.open if verb == "open" else partial(getattr(database, verb), fail)
        )
        with pytest.raises(StorageBusyError):
            call()


def test_a_unique_violation_is_not_retried(sqlite_settings: DatabaseSettings) -> None:
    waited: list[float] = []
    database = SqliteDatabase(sqlite_settings, SystemClock(), wait=waited.append)

    def work(transaction: Transaction) -> None:
        for _ in range(2):
            transaction.run("record_version", version=99, oldest_reader=1, name="x")

    with contextlib.closing(database), pytest.raises(StorageError):
        database.write(work)

    assert waited == []


def test_commits_reach_the_disk_by_default(tmp_path: Path) -> None:
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    with contextlib.closing(open_storage(settings)) as storage:
        storage.open()
        connection = database_of(storage)._state.connection()

        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# -- the limit of a read -----------------------------------------------------------


def test_sec_S29_a_read_that_takes_too_long_is_given_up(
    sqlite_settings: DatabaseSettings,
) -> None:
    clock = MovingClock()

    class Impatient(MovingClock):
        """Moves a second at each look."""

        def monotonic(self) -> float:
            clock.move(1)
            return clock.monotonic()

    settings = DatabaseSettings(path=sqlite_settings.path, statement_timeout_s=5)
    with contextlib.closing(open_storage(settings, clock=Impatient())) as storage:
        storage.open()
        Sql(settings).seed(20_000)

        with pytest.raises(StorageUnavailableError, match="longer than 5"):
            storage.job_reader.page(JobFilter(payload_search="not there"), 5)

        assert storage.queues.all() == []  # the connection is as good as new
        assert enqueue(storage)


# -- threads and forks -------------------------------------------------------------


def test_every_thread_has_a_connection_that_ends_with_it(sqlite: Storage) -> None:
    sqlite.open()
    state = database_of(sqlite)._state

    run_together([lambda: enqueue(sqlite) and len(state._connections)] * 6)

    assert len(state._connections) == 1
    assert sqlite.job_reader.statistics()[QUEUE].counts.pending == 6


def test_a_read_that_is_under_way_ends_before_its_connection(sqlite: Storage) -> None:
    """Closing a connection under a statement would end the whole process."""
    sqlite.queues.ensure(QUEUE)
    reads, leave = threading.Event(), threading.Event()
    names: list[object] = []

    def read(transaction: Transaction) -> None:
        reads.set()
        assert leave.wait(10)
        names.extend(row[0] for row in transaction.all("all_queues"))

    reader = threading.Thread(target=sqlite.database.read, args=(read,))
    closer = threading.Thread(target=sqlite.close)
    reader.start()
    assert reads.wait(10)
    closer.start()
    closer.join(0.3)
    assert closer.is_alive()
    leave.set()
    reader.join(10)
    closer.join(10)

    assert names == [QUEUE]
    assert not closer.is_alive()


def test_a_database_in_memory_is_shared_by_threads() -> None:
    with contextlib.closing(open_storage(DatabaseSettings())) as storage:
        run_together([lambda: [enqueue(storage) for _ in range(20)]] * 6)

        assert storage.job_reader.statistics()[QUEUE].counts.pending == 120


def test_a_fork_opens_its_own_and_leaves_the_parents_alone(sqlite: Storage) -> None:
    """Both sides go on with the same Storage object."""
    first = enqueue(sqlite)

    def child() -> None:
        assert sqlite.job_reader.get(first).id == first
        claim_one(sqlite, owner="child")
        enqueue(sqlite, "from the child")
        sqlite.close()

    assert in_child(child) == 0
    assert in_child(child) == 0

    assert sqlite.job_reader.statistics()[QUEUE].counts.total == 3
    assert len(sqlite.jobs.running()) == 2
    assert enqueue(sqlite)
    database = database_of(sqlite)
    connection = database._state.connection()
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_processes_under_write_load_lose_no_outcome(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    """Two processes on one SQLite file under write load"""
    sqlite.jobs.enqueue_many([NewJob("noop") for _ in range(400)])
    script = """
owner, refused, jobs = sys.argv[8], 0, []
while True:
    done = [JobUpdate(job, JobStatus.DONE) for job in jobs]
    exchange = storage.jobs.exchange(owner, done, {"default": 2})
    refused += len(exchange.refused)
    jobs = exchange.claimed
    if not jobs:
        break
print(refused)
storage.close()
"""
    workers = [start_python(sqlite_settings, script, f"process-{n}") for n in range(2)]

    assert [output_of(worker) for worker in workers] == ["0\n", "0\n"]

    assert sqlite.job_reader.statistics()[QUEUE].counts.done == 400
    sql = Sql(sqlite_settings)
    assert sql.value("SELECT SUM(attempts) FROM forge_job") == 400
    sql.assert_counts_equal_rows()


# -- damaged files -----------------------------------------------------------------


def sound_file(path: Path) -> bytes:
    """Make a database with some jobs and return its bytes, all in one file."""
    with contextlib.closing(open_storage(DatabaseSettings(path=path))) as storage:
        storage.jobs.enqueue_many([NewJob("noop", '"' + "x" * 500 + '"')] * 200)
        run(storage, Failed("x"))
        run(storage, Done())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return path.read_bytes()


def damaged(kind: str, sound: bytes) -> bytes:
    """Return a damaged copy of a sound file."""
    noise = random.Random(7).randbytes
    return {
        "header": b"Not a database \x00" + sound[16:],
        "page size": sound[:16] + b"\x00\x07" + sound[18:],
        # SQLite quotes the statement in its error, which is then no text.
        "schema": sound.replace(
            b"CREATE TABLE forge_job", b"CREATE TABL\xe1 forge_job"
        ),
        "truncated": sound[: len(sound) // 3 + 100],
        "one page": sound[:4096],
        "random": noise(50_000),
        "short": noise(5),
        "text": b"[database]\npath = 'queue.sqlite'\n" * 40,
        "scribbled": sound[:4096] + noise(len(sound) - 4096),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "header",
        "page size",
        "schema",
        "truncated",
        "one page",
        "random",
        "short",
        "text",
        "scribbled",
    ],
)
def test_a_damaged_file_is_refused_by_name_and_left_as_it_is(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "queue.sqlite"
    broken = damaged(kind, sound_file(path))
    path.write_bytes(broken)

    with contextlib.closing(open_storage(DatabaseSettings(path=path))) as storage:
        with pytest.raises(StorageCorruptError) as caught:
            storage.job_reader.page(JobFilter(payload_search="x"), 500)

        assert str(path) in str(caught.value)
        with pytest.raises(StorageCorruptError):
            enqueue(storage)
    if kind != "scribbled":
        assert path.read_bytes() == broken


CALLS: list[Callable[[Storage], object]] = [
    Storage.open,
    lambda s: s.job_reader.page(JobFilter(), 500),
    lambda s: s.job_reader.statistics(),
    lambda s: s.jobs.claim(QUEUE, OWNER, 50),
    lambda s: s.jobs.running(),
    lambda s: s.jobs.heartbeat(OWNER, {}),
    enqueue,
]


def test_no_flipped_bit_raises_an_error_of_another_kind(tmp_path: Path) -> None:
    """Each call works or tells what is the matter, whatever the disk has lost."""
    path = tmp_path / "queue.sqlite"
    sound = sound_file(path)
    told = 0
    for seed in range(140, 200):
        chance = random.Random(seed)
        broken = bytearray(sound)
        for _ in range(chance.randint(1, 40)):
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        for each in tmp_path.glob("queue.sqlite*"):
            if each.is_file():
                each.unlink()
        path.write_bytes(broken)
        storage = open_storage(DatabaseSettings(path=path, synchronous="OFF"))
        for call in CALLS:
            try:
                call(storage)
            except StorageError:
                told += 1
        with contextlib.suppress(StorageError):
            storage.close()

    assert told > 0


def test_an_emptied_file_with_a_log_is_refused(tmp_path: Path) -> None:
    """SQLite itself would delete the log and start over."""
    path = tmp_path / "queue.sqlite"
    path.touch()
    log = Path(f"{path}-wal")
    log.write_bytes(b"what is left")

    with (
        contextlib.closing(open_storage(DatabaseSettings(path=path))) as storage,
        pytest.raises(StorageCorruptError, match="is empty but") as caught,
    ):
        storage.open()

    assert str(path) in str(caught.value)
    assert (path.read_bytes(), log.read_bytes()) == (b"", b"what is left")


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    path.touch()

    with contextlib.closing(open_storage(DatabaseSettings(path=path))) as storage:
        assert enqueue(storage)


@pytest.fixture
def folder_in_the_way(tmp_path: Path) -> Path:
    path = tmp_path / "queue.sqlite"
    path.mkdir()
    return path


def test_a_path_that_is_no_file_is_unavailable(folder_in_the_way: Path) -> None:
    settings = DatabaseSettings(path=folder_in_the_way)

    with (
        contextlib.closing(open_storage(settings)) as storage,
        pytest.raises(StorageUnavailableError) as caught,
    ):
        storage.open()

    assert str(folder_in_the_way) in str(caught.value)


def test_a_parent_that_is_no_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = DatabaseSettings(path=tmp_path / "file" / "queue.sqlite")

    with (
        contextlib.closing(open_storage(settings)) as storage,
        pytest.raises(StorageUnavailableError, match=r"queue\.sqlite"),
    ):
        storage.open()


def test_missing_parents_are_made(tmp_path: Path) -> None:
    settings = DatabaseSettings(path=tmp_path / "a" / "b" / "queue.sqlite")

    with contextlib.closing(open_storage(settings)) as storage:
        assert enqueue(storage)


def test_a_relative_path_is_fixed_when_the_storage_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage(DatabaseSettings(path=Path("queue.sqlite")))
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")

    with contextlib.closing(storage):
        enqueue(storage)

    assert (tmp_path / "queue.sqlite").exists()


@pytest.mark.parametrize("is_file", [long(False), True])
def test_a_database_is_closed_with_whoever_had_it(
    sqlite_settings: DatabaseSettings, *, is_file: bool
) -> None:
    """Tests make an application each; one that is not closed is warned of."""
    settings = sqlite_settings if is_file else DatabaseSettings()

    def let_go() -> None:
        database = SqliteDatabase(settings, SystemClock())
        database.open()
        connection = database._state.connection()

        del database
        gc.collect()

        assert connection.is_closed

    assert_leaks_nothing(let_go)


def test_the_connections_of_other_threads_close_too(
    sqlite_settings: DatabaseSettings,
) -> None:
    """A server's threads outlive an application that is dropped."""
    database = SqliteDatabase(sqlite_settings, SystemClock())
    database.open()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(database.read_one, "all_queues").result()
        thread.submit(int).result()  # by now the thread has let go of the first call
        connections = list(database._state._connections)
        assert len(connections) == 2

        del database
        gc.collect()

        assert [each.is_closed for each in connections] == [True, True]


def test_a_thread_that_collects_what_was_let_go_waits_for_nobody(
    sqlite_settings: DatabaseSettings,
) -> None:
    """A finalizer that waits would hold up whichever thread it runs in."""
    database = SqliteDatabase(sqlite_settings, SystemClock())
    database.open()
    connection = database._state.connection()
    connection.in_use.acquire()

    del database
    collector = threading.Thread(target=gc.collect, daemon=True)
    collector.start()
    collector.join(10)

    assert not collector.is_alive()
    connection.in_use.release()
    connection.close()
