"""SQLite and forks: a child loses no job that it was told is stored.

A child inherits SQLite's record of the process's locks, but not the locks. So what it
opens beside an inherited connection is unlocked, and the parent deletes its log when it
closes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from flask_forge_jobs import forks
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageBusyError, StorageError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from tests.support.jobs import QUEUE, enqueue
from tests.support.processes import (
    Child,
    Peer,
    fork_in_c,
    fork_with_terminal,
    in_child,
    output_of,
)
from tests.support.sql import Sql
from tests.support.threads import Heard, run_together

HOOKED = [os.fork, fork_with_terminal]


def descriptors(path: Path | None, pid: int | str = "self") -> list[str]:
    """Return a process's descriptors of a file and the files beside it."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed by now
            target = str(entry.readlink())
            if target.startswith(f"{path}"):
                found.append(target)
    return found


def is_refused(storage: Storage) -> bool:
    """Whether a storage refuses to work, every time and with a reason."""
    for work in (lambda: enqueue(storage), storage.queues.all):
        try:
            work()
        except StorageError as error:
            assert "was forked" in str(error)  # noqa: PT017  # this is the other process
        else:
            return False
    return True


def expect_refusal(storage: Storage) -> None:
    assert is_refused(storage)


def kinds(settings: DatabaseSettings) -> set[str]:
    return {kind for (kind,) in Sql(settings).run("SELECT kind FROM forge_job")}


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork that waits for nothing that is under way."""
    monkeypatch.setattr(forks, "LONGEST_WAIT_S", 0.05)


# -- who closes first --------------------------------------------------------------


@pytest.mark.parametrize("fork", HOOKED)
@pytest.mark.parametrize("closes", ["first", "last", "never"])
def test_what_a_child_stores_is_there_whoever_closes_first(
    sqlite: Storage,
    sqlite_settings: DatabaseSettings,
    fork: Callable[[], int],
    closes: str,
) -> None:
    enqueue(sqlite, kind="parent, before")

    def work(parent: Peer) -> None:
        enqueue(sqlite, kind="child, before")
        parent.say()
        parent.hear()
        for number in range(15):
            enqueue(sqlite, kind=f"child, {number}")
        if closes == "last":
            sqlite.close()
        parent.say()
        parent.hear()

    child = Child(work, fork)
    child.hear()
    enqueue(sqlite, kind="parent, meanwhile")
    if closes == "first":
        sqlite.close()
    child.say()
    child.hear()
    if closes == "last":
        sqlite.close()
    child.say()
    assert child.end() == 0

    told = {f"child, {number}" for number in range(15)} | {"child, before"}
    assert kinds(sqlite_settings) == told | {"parent, before", "parent, meanwhile"}
    with contextlib.closing(sqlite3.connect(str(sqlite_settings.path))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_outlives_its_parent(
    sqlite_settings: DatabaseSettings, tmp_path: Path, method: str
) -> None:
    """The parent ends as scripts do: it enqueues, starts a child and is done."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import multiprocessing, sys
from flask_forge_jobs import DatabaseSettings, NewJob, open_storage
storage = open_storage(DatabaseSettings.from_url("sqlite:///{sqlite_settings.path}"))

def produce(parent):
    storage.jobs.enqueue(NewJob("child, before"))
    parent.send("stored")
    parent.recv()
    for number in range(15):
        storage.jobs.enqueue(NewJob("child"))
    print("told", flush=True)

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    child, parent = context.Pipe()
    storage.jobs.enqueue(NewJob("parent"))
    context.Process(target=produce, args=(parent,)).start()
    child.recv()
    storage.close()
    child.send("closed")
