"""Which process this is, known without asking the kernel.

What was opened before a fork must not be used after it, so every call of the storage
looks whether it is still in the process that it began in. ``os.getpid()`` would cost
each of these looks a system call.
"""

from __future__ import annotations

import os


class _Process:
    """The process that this code runs in."""

    def __init__(self) -> None:
        self.note()

    def note(self) -> None:
        """Ask the kernel."""
        self.pid = os.getpid()


_process = _Process()
os.register_at_fork(after_in_child=_process.note)


def current_pid() -> int:
    """Return the id of this process."""
    return _process.pid
