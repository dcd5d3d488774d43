"""An enqueue shows its job before the disk has it, and returns behind that."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError, StorageOutcomeUnknownError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.sqlite import connection, group
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from flask_forge_jobs.storage.sqlite.process import SqliteProcess
from flask_forge_jobs.storage.sqlite.shared_file import disable_autocheckpoint
from tests.storage.sqlite.test_group import in_line, stored
from tests.support.jobs import OWNER, QUEUE, enqueue
from tests.support.processes import LIMIT_S, in_child
from tests.support.sql import Sql
from tests.support.waiting import wait_until

Look = Callable[[], object]


@pytest.fixture
def settings(sqlite_settings: DatabaseSettings) -> DatabaseSettings:
    return replace(sqlite_settings, synchronous="FULL")


@pytest.fixture
def opened(settings: DatabaseSettings) -> Iterator[Storage]:
    """The stores, whose file is open and whose queue is known."""
    with contextlib.closing(open_storage(settings, jitter=None)) as storage:
        storage.recorder.on_activity = lambda: None  # its flusher would commit, too
        enqueue(storage)
        yield storage


@pytest.fixture
def sql(settings: DatabaseSettings) -> Sql:
    return Sql(settings)


def process_of(storage: Storage) -> SqliteProcess:
    assert isinstance(storage.database, SqliteDatabase)
    return storage.database._state


class Disk:
    """Notes the files that the disk writes, and looks before each; it may refuse.

    Args:
        look: Called before each.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, look: Look = bool) -> None:
        self.written: list[str] = []
        self.refuses = False
        self._look = look
        for module in (connection, group):
            monkeypatch.setattr(module, "sync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self._look()
        if self.refuses:
            raise OSError(errno.EIO, "Input/output error")
        os.fdatasync(descriptor)
        self.written.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)


def keep_nobody_out(storage: Storage) -> None:
    """Raise an error if this thread holds a lock of writers."""
    path = storage.database.file
    with open(f"{path}.ckpt-lock", "rb") as gate:  # noqa: PTH123
        fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert process_of(storage).turn.depth == 0
    with contextlib.closing(sqlite3.connect(str(path), timeout=0)) as other:
        disable_autocheckpoint(other)
        other.execute("BEGIN IMMEDIATE")


def test_the_job_is_there_before_the_disk_has_it_and_keeps_nobody_out(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str | None] = []
    seen: list[object] = []

    def look() -> None:
        seen.append((len(stored(sql)), list(woken)))
        keep_nobody_out(opened)

    listener = opened.database.listen(woken.append)
    disk = Disk(monkeypatch, look)
    enqueue(opened)
    listener.stop()

    assert seen == [(2, [QUEUE])]
    assert disk.written == ["queue.sqlite-wal"]