""")
    parent = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    assert output_of(parent) == "told\n"

    rows = Sql(sqlite_settings).run("SELECT kind FROM forge_job ORDER BY kind")
    assert rows == [("child",)] * 15 + [("child, before",), ("parent",)]


def test_a_grandchild_stores_beside_its_parents(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    enqueue(sqlite, kind="parent")

    def grandchild(child: Peer) -> None:
        enqueue(sqlite, kind="grandchild")
        child.say()
        child.hear()
        enqueue(sqlite, kind="grandchild, alone")

    def work(_: Peer) -> None:
        enqueue(sqlite, kind="child")
        youngest = Child(grandchild)
        youngest.hear()
        enqueue(sqlite, kind="child, later")
        sqlite.close()
        youngest.say()
        assert youngest.end() == 0

    child = Child(work)
    sqlite.close()
    assert child.end() == 0

    assert kinds(sqlite_settings) == {
        "parent", "child", "child, later", "grandchild", "grandchild, alone",
    }  # fmt: skip


def test_a_fork_that_failed_leaves_everything_usable(sqlite: Storage) -> None:
    enqueue(sqlite)

    # What Python calls around a fork for which there is no process left.
    forks._forks.before()
    forks._forks.after_in_parent()

    run_together([lambda: enqueue(sqlite)] * 2)
    assert in_child(lambda: enqueue(sqlite)) == 0
    assert sqlite.job_reader.statistics()[QUEUE].counts.pending == 4


# -- threads -----------------------------------------------------------------------


@contextlib.contextmanager
def writing(storage: Storage, threads: int = 2) -> Iterator[list[int]]:
    """Have threads that write, and one that reads, until the end of a block."""
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            enqueue(storage, kind="thread")
            written.append(1)

    def read() -> None:
        while not stop.is_set():
            storage.queues.all()

    works = [threading.Thread(target=write) for _ in range(threads)]
    works.append(threading.Thread(target=read))
    for each in works:
        each.start()
    try:
        yield written
    finally:
        stop.set()
        for each in works:
            each.join()


def test_children_of_a_process_whose_threads_write_can_write(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    enqueue(sqlite)
    with writing(sqlite) as written:
        for _ in range(8):
            assert in_child(lambda: enqueue(sqlite, kind="child")) == 0

    stored = Sql(sqlite_settings)
    assert stored.value("SELECT COUNT(*) FROM forge_job") == 1 + 8 + len(written)
    stored.assert_counts_equal_rows()


def test_threads_that_fork_at_the_same_time_wait_for_each_other(
    sqlite: Storage,
) -> None:
    def fork_and_write() -> None:
        for _ in range(4):
            enqueue(sqlite)
            assert in_child(lambda: enqueue(sqlite)) == 0

    run_together([fork_and_write] * 3)

    assert sqlite.job_reader.statistics()[QUEUE].counts.pending == 24


def test_a_fork_waits_for_a_read_in_another_thread(sqlite: Storage) -> None:
    sqlite.queues.ensure(QUEUE)
    reads, leave = threading.Event(), threading.Event()
    names: list[object] = []

    def read(transaction: Transaction) -> None:
        reads.set()
        assert leave.wait(10)
        names.extend(row[0] for row in transaction.all("all_queues"))

    reader = threading.Thread(target=sqlite.database.read, args=(read,))
    reader.start()
    assert reads.wait(10)
    forker = threading.Thread(
        target=lambda: names.append(in_child(lambda: enqueue(sqlite)))
    )
    forker.start()
    forker.join(0.1)
    assert forker.is_alive()
    leave.set()
    reader.join(10)
    forker.join(10)

    assert names == [QUEUE, 0]


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize("verb", ["write", "read"])
def test_a_child_is_refused_what_another_thread_would_not_let_go(
    sqlite: Storage, verb: str
) -> None:
    """The child's writes would fail or be lost; the parent works on."""
    sqlite.open()
    inside, leave = threading.Event(), threading.Event()

    def work(transaction: Transaction) -> None:
        transaction.all("all_queues")
        inside.set()
        assert leave.wait(30)

    holder = threading.Thread(target=getattr(sqlite.database, verb), args=[work])
    holder.start()
    assert inside.wait(30)
    try:
        assert in_child(lambda: expect_refusal(sqlite)) == 0
    finally:
        leave.set()
        holder.join()

    assert enqueue(sqlite)
    assert in_child(lambda: enqueue(sqlite)) == 0


