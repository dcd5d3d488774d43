"""Permissions and place of the files of a SQLite database.

We create the database file with mode 600, whatever the umask says. SQLite gives the
files beside it the same mode, and so do we: to share the database with a group, change
the mode of the file and the rest follows.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

MOUNTS = Path("/proc/self/mountinfo")
PRIVATE = 0o600
_READABLE = 0o444
_BY_EVERYBODY = 0o002
_BY_GROUP = 0o020
_TO_EVERYBODY = 0o006
# Links are not followed, because others may have planted them.
_ITSELF = os.O_NOFOLLOW | os.O_CLOEXEC
# Not 9p: by that sandboxes and WSL reach the disk of their host.
_NETWORK_FILE_SYSTEMS = {
    "afs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs",
    "fuse.blobfuse2", "fuse.ceph-fuse", "fuse.gcsfuse", "fuse.glusterfs",
    "fuse.juicefs", "fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
}  # fmt: skip
# As free space, of disks of any size.
_AMPLE_BYTES = 1 << 30
_warned_of: set[Path] = set()


def real(path: Path) -> Path:
    """Return the absolute path of the file that a path, perhaps a link, leads to.

    The files beside it must be the same for all processes that have it open.
    """
    return Path(os.path.realpath(path))


def create_privately(path: Path) -> None:
    """Create a file and its folders for their owner alone; keep an existing file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))


def refuse_folder(path: Path) -> None:
    """Raise IsADirectoryError for a folder, of which SQLite says "disk I/O error"."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def mode_beside(path: Path) -> int:
    """Return the permission bits for a file beside a database."""
    try:
        return stat.S_IMODE(path.stat().st_mode) & 0o666
    except FileNotFoundError:
        return PRIVATE


def make_folder_beside(path: Path, suffix: str) -> None:
    """Make the folder named ``path`` plus ``suffix``, unless it is there.

    Every user with read access to the database may enter it.
    """
    folder = Path(f"{path}{suffix}")
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _ITSELF)
    try:
        mode = mode_beside(path)
        # fchmod() would drop a set-group-ID bit inherited from the parent folder.
        handed_down = os.fstat(descriptor).st_mode & stat.S_ISGID
        os.fchmod(descriptor, mode | (mode & _READABLE) >> 2 | handed_down)
        _give(descriptor, path)
    finally:
        os.close(descriptor)


def open_folder_beside(path: Path, suffix: str) -> int:
    """Open the folder named ``path`` plus ``suffix``.

    Raises:
        OSError: It is missing, is a link, or belongs to a user who could put a folder
            beside the database, but may not write to the database.
    """
    name = f"{path}{suffix}"
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _ITSELF)
    try:
        _check_owner(os.fstat(descriptor), path, name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_owner(folder: os.stat_result, path: Path, name: str) -> None:
    """Raise PermissionError unless the owner of a folder may write to a database."""
    if folder.st_uid in (0, os.geteuid()):
        return
    with contextlib.suppress(FileNotFoundError):
        database = path.stat()
        if folder.st_uid == database.st_uid or _is_shared(database, folder.st_gid):
            return
    why = f"user {folder.st_uid} owns it and may not write to the database; remove it"
    raise PermissionError(errno.EPERM, why, name)


def _is_shared(database: os.stat_result, gid: int) -> bool:
    """Return whether the members of a group may write to a database."""
    mode = database.st_mode
    return bool(mode & _BY_EVERYBODY or (mode & _BY_GROUP and database.st_gid == gid))


def open_beside(path: Path, suffix: str) -> int:
    """Open the file named ``path`` plus ``suffix``, creating it if it is missing.

    A user with read access to the database can lock it, too, but on NFS an exclusive
    lock needs a descriptor that may write.
    """
    name = f"{path}{suffix}"
    flags = os.O_RDWR | _ITSELF
    try:
        descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, PRIVATE)
    except FileExistsError:
        try:
            return os.open(name, flags)
        except OSError:
            return os.open(name, os.O_RDONLY | _ITSELF)
    os.fchmod(descriptor, mode_beside(path))
    _give(descriptor, path)
    return descriptor


def _give(descriptor: int, path: Path) -> None:
    """Give files that root has made beside a database to its owner, as SQLite does.

    Last, because without CAP_FOWNER root may not change the mode afterwards.
    """
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # a file system without owners
            facts = path.stat()
            os.fchown(descriptor, facts.st_uid, facts.st_gid)


def warn_of_place(path: Path) -> None:
    """Log a warning if the database's folder is not fit for it."""
    for fault in folder_faults(path):
        logger.warning("%s", fault)
    # Once per process, as each storage opens the file.
    for fault in network_faults(path):
        if path not in _warned_of:
            _warned_of.add(path)
            logger.warning("%s", fault)


