"""Wake-ups between processes that share a SQLite file."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from flask_forge_jobs.storage.sqlite.wake import (
    QUICK_LOOK_S,
    SLOW_LOOK_S,
    SqliteListener,
    WakeSockets,
)
from tests.support.jobs import enqueue
from tests.support.processes import in_child, output_of, start_python
from tests.support.threads import Heard
from tests.support.waiting import wait_until

ENQUEUE = """
storage.open()
print("ready", flush=True)
sys.stdin.readline()
storage.jobs.enqueue(NewJob("noop", queue_name="from outside"))
storage.close()
"""
NOBODY = 65534


def listen(
    heard: Heard, sockets: WakeSockets, data_version: Callable[[], int] | None = None
) -> SqliteListener:
    return SqliteListener(
        heard, forget=lambda: None, sockets=sockets, data_version=data_version
    )


def test_a_producer_in_another_process_wakes_at_once(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    heard = Heard()
    listener = sqlite.database.listen(heard)
    producer = start_python(sqlite_settings, ENQUEUE)
    assert producer.stdout is not None
    assert producer.stdin is not None
    assert producer.stdout.readline() == "ready\n"
    producer.stdin.write("go\n")
    producer.stdin.flush()

    assert listener.is_pushing()
    assert heard.wait_for("from outside")

    output_of(producer)
    listener.stop()


def test_a_producer_in_this_process_wakes_without_the_socket(sqlite: Storage) -> None:
    heard = Heard()
    listener = sqlite.database.listen(heard)

    enqueue(sqlite, queue_name="mail")

    assert "mail" in heard.names  # on the producer's own thread
    listener.stop()


def test_a_stopped_listener_hears_nothing_and_leaves_nothing(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    heard = Heard()
    listener = sqlite.database.listen(heard)
    folder = Path(f"{sqlite_settings.path}-wake")
    assert len(list(folder.iterdir())) == 1

    listener.stop()
    enqueue(sqlite, queue_name="late")

    assert "late" not in heard.names
    assert list(folder.iterdir()) == []


def test_a_rolled_back_job_wakes_nobody(sqlite: Storage) -> None:
    heard = Heard()
    listener = sqlite.database.listen(heard)

    def work(transaction: Transaction) -> None:
        transaction.wake("lost")
        raise LookupError

    with pytest.raises(LookupError):
        sqlite.database.write(work)

    listener.stop()
    assert "lost" not in heard.names


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    settings = DatabaseSettings(path=folder / "queue.sqlite")
    heard = Heard()
    with contextlib.closing(open_storage(settings)) as storage:
        listener = storage.database.listen(heard)
        assert listener.is_pushing()
        with contextlib.closing(open_storage(settings)) as producer:
            enqueue(producer, queue_name="far away")

        assert heard.wait_for("far away")
        listener.stop()


def test_a_commit_of_another_program_is_noticed(
    sqlite: Storage, sqlite_settings: DatabaseSettings
) -> None:
    """PRAGMA data_version reveals changes that no socket reports"""
    enqueue(sqlite)
    heard = Heard()
    listener = sqlite.database.listen(heard)
    assert sqlite_settings.path is not None
    with contextlib.closing(sqlite3.connect(sqlite_settings.path)) as other:
        # Until the listener has taken its first look a change may go unseen.
        for _ in range(100):
            other.execute("UPDATE forge_job SET priority = priority + 1")
            other.commit()
            if heard.wait_for(None, 0.1):
                break

    assert None in heard.names
    listener.stop()


def test_a_quiet_file_is_looked_at_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses_s: list[float] = []
    quiet_looks, poll = 20, select.poll
    heard = Heard()

    class Hasty:
        """Waits for nothing until the change is seen."""

        def __init__(self) -> None:
            self._sockets = poll()
            self.register = self._sockets.register

        def poll(self, timeout_ms: float) -> Any:
            if heard.names:
                return self._sockets.poll()
            pauses_s.append(timeout_ms / 1000)
            return self._sockets.poll(0)

    def version() -> int:
        return 8 if len(pauses_s) > quiet_looks else 7

    monkeypatch.setattr(select, "poll", Hasty)
    listener = listen(heard, WakeSockets(tmp_path / "queue.sqlite"), version)

    assert heard.wait_for(None)
    listener.stop()
    assert pauses_s[0] == QUICK_LOOK_S
    assert pauses_s[:quiet_looks] == sorted(pauses_s[:quiet_looks])
    assert pauses_s[quiet_looks] == SLOW_LOOK_S


@pytest.mark.usefixtures("many_descriptors")
def test_a_listener_in_a_process_with_many_connections_hears(tmp_path: Path) -> None:
    heard = Heard()
    path = tmp_path / "queue.sqlite"
    listener = listen(heard, WakeSockets(path))

    WakeSockets(path).send("mail")

    assert heard.wait_for("mail")
    listener.stop()


def test_a_listener_whose_thread_has_ended_pushes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker must poll then."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def end(name: str | None) -> None:
        raise LookupError(name)

    path = tmp_path / "queue.sqlite"
    listener = SqliteListener(
        end, forget=lambda: None, sockets=WakeSockets(path), data_version=None
    )
    assert listener.is_pushing()

    with contextlib.closing(WakeSockets(path)) as sockets:
        sockets.send("mail")
    wait_until(lambda: not listener.is_pushing(), "it says so")

    listener.stop()


def test_a_failing_look_does_not_end_the_listener(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    looks: list[int] = []

    def version() -> int:
        looks.append(1)
        if len(looks) == 2:
            raise StorageUnavailableError("away for a moment")
        return len(looks)

    listener = listen(heard, WakeSockets(tmp_path / "queue.sqlite"), version)

    assert heard.wait_for(None)
    listener.stop()
    assert "away for a moment" in caplog.text


def test_a_folder_that_cannot_be_made_leaves_the_looking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "queue.sqlite"
    Path(f"{path}-wake").touch()

    listener = listen(Heard(), WakeSockets(path), lambda: 1)

    assert not listener.is_pushing()
    assert "no wake-up socket" in caplog.text
    listener.stop()


def test_the_socket_of_a_dead_process_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    receiver, _ = WakeSockets(path).bind()
    receiver.close()
    folder = Path(f"{path}-wake")
    assert len(list(folder.iterdir())) == 1

    with contextlib.closing(WakeSockets(path)) as sockets:
        sockets.send("mail")

    assert list(folder.iterdir()) == []


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of files that are not ours."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "notes").touch()
    (folder / "link").symlink_to(folder / "notes")
    return folder


def test_sec_S43_link_in_the_place_of_the_folder_is_refused(
    tmp_path: Path, victim: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Put there by somebody who may write to the folder of the database."""
    settings = DatabaseSettings(path=tmp_path / "queue.sqlite")
    Path(f"{settings.path}-wake").symlink_to(victim)

    with contextlib.closing(open_storage(settings)) as storage:
        enqueue(storage)
        listener = storage.database.listen(Heard())
        assert not listener.is_pushing()
        listener.stop()

    assert {each.name for each in victim.iterdir()} == {"notes", "link"}
    assert "no wake-up socket" in caplog.text


