"""Permissions of a SQLite database and the files beside it."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.sqlite.files import make_folder_beside, open_beside
from tests.support.processes import Child, Peer

MADE = {
    "queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm", "queue.sqlite-wake",
    "queue.sqlite.ckpt-lock",
}  # fmt: skip


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["000", "022", "077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _modes_while_in_use(path: Path) -> dict[str, int]:
    """Return the mode of every file while a listener runs."""
    with contextlib.closing(open_storage(DatabaseSettings(path=path))) as storage:
        storage.open()
        listener = storage.database.listen(lambda _queue: None)
        try:
            storage.jobs.enqueue(NewJob("k"))
            return {
                str(each.relative_to(path.parent)): stat.S_IMODE(each.stat().st_mode)
                for each in path.parent.rglob("*")
            }
        finally:
            listener.stop()


@pytest.mark.usefixtures("umask")
def test_sec_S43_what_we_make_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "queue.sqlite"

    modes = _modes_while_in_use(path)

    [socket] = [name for name in modes if name.startswith("queue.sqlite-wake/")]
    assert modes.pop(socket) == 0o600
    assert set(modes) == MADE
    assert modes.pop("queue.sqlite-wake") == 0o700
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.usefixtures("umask")
def test_sec_S43_what_is_shared_with_a_group_stays_shared(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    path.touch()
    path.chmod(0o660)

    modes = _modes_while_in_use(path)

    assert modes.pop("queue.sqlite-wake") == 0o770
    assert set(modes.values()) == {0o660}


def test_sec_S43_folder_that_everybody_can_write_to_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o1777)
    _modes_while_in_use(tmp_path / "queue.sqlite")
    [warned] = [text for text in caplog.messages if "everybody can write to" in text]
    assert str(tmp_path) in warned


@pytest.mark.parametrize(
    ("mode", "owner", "members", "is_warned_of"),
    [
        (0o600, "deploy", [], True),
        (0o600, "somebody", ["other"], True),
        (0o600, "somebody", ["somebody"], False),  # each user has such a group
        (0o660, "deploy", ["other"], False),  # may write to the file, too
    ],
)
def test_sec_S43_folder_that_a_group_can_write_to_is_warned_of(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    mode: int,
    owner: str,
    members: list[str],
    is_warned_of: bool,
) -> None:
    group = grp.struct_group(("somebody", "x", tmp_path.stat().st_gid, members))
    user = pwd.struct_passwd((owner, "x", os.geteuid(), group.gr_gid, "", "/", ""))
    monkeypatch.setattr(grp, "getgrgid", {group.gr_gid: group}.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", {user.pw_uid: user}.__getitem__)
    path = tmp_path / "queue.sqlite"
    path.touch()
    path.chmod(mode)
    tmp_path.chmod(0o775)

    _modes_while_in_use(path)

    warned = [text for text in caplog.messages if "can write to" in text]
    expected = f"group {group.gr_gid} can write to {tmp_path}, which holds the database"
    assert [text.split(";")[0] for text in warned] == [expected] * is_warned_of


def test_sec_S43_group_that_nobody_knows_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grp, "getgrgid", {}.__getitem__)
    tmp_path.chmod(0o770)

    _modes_while_in_use(tmp_path / "queue.sqlite")

    assert "can write to" in caplog.text


def test_sec_S43_lock_is_taken_of_no_link(tmp_path: Path) -> None:
    path, victim = tmp_path / "queue.sqlite", tmp_path / "victim"
    victim.touch()
    Path(f"{path}.lock").symlink_to(victim)

    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_beside(path, ".lock")


MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 {device} / / rw,relatime shared:1 master:2 - {kind} {source} rw,discard
40 27 0:99 / /elsewhere rw,relatime - nfs4 server:/elsewhere rw
"""