def folder_faults(path: Path) -> Iterator[str]:
    """Yield that others can put files beside a database."""
    folder = path.parent
    facts = folder.stat()
    if facts.st_mode & _BY_EVERYBODY:
        others = "everybody"
    elif (
        facts.st_mode & _BY_GROUP
        and not _is_shared(path.stat(), facts.st_gid)
        and not _is_private_group(facts)
    ):
        others = f"group {facts.st_gid}"
    else:
        return
    yield (
        f"{others} can write to {folder}, which holds the database; use a folder that "
        "only its owner can write to"
    )


def file_faults(path: Path) -> Iterator[str]:
    """Yield that everybody can read or write a database, which holds payloads."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _TO_EVERYBODY:
        verb = "write" if mode & _BY_EVERYBODY else "read"
        yield f"everybody can {verb} {path}; chmod {mode & 0o770:o} {path}"


def write_faults(path: Path) -> Iterator[str]:
    """Yield that this user cannot write to a database, or beside it."""
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            yield (
                f"this user, {os.geteuid()}, cannot write to {place}; make it writable "
                "to the user of the workers, and run doctor as that user"
            )


def _is_private_group(facts: os.stat_result) -> bool:
    """Return whether a file's owner is the only member of its group.

    Many systems give each user a group of the same name, and let it write.
    """
    try:
        owner, group = pwd.getpwuid(facts.st_uid), grp.getgrgid(facts.st_gid)
    except KeyError:
        return False
    return owner.pw_name == group.gr_name and set(group.gr_mem) <= {owner.pw_name}


def network_faults(path: Path) -> Iterator[str]:
    """Yield that a database is on a network file system."""
    kind = _file_system_of(path)
    if kind in _NETWORK_FILE_SYSTEMS:
        yield (
            f"{path} is on a network file system ({kind}), where processes of two "
            "hosts damage a SQLite file; use a local disk, or PostgreSQL"
        )


def space_faults(path: Path) -> Iterator[str]:
    """Yield that the disk of a database is nearly full, where no job can be stored."""
    disk = os.statvfs(path)
    free, size = (n * disk.f_frsize for n in (disk.f_bavail, disk.f_blocks))
    if free < min(size // 20, _AMPLE_BYTES):
        yield (
            f"{free >> 20:,} of {size >> 20:,} MiB are free on the disk of {path}; "
            "free some, or move the file to a larger disk"
        )


def _file_system_of(path: Path) -> str | None:
    """Return the type of the file system of a file, or None if Linux does not tell."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError, ValueError):
        for line in MOUNTS.read_text("latin-1").splitlines():
            _, _, mounted, *_, kind, _, _ = line.split(" ")
            if mounted == number:
                return kind
    return None


def log_bytes(path: Path) -> int:
    """Return the size of a database's write-ahead log in bytes; 0 if there is none."""
    try:
        # pathlib interns the names in a new path. They fill a table of the interpreter,
        # which frees no place and doubles in the end: 1 MiB after an hour of work.
        return os.stat(f"{path}-wal").st_size  # noqa: PTH116
    except OSError:
        return 0


def is_same_file(first: Path, second: Path) -> bool:
    """Return whether two paths name one file; False if either does not exist."""
    try:
        return first.samefile(second)
    except OSError:
        return False
