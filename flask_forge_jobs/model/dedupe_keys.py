"""Dedupe keys as they are stored: those of everybody, and those of one queue.

The application, and callers that see every queue, share one set of keys. A caller that
is limited to some queues must neither learn of jobs elsewhere nor stand in their way,
so its keys are unique within the queue, among the jobs of such callers: a mark and the
queue are stored behind the key. A key with a mark of its own ends with a second one, so
that no text means both.
"""

from __future__ import annotations

# The first character that both databases can store: what begins with a key and a mark
# lies next to the key in an index. No name of a queue has it.
MARK = "\x01"
_AFTER_MARK = "\x02"


def stored_key(key: str, queue_name: str | None = None) -> str:
    """Return a key as it is stored.

    Args:
        key: The key.
        queue_name: The queue that it belongs to; None for a key of everybody.
    """
    if queue_name is not None:
        return f"{key}{MARK}{queue_name}"
    return f"{key}{MARK}" if MARK in key else key


def shown_key(stored: str | None) -> str | None:
    """Return a stored key as it was given."""
    if stored is None or MARK not in stored:
        return stored
    return stored.rpartition(MARK)[0]


def end_of_key(key: str) -> str:
    """Return what every stored form of a key lies before, in order of its bytes."""
    return f"{key}{_AFTER_MARK}"