@pytest.mark.parametrize("verb", ["write", "read"])
def test_a_fork_within_a_transaction_waits_for_nothing_and_refuses_the_child(
    sqlite: Storage, verb: str
) -> None:
    sqlite.open()

    def work(transaction: Transaction) -> None:
        if verb == "write":
            transaction.run("ensure_queue", name="parents", max_workers=1, max_queues=9)
        else:
            transaction.all("all_queues")
        assert in_child(lambda: expect_refusal(sqlite)) == 0
        # A grandchild has the same note.
        assert in_child(lambda: in_child(lambda: expect_refusal(sqlite))) == 0

    getattr(sqlite.database, verb)(work)

    assert [queue.name for queue in sqlite.queues.all()] == ["parents"] * (
        verb == "write"
    )
    assert in_child(lambda: enqueue(sqlite)) == 0


def test_a_child_closes_nothing_of_the_threads_that_it_has_lost(
    sqlite: Storage,
) -> None:
    """Each has an idle connection that a transaction kept open across the fork."""
    database = sqlite.database
    assert isinstance(database, SqliteDatabase)
    ready, leave = threading.Event(), threading.Event()
    idle: list[SqliteConnection] = []

    def read() -> None:
        sqlite.queues.all()
        idle.append(database._state.connection())
        ready.set()
        assert leave.wait(30)

    def expect_open() -> None:
        gc.collect()
        assert not idle[0].is_closed
        idle[0].execute("SELECT COUNT(*) FROM forge_job")

    reader = threading.Thread(target=read)
    reader.start()
    assert ready.wait(30)
    try:
        assert database.write(lambda _: in_child(expect_open)) == 0
    finally:
        leave.set()
        reader.join()