def test_sec_S43_folder_that_is_exchanged_later_is_noticed(
    tmp_path: Path, victim: Path
) -> None:
    path = tmp_path / "queue.sqlite"
    folder = Path(f"{path}-wake")
    receiver, unbind = WakeSockets(path).bind()
    os.utime(folder, (1, 1))  # so that the list is kept
    with contextlib.closing(WakeSockets(path)) as sender:
        sender.send("before")
        (victim / next(folder.iterdir()).name).touch()
        folder.rename(tmp_path / "away")
        folder.symlink_to(victim)

        sender.send("after")

    assert receiver.recv(100) == b"before"
    assert len(list((tmp_path / "away").iterdir())) == 1
    assert len(list(victim.iterdir())) == 3
    unbind()
    assert list((tmp_path / "away").iterdir()) == []
    assert len(list(victim.iterdir())) == 3


def test_sec_S43_only_sockets_are_used_and_removed(
    tmp_path: Path, victim: Path
) -> None:
    path = tmp_path / "queue.sqlite"
    victim.rename(f"{path}-wake")
    other, unbind = WakeSockets(tmp_path / "other").bind()
    (name,) = Path(f"{tmp_path / 'other'}-wake").iterdir()
    Path(f"{path}-wake", "diverted").symlink_to(name)

    with contextlib.closing(WakeSockets(path)) as sender:
        sender.send("mail")

    left = {each.name for each in Path(f"{path}-wake").iterdir()}
    assert left == {"notes", "link", "diverted"}
    with pytest.raises(BlockingIOError):
        other.recv(100)
    unbind()


