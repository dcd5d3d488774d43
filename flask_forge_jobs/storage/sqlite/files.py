"""Who may read the files of a SQLite database: its owner, unless told otherwise.

The database file is made for its owner alone, whatever the umask says. SQLite gives its
own files beside it the same mode, and so does everything here: whoever wants to share
the database with a group gives the file to the group, and the rest follows.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

PRIVATE = 0o600
_READABLE = 0o444
_BY_EVERYBODY = 0o002


def create_privately(path: Path) -> None:
    """Make an empty file and its folders for their owner; one that is there stays.

    Raises:
        OSError: The place cannot be written to.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))


def mode_beside(path: Path) -> int:
    """Return the mode of what stands beside a database file, in permission bits."""
    try:
        return stat.S_IMODE(path.stat().st_mode) & 0o666
    except FileNotFoundError:
        return PRIVATE


def make_folder_beside(folder: Path, mode: int) -> None:
    """Make a folder that those may enter who may read a file with this mode.

    Raises:
        FileExistsError: It is there already.
        OSError: It cannot be made.
    """
    folder.mkdir(mode=0o700)
    # What is made in it goes to the group of the folder around it, if that says so.
    handed_down = folder.stat().st_mode & stat.S_ISGID
    folder.chmod(mode | (mode & _READABLE) >> 2 | handed_down)


def open_beside(path: Path, suffix: str) -> int:
    """Return a descriptor of a file beside a database, made if it is missing.

    Args:
        path: The database file.
        suffix: What its name has at the end.

    Raises:
        OSError: It cannot be made or opened.
    """
    name = f"{path}{suffix}"
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, PRIVATE)
    except FileExistsError:
        return os.open(name, flags)
    os.fchmod(descriptor, mode_beside(path))
    return descriptor


def warn_of_open_folder(path: Path) -> None:
    """Log it when everybody could put files of their own beside a database."""
    folder = path.parent
    if folder.stat().st_mode & _BY_EVERYBODY:
        logger.warning(
            "everybody can write to %s, where the database is; use a folder that only "
            "its owner can write to",
            folder,
        )


def log_bytes(path: Path) -> int:
    """Return the size of a database's write-ahead log; 0 when there is none."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return 0