def test_a_listener_goes_on_in_the_parent(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    heard = Heard()
    listener = sqlite.database.listen(heard)

    assert in_child(lambda: enqueue(sqlite, queue_name="from the child")) == 0

    assert heard.wait_for("from the child")
    with contextlib.closing(open_storage(sqlite_settings)) as other:
        enqueue(other, queue_name="from outside")
    assert heard.wait_for("from outside")
    listener.stop()


def test_what_is_in_use_is_not_closed_for_ever(
    sqlite: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_forge_jobs.storage.sqlite.database.LONGEST_WAIT_S", 0.05)

    def work(transaction: Transaction) -> None:
        transaction.run("ensure_queue", name="kept", max_workers=1, max_queues=9)
        with pytest.raises(StorageBusyError, match="still in use"):
            sqlite.close()

    sqlite.database.write(work)

    assert [queue.name for queue in sqlite.queues.all()] == ["kept"]


# -- what the application has open itself --------------------------------------------


def test_a_fork_within_the_callers_transaction_refuses_the_child(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    sqlite.open()
    with contextlib.closing(sqlite3.connect(str(sqlite_settings.path))) as connection:
        sqlite.jobs.enqueue(NewJob("caller"), connection=connection)
        assert in_child(lambda: expect_refusal(sqlite)) == 0
        connection.commit()

    assert kinds(sqlite_settings) == {"caller"}
    assert in_child(lambda: enqueue(sqlite)) == 0


def test_a_child_is_refused_a_file_that_the_application_had_open(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    """It would work without locks, and only the application can close it."""
    sqlite.open()
    engine = sqlalchemy.create_engine(f"sqlite:///{sqlite_settings.path}")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1 FROM forge_job"))

    def use_a_new_one() -> None:
        with contextlib.closing(open_storage(sqlite_settings)) as storage:
            expect_refusal(storage)

    assert in_child(lambda: expect_refusal(sqlite)) == 0
    assert in_child(use_a_new_one) == 0

    engine.dispose()
    assert in_child(lambda: enqueue(sqlite)) == 0


def test_two_storages_of_one_file_and_of_others_are_all_put_away(
    sqlite: Storage, sqlite_settings: DatabaseSettings, tmp_path: Path
) -> None:
    elsewhere = DatabaseSettings(path=tmp_path / "other.sqlite")
    with (
        contextlib.closing(open_storage(sqlite_settings)) as same,
        contextlib.closing(open_storage(elsewhere)) as other,
    ):
        storages = [sqlite, same, other]
        for storage in storages:
            enqueue(storage, kind="parent")

        def work(parent: Peer) -> None:
            parent.hear()
            for storage in storages:
                enqueue(storage, kind="child")

        child = Child(work)
        for storage in storages:
            storage.close()
        child.say()
        assert child.end() == 0

        pending = [
            each.job_reader.statistics()[QUEUE].counts.pending for each in storages
        ]
    assert pending == [4, 4, 2]


def test_a_storage_that_nobody_closed_is_put_away_too(
    sqlite_settings: DatabaseSettings,
) -> None:
    enqueue(open_storage(sqlite_settings))

    def use_a_new_one() -> None:
        enqueue(open_storage(sqlite_settings))

    assert in_child(use_a_new_one) == 0
    assert Sql(sqlite_settings).value("SELECT COUNT(*) FROM forge_job") == 2


# -- forks in C --------------------------------------------------------------------


def test_a_child_of_a_fork_in_c_is_refused_what_was_open(sqlite: Storage) -> None:
    enqueue(sqlite)

    assert in_child(lambda: expect_refusal(sqlite), fork_in_c) == 0
    # Closing does no harm there and raises nothing.
    assert in_child(sqlite.close, fork_in_c) == 0

    assert enqueue(sqlite)


def test_a_child_of_a_fork_in_c_opens_what_was_closed(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    enqueue(sqlite, kind="parent")
    sqlite.close()

    def work(parent: Peer) -> None:
        run_together([lambda: enqueue(sqlite, kind="child")] * 2)
        assert sqlite.flusher.flush() > 0
        parent.say()
        parent.hear()
        enqueue(sqlite, kind="child")

    child = Child(work, fork_in_c)
    child.hear()
    enqueue(sqlite, kind="parent")
    sqlite.close()
    child.say()
    assert child.end() == 0

    rows = Sql(sqlite_settings).run("SELECT kind FROM forge_job ORDER BY kind")
    assert rows == [("child",)] * 3 + [("parent",)] * 2


# -- what does not fork so -----------------------------------------------------------


def test_another_program_closes_nothing_and_inherits_nothing(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    """``subprocess`` runs no hook and needs none: the kernel closes the files."""
    enqueue(sqlite)
    listener = sqlite.database.listen(Heard())
    before = descriptors(sqlite_settings.path)
    assert before

    program = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, close_fds=False)
    inherited = descriptors(sqlite_settings.path, program.pid)
    program.communicate()

    assert inherited == []
    assert set(before) <= set(descriptors(sqlite_settings.path))
    listener.stop()


def test_a_program_started_with_preexec_fn_inherits_nothing(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    enqueue(sqlite)

    program = subprocess.Popen(
        ["/bin/cat"], stdin=subprocess.PIPE, close_fds=False,
        preexec_fn=os.getpid,  # noqa: PLW1509  # it is what makes the difference
    )  # fmt: skip
    inherited = descriptors(sqlite_settings.path, program.pid)
    program.communicate()

    assert inherited == []
    assert enqueue(sqlite)


def test_a_forked_child_inherits_no_descriptor_of_the_file(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    enqueue(sqlite)

    def work() -> None:
        assert descriptors(sqlite_settings.path) == []

    assert in_child(work) == 0


# -- in memory ---------------------------------------------------------------------


@pytest.mark.parametrize("fork", [os.fork, fork_in_c])
def test_jobs_in_memory_stay_with_their_process(fork: Callable[[], int]) -> None:
    """A child would store its jobs in memory that no worker reads."""
    with contextlib.closing(open_storage(DatabaseSettings())) as storage:
        assert in_child(lambda: enqueue(storage), fork) == 0  # nothing was there yet
        enqueue(storage)

        assert in_child(lambda: expect_refusal(storage), fork) == 0

        assert storage.job_reader.statistics()[QUEUE].counts.pending == 1
