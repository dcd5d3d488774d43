"""A file that is deleted, moved or replaced while it is open (D9).

SQLite goes on with the file that it has open, whatever its name leads to by now. So
jobs would be acknowledged that nobody ever finds.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.handlers.readiness import ReadyStatus, readiness
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.sqlite.checkpoint import Checkpoints, has_wal_reset_bug
from tests.support.file_harms import delete, move, restore
from tests.support.jobs import QUEUE, enqueue


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


WRITES: dict[str, Callable[[Storage], object]] = {
    "a statement": enqueue,
    "a transaction": lambda s: s.jobs.enqueue_many([NewJob("noop"), NewJob("noop")]),
}
HOLD = (
    "import sqlite3, sys; file = sqlite3.connect(sys.argv[1]); "
    "file.execute('SELECT * FROM sqlite_schema'); print(flush=True); sys.stdin.read()"
)
GONE = r"queue\.sqlite: disk I/O error; .* removed or replaced: .* its -wal and -shm"
refused = pytest.raises(
    StorageUnavailableError, match=r"queue\.sqlite was moved, deleted or replaced"
)


@pytest.fixture
def path(sqlite_settings: DatabaseSettings) -> Path:
    assert sqlite_settings.path is not None
    return sqlite_settings.path


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> DatabaseSettings:
    return DatabaseSettings(path=tmp_path / "data" / "queue.sqlite", synchronous="OFF")


@pytest.mark.parametrize("harm", [delete, move, restore, move_the_folder])
@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_acknowledged_that_nobody_will_find(
    sqlite: Storage, path: Path, harm: Callable[[Path], None], name: str
) -> None:
    enqueue(sqlite)
    harm(path)
    is_there = path.exists()

    with ThreadPoolExecutor(1) as other_thread:
        for _ in range(2):
            with refused:
                WRITES[name](sqlite)
            with refused:  # which would open the other file
                other_thread.submit(WRITES[name], sqlite).result()
    with refused:
        sqlite.queues.all()

    assert path.exists() == is_there
    assert readiness(sqlite).status is ReadyStatus.UNAVAILABLE


@pytest.mark.parametrize("harm", [delete, restore])
def test_a_file_is_missed_while_no_thread_has_it_open(
    sqlite_settings: DatabaseSettings, path: Path, harm: Callable[[Path], None]
) -> None:
    """As where a server has a thread for each request."""
    with contextlib.closing(open_storage(sqlite_settings)) as storage:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(storage.queues.ensure, "mail").result()
        harm(path)
        is_there = path.exists()

        with ThreadPoolExecutor(1) as thread, refused:
            thread.submit(storage.queues.ensure, "news").result()

        assert path.exists() == is_there


@contextlib.contextmanager
def callers_connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=0)
    with contextlib.closing(connection):
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        yield connection


@pytest.mark.parametrize("harm", [delete, move, restore, move_the_folder])
def test_nothing_is_stored_in_a_callers_transaction_that_nobody_will_find(
    sqlite: Storage, path: Path, harm: Callable[[Path], None]
) -> None:
    enqueue(sqlite)
    with callers_connection(path) as before:
        before.execute("SELECT * FROM forge_job").fetchall()  # opens the file
        harm(path)

        with refused:
            sqlite.jobs.enqueue(NewJob("noop"), connection=before)
        assert not before.in_transaction
        if path.exists():  # the storage, too, is still open on the other file
            with callers_connection(path) as after, refused:
                sqlite.jobs.enqueue(NewJob("noop"), connection=after)


def test_a_callers_connection_to_a_replaced_file_is_refused(
    sqlite: Storage, path: Path
) -> None:
    """As one of a pool that was there before the storage opened the new file."""
    enqueue(sqlite)
    with callers_connection(path) as before:
        before.execute("SELECT * FROM forge_job").fetchall()
        sqlite.close()
        restore(path)
        enqueue(sqlite)

        with pytest.raises(StorageUnavailableError, match=r"connection to .* replaced"):
            sqlite.jobs.enqueue(NewJob("noop"), connection=before)
        assert not before.in_transaction
        with callers_connection(path) as after:
            sqlite.jobs.enqueue(NewJob("noop"), connection=after)
            after.commit()

    assert sqlite.job_reader.statistics()[QUEUE].counts.pending == 3


def test_a_file_that_is_put_back_is_used_again(sqlite: Storage, path: Path) -> None:
    enqueue(sqlite)
    aside = path.with_name("aside.sqlite")
    path.rename(aside)
    with refused:
        enqueue(sqlite)
    aside.rename(path)

    enqueue(sqlite)

    assert sqlite.job_reader.statistics()[QUEUE].counts.pending == 2


def test_a_process_that_opens_it_anew_uses_the_new_file(
    sqlite: Storage, path: Path
) -> None:
    enqueue(sqlite)
    restore(path)
    with refused:
        enqueue(sqlite)

    sqlite.close()
    enqueue(sqlite)

    assert sqlite.job_reader.statistics()[QUEUE].counts.pending == 2


def test_a_log_that_is_left_of_a_removed_file_is_named(
    sqlite_settings: DatabaseSettings, path: Path
) -> None:
    """Another process still has both open, so SQLite does not take it for old."""
    with contextlib.closing(open_storage(sqlite_settings)) as storage:
        enqueue(storage)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        enqueue(storage)
    path.unlink()

    with (
        holder,
        contextlib.closing(open_storage(sqlite_settings)) as anew,
        pytest.raises(StorageUnavailableError, match=GONE),
    ):
        anew.open()


@pytest.mark.skipif(not has_wal_reset_bug(), reason="SQLite checkpoints by itself")
def test_a_checkpoint_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        path.unlink()
        with contextlib.suppress(sqlite3.Error):
            Checkpoints(path)._make(connection, path)

    assert not path.exists()