def test_a_file_that_takes_the_place_of_a_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    folder = Path(f"{path}-wake")
    receiver, unbind = WakeSockets(path).bind()
    (name,) = folder.iterdir()
    os.utime(folder, (1, 1))  # so that the list is kept
    with contextlib.closing(WakeSockets(path)) as sender:
        sender.send("mail")
        name.unlink()
        name.touch()
        os.utime(folder, (1, 1))

        sender.send("mail")

    assert name.exists()
    unbind()
    assert receiver.fileno() == -1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize(
    ("owner", "group", "mode", "is_used"),
    [(0, 0, 0o600, False), (0, 0, 0o660, False), (NOBODY, 0, 0o600, True),
     (0, NOBODY, 0o660, True), (0, NOBODY, 0o640, False), (0, 0, 0o666, True)],
)  # fmt: skip
def test_sec_S43_folder_of_another_user_is_used_if_he_may_write_to_the_file(
    tmp_path: Path, owner: int, group: int, mode: int, *, is_used: bool
) -> None:
    path = tmp_path / "queue.sqlite"
    path.touch()
    path.chmod(mode)
    os.chown(path, owner, group)
    receiver, unbind = WakeSockets(path).bind()
    os.chown(f"{path}-wake", NOBODY, NOBODY)

    with contextlib.closing(WakeSockets(path)) as sender:
        sender.send("mail")
        heard = False
        with contextlib.suppress(BlockingIOError):
            heard = receiver.recv(100) == b"mail"

    assert heard is is_used
    unbind()
    if not is_used:
        with pytest.raises(PermissionError, match="may not write to the database"):
            WakeSockets(path).bind()


def test_a_full_socket_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    receiver, unbind = WakeSockets(path).bind()
    sender = WakeSockets(path)

    for _ in range(5000):
        sender.send("mail")

    assert receiver.recv(100) == b"mail"
    sender.close()
    unbind()


def test_a_sender_that_is_closed_meanwhile_fails_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.sqlite"
    _, unbind = WakeSockets(path).bind()
    sender = WakeSockets(path)

    class ClosedMeanwhile(socket.socket):
        def sendto(self, *arguments: Any) -> int:
            sender.close()
            return super().sendto(*arguments)

    monkeypatch.setattr(socket, "socket", ClosedMeanwhile)

    sender.send("mail")

    unbind()


def test_a_job_is_stored_though_no_descriptor_is_free_for_the_sender(
    sqlite: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(sqlite.database, SqliteDatabase)
    file = sqlite.database.file
    assert file is not None
    heard = Heard()
    listener = listen(heard, WakeSockets(file))
    assert listener.is_pushing()

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        first = enqueue(sqlite)
        with sqlite.database.begin(0) as transaction:
            transaction.wake("mail")
    enqueue(sqlite, queue_name="later")

    assert heard.wait_for("later")
    assert sqlite.job_reader.get(first).id == first
    assert not sqlite.database._state.checkpoints.must_mend
    listener.stop()


def test_a_sender_sees_listeners_that_come_later(tmp_path: Path) -> None:
    """Also within one tick of the clock that stamps the folder."""
    path = tmp_path / "queue.sqlite"
    sender = WakeSockets(path)
    for _ in range(30):
        receiver, unbind = WakeSockets(path).bind()
        sender.send("first")
        late, unbind_late = WakeSockets(path).bind()

        sender.send("second")

        assert receiver.recv(100) == b"first"
        assert late.recv(100) == b"second"
        unbind()
        unbind_late()
    sender.close()


def test_a_child_that_listens_still_wakes_its_parent(tmp_path: Path) -> None:
    sockets = WakeSockets(tmp_path / "queue.sqlite")
    receiver, unbind = sockets.bind()

    def child() -> None:
        _, unbind_own = sockets.bind()
        sockets.send("from the child")
        unbind_own()

    assert in_child(child) == 0
    assert receiver.recv(100) == b"from the child"
    unbind()
    assert list(Path(f"{tmp_path / 'queue.sqlite'}-wake").iterdir()) == []


def test_a_sender_that_nobody_closed_ends_with_what_had_it(tmp_path: Path) -> None:
    """Python would warn of it."""
    path = tmp_path / "queue.sqlite"
    _, unbind = WakeSockets(path).bind()
    sender = WakeSockets(path)
    sender.send("first")
    sending = sender._sender
    assert sending is not None

    del sender
    gc.collect()

    assert sending.fileno() == -1
    unbind()


def test_memory_has_no_thread_to_listen() -> None:
    heard = Heard()
    with contextlib.closing(open_storage(DatabaseSettings())) as storage:
        listener = storage.database.listen(heard)

        enqueue(storage, queue_name="mail")

        assert heard.names == ["mail"]
        assert not listener.is_pushing()
        listener.stop()