def test_all_of_a_group_wait_for_the_disk(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def add() -> None:
        ended.append(enqueue(opened))

    def look() -> None:
        seen.append((len(stored(sql)), len(ended)))

    seen: list[object] = []
    disk = Disk(monkeypatch, look)
    with in_line(opened, [add] * 4):
        pass

    assert seen == [(5, 0)]
    assert len(disk.written) == 1
    assert set(ended) < set(stored(sql))


def test_who_waits_for_the_disk_of_another_begins_nothing_of_its_own(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look of its own finds the turn free."""
    looks = threading.Semaphore(0)
    is_free = threading.Event()

    def look() -> None:
        is_free.set()
        assert looks.acquire(timeout=LIMIT_S)

    def release() -> None:
        assert is_free.wait(LIMIT_S)
        time.sleep(0.1)
        looks.release()

    disk = Disk(monkeypatch, look)
    with in_line(opened, [partial(enqueue, opened)] * 2):
        pass_on = threading.Thread(target=release)
        pass_on.start()
    pass_on.join()

    assert len(disk.written) == 1
    assert len(stored(sql)) == 3


ADDS: dict[str, Callable[[Storage, NewJob], object]] = {
    "one": lambda storage, job: storage.jobs.enqueue(job),
    "several": lambda storage, job: storage.jobs.enqueue_many([job, NewJob("noop")]),
    "full": lambda storage, job: storage.jobs.enqueue(job, max_waiting=100),
}


@pytest.mark.parametrize("way", ADDS)
def test_a_repetition_that_meets_its_job_has_the_disk_write_it(
    opened: Storage, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Another process may have died between its commit and the disk."""
    job = NewJob("noop", job_id=enqueue(opened))
    disk = Disk(monkeypatch, partial(keep_nobody_out, opened))

    ADDS[way](opened, job)

    assert "queue.sqlite-wal" in disk.written


def test_a_repetition_is_unclear_if_the_disk_has_refused_the_log_to_its_producer(
    opened: Storage, settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells nobody else, so the write of another process seems to succeed."""
    enqueue(opened, key="k")
    with contextlib.closing(open_storage(settings, jitter=None)) as producer:
        producer.database.open()
        disk = Disk(monkeypatch, process_of(producer).checkpoints.note_gap)

        with pytest.raises(StorageOutcomeUnknownError):
            enqueue(opened, key="k")

    assert disk.written[-1] == "queue.sqlite-wal"
    assert process_of(opened).checkpoints.must_mend


@pytest.mark.parametrize("way", ADDS)
def test_a_repetition_is_unclear_if_the_disk_refuses_the_log(
    opened: Storage, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    job = NewJob("noop", job_id=enqueue(opened))
    Disk(monkeypatch).refuses = True

    with pytest.raises(StorageOutcomeUnknownError) as caught:
        ADDS[way](opened, job)

    assert job.job_id in caught.value.job_ids
    assert process_of(opened).checkpoints.must_mend


def test_new_jobs_beside_a_repetition_wake_workers_if_the_disk_refuses_the_log(
    opened: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str | None] = []
    again, new = (
        NewJob("noop", job_id=enqueue(opened)),
        NewJob("noop", queue_name="bank"),
    )
    listener = opened.database.listen(woken.append)
    Disk(monkeypatch).refuses = True
    with pytest.raises(StorageOutcomeUnknownError):
        opened.jobs.enqueue_many([again, new])
    listener.stop()

    assert "bank" in woken


@pytest.mark.parametrize(
    "again",
    [
        NewJob("noop", dedupe_key="k"),
        NewJob("noop", dedupe_key="k", dedupe_for=timedelta(hours=1)),
    ],
)
def test_what_meets_the_job_of_its_key_has_the_disk_write_it(
    opened: Storage, monkeypatch: pytest.MonkeyPatch, again: NewJob
) -> None:
    enqueue(opened, key="k")
    disk = Disk(monkeypatch, partial(keep_nobody_out, opened))

    assert opened.jobs.enqueue(again).is_deduped

    assert "queue.sqlite-wal" in disk.written


def test_a_repetition_in_a_callers_transaction_has_the_disk_write_it(
    opened: Storage, settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = NewJob("noop", job_id=enqueue(opened))
    disk = Disk(monkeypatch)
    assert settings.path is not None

    with contextlib.closing(sqlite3.connect(settings.path)) as own:
        disable_autocheckpoint(own)
        opened.jobs.enqueue(job, connection=own)
        assert disk.written == ["queue.sqlite-wal"]
        own.commit()


def test_what_the_disk_refuses_is_unclear_and_written_before_anything_else(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk reports it once, and then forgets what it has refused."""
    seen: list[object] = []
    disk = Disk(monkeypatch, lambda: seen.append(len(stored(sql))))
    disk.refuses = True
    with pytest.raises(StorageOutcomeUnknownError) as caught:
        enqueue(opened)
    assert seen == [2, 2]  # the second to mend the log
    disk.refuses = False
    (job_id,) = caught.value.job_ids

    assert opened.jobs.enqueue(NewJob("noop", job_id=job_id)).id == job_id
    assert enqueue(opened)

    assert seen == [2] * 5 + [3]
    assert not process_of(opened).checkpoints.must_mend


def test_the_log_is_mended_at_once_and_not_by_a_checkpoint(
    opened: Storage, settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a checkpoint has written would be newer than a log with a gap."""
    assert settings.path is not None
    log = Path(f"{settings.path}-wal")
    before = settings.path.read_bytes()
    written: list[tuple[int, bytes]] = []
    pwrite = os.pwrite

    def noting(descriptor: int, block: bytes, at: int) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == log:
            written.append((at, block))
        return pwrite(descriptor, block, at)

    refusals = iter([True])

    def refuse_once() -> None:
        disk.refuses = next(refusals, False)

    monkeypatch.setattr(os, "pwrite", noting)
    disk = Disk(monkeypatch, refuse_once)
    with pytest.raises(StorageOutcomeUnknownError):
        enqueue(opened)

    assert written == [(0, log.read_bytes())]
    assert disk.written == [log.name]
    assert settings.path.read_bytes() == before
    assert not process_of(opened).checkpoints.must_mend


def test_a_process_that_opens_the_file_later_learns_of_the_gap(
    opened: Storage, settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has told it nothing."""
    disk = Disk(monkeypatch)
    disk.refuses = True
    with pytest.raises(StorageOutcomeUnknownError):
        enqueue(opened)
    disk.refuses = False

    with contextlib.closing(open_storage(settings, jitter=None)) as later:
        later.database.open()
        assert process_of(later).checkpoints.must_mend
        enqueue(later)
        assert not process_of(later).checkpoints.must_mend
    with contextlib.closing(open_storage(settings, jitter=None)) as last:
        last.database.open()
        assert not process_of(last).checkpoints.must_mend


@pytest.mark.parametrize("key", [None, "k"])
def test_a_callers_transaction_mends_the_log_too(
    opened: Storage,
    settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
) -> None:
    enqueue(opened, key="k")
    process_of(opened).checkpoints.note_gap()
    disk = Disk(monkeypatch)
    assert settings.path is not None

    with contextlib.closing(sqlite3.connect(settings.path)) as own:
        disable_autocheckpoint(own)
        opened.jobs.enqueue(NewJob("noop", dedupe_key=key), connection=own)
        assert disk.written == ["queue.sqlite-wal"] * (1 if key is None else 2)
        own.commit()


@pytest.mark.parametrize("what", ["COMMIT", "PRAGMA wal_checkpoint(PASSIVE)"])
def test_a_process_whose_own_write_meets_the_fault_mends_the_log(
    opened: Storage, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The fault may be in what another process has stored."""
    execute = SqliteConnection.execute

    def refusing(self: SqliteConnection, text: str, *values: Any) -> Any:
        if text == what:
            fault = sqlite3.OperationalError("disk I/O error")
            fault.sqlite_errorcode = 10 | (4 << 8)
            raise fault
        return execute(self, text, *values)

    checkpoints = process_of(opened).checkpoints
    checkpoints._path = checkpoints._file  # whatever the SQLite of this machine
    checkpoints._pages_to_add = 10_000
    with monkeypatch.context() as patch:
        patch.setattr(SqliteConnection, "execute", refusing)
        with contextlib.suppress(StorageError):
            opened.jobs.claim(QUEUE, OWNER)
    assert checkpoints.must_mend

    disk = Disk(monkeypatch)
    enqueue(opened)
    assert disk.written == ["queue.sqlite-wal"] * 2


WRITES: dict[str, Callable[[Storage], object]] = {
    "an enqueue": enqueue,
    "a transaction": lambda storage: storage.jobs.claim(QUEUE, OWNER),
}


@pytest.mark.parametrize("what", WRITES)
def test_nothing_is_stored_behind_what_the_disk_has_refused(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    process_of(opened).checkpoints.must_mend = True
    before = sql.run("SELECT id, status FROM forge_job")
    with monkeypatch.context() as patch:
        Disk(patch).refuses = True
        with pytest.raises(StorageError, match="Input/output error"):
            WRITES[what](opened)

    assert sql.run("SELECT id, status FROM forge_job") == before
    WRITES[what](opened)
    assert sql.run("SELECT id, status FROM forge_job") != before


def test_what_the_disk_refuses_is_unclear_for_all_of_a_group(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others try again, and meet their own jobs."""
    refusals = iter([True])

    def refuse_once() -> None:
        disk.refuses = next(refusals, False)

    disk = Disk(monkeypatch, refuse_once)
    with in_line(opened, [partial(enqueue, opened)] * 3) as futures:
        pass

    errors = [each.exception() for each in futures]
    assert [type(each) for each in errors if each] == [StorageOutcomeUnknownError]
    assert len(stored(sql)) == 4


@pytest.mark.parametrize("place", [0, 1])
def test_a_statement_that_fails_in_a_group_leaves_the_others_stored(
    opened: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    works: list[Callable[[], object]] = [partial(enqueue, opened)] * 2
    bad = NewJob("noop").with_checked(payload='"\ud800"')
    works.insert(place, partial(opened.jobs.enqueue, bad))
    disk = Disk(monkeypatch)

    with in_line(opened, works) as futures:
        pass

    errors = [each.exception() for each in futures]
    assert [type(each) for each in errors if each] == [UnicodeEncodeError]
    assert len(stored(sql)) == 3
    assert len(disk.written) == 1


def test_a_fork_waits_for_who_waits_for_the_disk(
    opened: Storage, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    """It closes the log, whose number another file might get."""
    is_waiting, is_over = threading.Event(), threading.Event()

    def look() -> None:
        is_waiting.set()
        assert not is_over.wait(0.2)

    disk = Disk(monkeypatch, look)
    thread = threading.Thread(target=enqueue, args=(opened,))
    thread.start()
    assert is_waiting.wait(LIMIT_S)
    assert in_child(lambda: None) == 0
    is_over.set()
    thread.join()

    assert disk.written == ["queue.sqlite-wal"]
    assert len(stored(sql)) == 2


def open_logs() -> int:
    links = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(each.readlink().name)
    return links.count("queue.sqlite-wal")


def test_the_end_of_the_process_closes_no_log_under_a_thread(opened: Storage) -> None:
    close: Any = process_of(opened).early_writer()._close_log
    assert not close.atexit


def test_a_thread_that_ends_and_stores_that_close_leave_no_log_open(
    opened: Storage,
) -> None:
    before = open_logs()
    thread = threading.Thread(target=enqueue, args=(opened,))
    thread.start()
    thread.join()
    del thread
    wait_until(lambda: open_logs() == before, "closed")

    opened.close()
    assert open_logs() == 0
    assert enqueue(opened)
    assert open_logs() == before


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_who_asked_for_less_waits_for_no_disk(
    settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch, synchronous: Any
) -> None:
    disk = Disk(monkeypatch)
    less = replace(settings, synchronous=synchronous)
    with contextlib.closing(open_storage(less)) as storage:
        job_id = enqueue(storage)
        storage.jobs.enqueue(NewJob("noop", job_id=job_id))

    assert disk.written == []


def test_sqlite_waits_itself_where_a_write_that_is_cut_off_damages_its_neighbour(
    settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = SqliteConnection.execute

    def told(self: SqliteConnection, text: str, *values: Any) -> Any:
        if text == "PRAGMA compile_options":
            text = "SELECT 'POWERSAFE_OVERWRITE=0'"
        return execute(self, text, *values)

    monkeypatch.setattr(SqliteConnection, "execute", told)
    disk = Disk(monkeypatch)
    with contextlib.closing(open_storage(settings)) as storage:
        enqueue(storage)
        enqueue(storage)
        writer = process_of(storage).early_writer()
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)

    assert disk.written == []
