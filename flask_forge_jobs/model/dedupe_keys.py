"""Dedupe keys as stored: shared ones, and ones that are unique within a queue.

The application, and callers that see every queue, share one set of keys. A caller
limited to some queues must neither learn of jobs elsewhere nor block them, so its keys
are unique within their queue, among such callers' jobs: a mark and the queue follow the
stored key. A key that contains the mark gets a second one at its end, so that no stored
text is ambiguous.
"""

from __future__ import annotations

# The first character that both databases can store, so that a key and its marked forms
# are neighbours in an index. Queue names cannot contain it.
MARK = "\x01"
_AFTER_MARK = "\x02"


def stored_key(key: str, queue_name: str | None = None) -> str:
    """Return a key as stored; a queue name of None means a shared key."""
    if queue_name is not None:
        return f"{key}{MARK}{queue_name}"
    return f"{key}{MARK}" if MARK in key else key


def shown_key(stored: str | None) -> str | None:
    """Return a stored key as the caller gave it."""
    if stored is None or MARK not in stored:
        return stored
    return stored.rpartition(MARK)[0]


def end_of_key(key: str) -> str:
    """Return a text that sorts behind every stored form of a key, by bytes."""
    return f"{key}{_AFTER_MARK}"
