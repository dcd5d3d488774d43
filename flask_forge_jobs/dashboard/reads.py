"""The reads behind one page, shared with all open pages, and few at each refresh.

Each read is kept for a while. A refresh renews at most some of those that are due, the
oldest first, and shows the others as they are; so a page with many parts costs no more
than one with few. A page that is opened reads everything that is due.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import request

from flask_forge_jobs.handlers.snapshots import Snapshots

# Reads of one refresh, beside that of the frame.
MOST = 2
# Older values are read anew even if others are due as well.
_OLDEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """One read; its value is good for ``kept_s`` seconds."""

    read: Callable[[], Any]
    kept_s: float


class Reads:
    """The values of some parts, by name.

    Args:
        snapshots: Keeps them.
        key: Everything that all values depend on, the caller's queues included.
        parts: The reads.
        needed: Names of the parts that the refresh shows; None opens the page.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        key: Hashable,
        parts: Mapping[str, Part],
        needed: Collection[str] | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._key = key
        self._parts = parts
        self._values: dict[str, Any] = {}
        self._renewed = set(parts) if needed is None else self._oldest(needed)

    def __getitem__(self, name: str) -> Any:
        # All blocks of a page show the same moment.
        if name not in self._values:
            part = self._parts[name]
            kept_s = part.kept_s if name in self._renewed else _OLDEST_S
            key = self._key, name
            self._values[name] = self._snapshots.get(key, part.read, kept_s=kept_s)
        return self._values[name]

    def _oldest(self, needed: Collection[str]) -> set[str]:
        ages = {name: self._snapshots.age((self._key, name)) for name in needed}
        due = {
            name: age_s
            for name, age_s in ages.items()
            if age_s is not None and age_s >= self._parts[name].kept_s
        }
        return set(sorted(due, key=due.__getitem__, reverse=True)[:MOST])


def needed_by(blocks: Mapping[str, Collection[str]]) -> set[str] | None:
    """Return the parts behind the blocks of this refresh; None opens the page.

    ``blocks`` are all blocks of the page, with the names of their parts.
    """
    only = request.args.get("only")
    if only is None:
        return None
    return {part for name in only.split(",") for part in blocks.get(name, ())}
