"""What happens to the file of a SQLite database that a process has open."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path


def delete(path: Path) -> None:
    """Remove the file and those beside it, as ``rm instance/*`` does."""
    for each in path.parent.glob(f"{path.name}*"):
        if each.is_file():
            each.unlink()


def move(path: Path) -> None:
    """Give the file another name."""
    path.rename(path.with_name("moved.sqlite"))


def restore(path: Path) -> None:
    """Put a backup in its place."""
    backup = path.with_name("backup.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", [str(backup)])
    backup.replace(path)


HARMS: tuple[Callable[[Path], None], ...] = (delete, move, restore)
