"""Group D: SQLite and its file."""

from __future__ import annotations

from tests.acceptance.faults import full_disk, immediate, locks, replaced
from tests.acceptance.faults.fault import SQLITE, Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        "D1", "file locked for longer than a lease", SQLITE,
        "20 locks of 10 s, lease 3 s", locks.locked_file,
    ),
    Fault(
        "D2", "eight processes that write", SQLITE,
        "4 servers, 4 workers, 20 s", locks.many_writers,
        full="4 servers, 4 workers, 600 s",
    ),
    Fault(
        "D3", "lock taken after a read", SQLITE,
        "every public call that writes", immediate.every_write_is_immediate,
    ),
    Fault(
        "D5", "the disk is full", SQLITE,
        "2 times", full_disk.no_room_for_a_file,
        full="5 times",
    ),
    Fault(
        "D9", "file deleted, moved or replaced while open", SQLITE,
        "10 files that a process writes to", replaced.replaced_file,
    ),
)  # fmt: skip
