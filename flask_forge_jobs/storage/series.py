"""The names in ``/metrics``: the first 200 pairs and queues, given once, kept for good.

Callers may invent names, and Prometheus keeps every label value, so all later names
share one label. A name that moved there or back, because a queue was deleted or figures
were pruned, would be a counter that goes down. So names are stored before their first
figures, in a level of forge_metric that nothing folds or prunes and older code ignores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice

from flask_forge_jobs.model.metrics import DAY, MetricKey
from flask_forge_jobs.storage.database import (
    Executor,
    Query,
    Row,
    Transaction,
    encode_rows,
)

MAX_SERIES = 200
# An arbitrary lock key: two processes must not give away the same place.
NAMES_LOCK = 7_022_013_337_004
# The level of the names; a row without a kind names a queue.
_NAMES = -1

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Names:
    """The pairs of queue and kind, and the queues, that have labels of their own."""

    pairs: Collection[Pair]
    queue_names: Collection[str]


class Series:
    """Gives names to the counters of a process."""

    def __init__(self, database: Executor) -> None:
        self._database = database
        # Each has a name or came too late for one, and neither changes.
        self._decided: set[Pair] = set()

    def register_names(self, keys: Iterable[MetricKey]) -> None:
        """Decide about new queues and kinds; call it before storing their figures."""
        new = {
            (key.queue_name, key.kind)
            for key in keys
            if key.level == DAY and key.queue_name
        }
        new -= self._decided
        if not new:
            return
        stored = self._database.read_one("stored_names", level=_NAMES)
        if filled_up(stored, new) != filled_up(stored, ()):
            self._database.write(lambda transaction: _store(transaction, sorted(new)))
        self._decided |= new


NAMES_QUERY: Query = ("stored_names", {"level": _NAMES})
"""The names that are stored."""


def _store(transaction: Transaction, new: Collection[Pair]) -> None:
    transaction.all("wait_for_lock", lock_key=NAMES_LOCK)
    stored = transaction.all("stored_names", level=_NAMES)
    names = filled_up(stored, new)
    added = {*names.pairs, *((name, "") for name in names.queue_names)}
    rows = [
        {"queue_name": queue_name, "kind": kind}
        for queue_name, kind in added.difference(stored)
    ]
    transaction.run("add_names", level=_NAMES, rows=encode_rows(rows))


def filled_up(stored: Iterable[Row], seen: Collection[Pair]) -> Names:
    """Return the stored names and the first of the others that still find a place."""
    named: list[Pair] = [(queue_name, kind) for queue_name, kind in stored]
    pairs = dict.fromkeys(pair for pair in (*named, *seen) if pair[1])
    of_queues = [name for name, kind in named if not kind]
    queues = dict.fromkeys((*of_queues, *(name for name, _ in seen)))
    return Names(
        frozenset(islice(pairs, MAX_SERIES)), frozenset(islice(queues, MAX_SERIES))
    )
