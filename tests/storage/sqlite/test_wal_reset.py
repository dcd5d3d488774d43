"""D12: a commit in the one moment of a checkpoint that SQLite's WAL-reset bug needs.

A debugger stops a second checkpoint between its look at the head of the log and its
look at how much of the log is written back already. A commit that comes now starts the
log anew, the checkpoint takes the old length for written back, and SQLite loses every
frame of the new log up to there.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flask_forge_jobs.storage.sqlite.checkpoint import has_wal_reset_bug

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not has_wal_reset_bug(), reason="this SQLite has no such bug"),
    pytest.mark.skipif(
        shutil.which("gdb") is None or platform.machine() != "x86_64",
        reason="needs gdb on x86-64",
    ),
]
LIMIT_S = 60.0
ROW = "INSERT INTO filler (x) VALUES (zeroblob(3000))"
CHECKPOINTER = f"""
import os, signal, sqlite3, sys
from pathlib import Path
from flask_forge_jobs.storage.sqlite.checkpoint import _write_back

path, mode = sys.argv[1:]
connection = sqlite3.connect(path, isolation_level=None, timeout=0.02)
for pragma in ("journal_mode = WAL", "wal_autocheckpoint = 0", "synchronous = OFF"):
    connection.execute(f"PRAGMA {{pragma}}")
connection.execute("CREATE TABLE filler (x)")
for _ in range(30):
    connection.execute("{ROW}")

def checkpoint():
    if mode == "ours":
        _write_back(connection, Path(path))
    else:
        connection.execute(f"PRAGMA wal_checkpoint({{mode}})").fetchall()

checkpoint()
os.kill(os.getpid(), signal.SIGUSR1)  # the debugger takes over
checkpoint()
"""
# The log's index begins with its head, 48 bytes and their copy; what is written back
# comes behind it. Byte 121 of the file is the lock of who makes a checkpoint.
DEBUGGER = """
import time
from pathlib import Path
import gdb

def number(kind, address):
    return int(gdb.parse_and_eval(f"*({kind}*)({address})"))

def meet(said, awaited):
    Path(said).touch()
    while not Path(awaited).exists():
        time.sleep(0.01)

gdb.execute("handle SIGUSR1 stop nopass")
gdb.execute("run")
maps = Path(f"/proc/{gdb.selected_inferior().pid}/maps").read_text().splitlines()
index = int(next(line for line in maps if line.endswith("-shm")).split("-")[0], 16)
meet("armed", "go")
gdb.execute("catch syscall fcntl")
while True:
    gdb.execute("continue")
    if not gdb.selected_inferior().pid:
        gdb.execute("quit")  # it made no checkpoint
    lock = "(long)$rdx"
    is_setlk = int(gdb.parse_and_eval("(int)$rsi")) == 6
    if is_setlk and number("short", lock) == 1 and number("long", f"{lock} + 8") == 121:
        break
gdb.execute("delete")
gdb.execute(f"rwatch *(int*){index + 92}")
gdb.execute("continue")
gdb.execute("delete")
meet("window", "committed")
gdb.execute("continue")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "checkpointer.py").write_text(CHECKPOINTER, "utf-8")
    (tmp_path / "debugger.py").write_text(DEBUGGER, "utf-8")
    return tmp_path


def _wait(folder: Path, name: str, process: subprocess.Popen[str]) -> bool:
    """Wait for a step of the debugger; return False when it ended without."""
    ends_at = time.monotonic() + LIMIT_S
    while process.poll() is None and time.monotonic() < ends_at:
        if (folder / name).exists():
            return True
        time.sleep(0.01)
    return (folder / name).exists()


def _meet(folder: Path, mode: str, *, holds: bool) -> tuple[str, str]:
    """Commit in the window; return how that went, and what SQLite says of the file."""
    command = [
        "gdb", "-q", "-batch", "-x", "debugger.py", "--args",
        sys.executable, "checkpointer.py", "queue.sqlite", mode,
    ]  # fmt: skip
    with (folder / "output").open("w") as output:
        debugger = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, text=True
        )
        if not _wait(folder, "armed", debugger):
            pytest.skip("gdb cannot stop a process here")
        path = folder / "queue.sqlite"
        writer = sqlite3.connect(path, isolation_level=None, timeout=0.1)
        with contextlib.closing(writer):
            writer.execute("PRAGMA wal_autocheckpoint = 0")
            if holds:
                writer.execute("BEGIN IMMEDIATE")
            (folder / "go").touch()
            is_window = _wait(folder, "window", debugger)
            outcome = "no checkpoint"
            if is_window:
                outcome = _commit(writer)
                (folder / "committed").touch()
            debugger.wait(LIMIT_S)
            if writer.in_transaction:
                _commit(writer)
            with contextlib.suppress(sqlite3.DatabaseError):
                for _ in range(3):
                    writer.execute(ROW)
    with contextlib.closing(sqlite3.connect(path)) as afterwards:
        try:
            (said,) = afterwards.execute("PRAGMA integrity_check").fetchone()
        except sqlite3.DatabaseError as error:
            said = str(error)
    return outcome, said


def _commit(writer: sqlite3.Connection) -> str:
    try:
        writer.execute(ROW)
        if writer.in_transaction:
            writer.execute("COMMIT")
    except sqlite3.OperationalError as error:
        return str(error)
    return "stored"


@pytest.mark.parametrize(("mode", "holds"), [("PASSIVE", False), ("RESTART", True)])
def test_checkpoints_of_sqlite_meet_the_commit(
    folder: Path, mode: str, *, holds: bool
) -> None:
    """PASSIVE is an automatic one; the other goes on without the lock of writers."""
    outcome, said = _meet(folder, mode, holds=holds)

    assert outcome == "stored"
    if said == "ok":
        pytest.skip("this SQLite has been patched")
    assert "malformed" in said


@pytest.mark.parametrize(
    ("holds", "expected"), [(False, "database is locked"), (True, "no checkpoint")]
)
def test_a_checkpoint_of_ours_does_not(
    folder: Path, *, holds: bool, expected: str
) -> None:
    assert _meet(folder, "ours", holds=holds) == (expected, "ok")