def _warnings_on(
    kind: str,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> list[str]:
    """Use a file on a file system of a type; return what is said of that."""
    device = path.parent.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = path.parent / "mountinfo"
    mounts.write_text(MOUNTS.format(device=number, kind=kind, source="x"))
    monkeypatch.setattr("flask_forge_jobs.storage.sqlite.files.MOUNTS", mounts)
    for _ in range(2):
        _modes_while_in_use(path)
    return [text for text in log.messages if "network" in text]


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"])
def test_a_network_file_system_is_warned_of_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """D11: two hosts would damage the file; the processes of one may do."""
    path = tmp_path / "queue.sqlite"

    [warned] = _warnings_on(kind, path, monkeypatch, caplog)

    assert str(path) in warned
    assert kind in warned


@pytest.mark.parametrize("kind", ["ext4", "9p", "fuse.fuse-overlayfs", "nothing"])
def test_a_disk_of_this_host_is_not_warned_of(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """Sandboxes and WSL reach the host's disk by 9p, containers theirs by FUSE."""
    assert _warnings_on(kind, tmp_path / "queue.sqlite", monkeypatch, caplog) == []


def test_where_nobody_lists_the_file_systems_none_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setattr("flask_forge_jobs.storage.sqlite.files.MOUNTS", missing)

    _modes_while_in_use(tmp_path / "queue.sqlite")

    assert caplog.messages == []


def test_place_where_no_file_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = DatabaseSettings(path=tmp_path / "file" / "queue.sqlite")

    with (
        contextlib.closing(open_storage(settings)) as storage,
        pytest.raises(StorageUnavailableError, match=r"queue\.sqlite.*/file\)$"),
    ):
        storage.open()


def test_a_folder_in_place_of_the_file_is_called_one(tmp_path: Path) -> None:
    """Docker makes one where it is to mount a file that is not there."""
    with contextlib.closing(open_storage(DatabaseSettings(path=tmp_path))) as storage:
        for look in (storage.open, storage.database.schema_versions):
            with pytest.raises(StorageUnavailableError, match=r"Is a directory$"):
                look()


@pytest.mark.parametrize(
    ("mode", "folder"), [(0o600, 0o700), (0o660, 0o770), (0o640, 0o750), (0o644, 0o755)]
)
@pytest.mark.parametrize("handed_down", [0, stat.S_ISGID])
def test_folder_is_entered_by_those_who_may_read(
    tmp_path: Path, mode: int, folder: int, handed_down: int
) -> None:
    tmp_path.chmod(0o700 | handed_down)
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)

    make_folder_beside(path, "-new")

    made = Path(f"{path}-new").stat().st_mode
    assert stat.S_IMODE(made) == folder | handed_down


NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_makes_beside_a_file_belongs_to_the_files_owner(
    tmp_path: Path,
) -> None:
    """A first ``flask forge-jobs db migrate`` by root must not lock the service out."""
    path = tmp_path / "queue.sqlite"
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)
    with contextlib.closing(open_storage(DatabaseSettings(path=path))) as storage:
        storage.jobs.enqueue(NewJob("k"))
        storage.database.listen(lambda _queue: None).stop()
        owners = {
            each.name: (each.stat().st_uid, each.stat().st_gid)
            for each in tmp_path.iterdir()
        }

    assert set(owners) >= MADE
    assert set(owners.values()) == {(NOBODY, NOBODY)}


def test_a_file_beside_may_be_locked_exclusively_on_nfs(tmp_path: Path) -> None:
    """There it takes a descriptor that may write: flock(2)."""
    path = tmp_path / "queue.sqlite"
    path.touch()

    for _ in range(2):  # makes it, and opens it again
        descriptor = open_beside(path, ".lock")
        with os.fdopen(descriptor, "rb+"):
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            assert flags & os.O_ACCMODE == os.O_RDWR


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_that_may_only_read_the_file_reads() -> None:
    """Say, a monitor under a user of its own."""
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are the runner's
        Path(name).chmod(0o755)
        settings = DatabaseSettings(path=Path(name) / "queue.sqlite")
        assert settings.path is not None
        settings.path.touch()
        settings.path.chmod(0o644)

        def look(parent: Peer) -> None:
            parent.hear()
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with contextlib.closing(open_storage(settings)) as reader:
                counts = reader.job_reader.statistics()["default"].counts
            assert counts.pending == 2

        with contextlib.closing(open_storage(settings)) as storage:
            storage.jobs.enqueue(NewJob("k"))
            storage.job_reader.statistics()  # imports what the child may not read
            child = Child(look)
            storage.jobs.enqueue(NewJob("k"))  # opens what the fork has closed
            child.say()
            status = child.end()

    assert status == 0


def test_a_file_beside_it_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    Path(f"{path}.ckpt-lock").symlink_to(tmp_path / "nowhere")
    with (
        contextlib.closing(open_storage(DatabaseSettings(path=path))) as storage,
        pytest.raises(StorageUnavailableError, match=r"queue\.sqlite\.ckpt-lock"),
    ):
        storage.open()


@pytest.mark.parametrize("is_dangling", [False, True])
def test_a_link_to_a_file_is_the_file(tmp_path: Path, *, is_dangling: bool) -> None:
    """Whoever opens it by the other name must meet the same locks and sockets."""
    data, instance = tmp_path / "data", tmp_path / "instance"
    data.mkdir()
    instance.mkdir()
    path, link = data / "queue.sqlite", instance / "link.sqlite"
    if not is_dangling:
        path.touch(0o600)
    link.symlink_to(path)

    modes = _modes_while_in_use(link)
    with contextlib.closing(open_storage(DatabaseSettings(path=link))) as storage:
        storage.jobs.enqueue(NewJob("k"))
        assert storage.database.log_bytes() > 0
        made = {each.name for each in data.iterdir()}

    assert modes == {"link.sqlite": 0o600}
    assert made >= MADE
    assert [each.name for each in instance.iterdir()] == ["link.sqlite"]
