"""Counts failures by signature, in the transaction that ends the run.

Each failure appends to ``forge_error_change``; triggers do the same for what becomes of
the failed job. :class:`.ErrorStore` reads the sums.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from flask_forge_jobs.model.masking import Mask
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.signatures import OTHER_ERRORS, signature
from flask_forge_jobs.storage.database import (
    Executor,
    Parameter,
    Transaction,
    encode_rows,
)

# A hostile text makes a new signature each time, so there is a bound. Processes that
# meet new ones at the same moment may exceed it by a few.
MAX_SIGNATURES = 1000
"""Of one queue and kind; further errors share :data:`.OTHER_ERRORS`."""
MAX_REMEMBERED = 20_000
MAX_MESSAGE_LENGTH = 500

Key = tuple[str, str, str]


class Failure(NamedTuple):
    """A run that failed; ``error`` is masked."""

    signature: str
    queue_name: str
    kind: str
    job_id: str
    error: str


class Signatures:
    """Gives failures their signature, and remembers which are stored."""

    def __init__(self, database: Executor, mask: Mask) -> None:
        self._database = database
        self._mask = mask
        self._known: set[Key] = set()

    def sign(self, updates: Iterable[JobUpdate]) -> None:
        """Mask the errors of failures and set their signatures.

        Costs a transaction if one is new to this process.
        """
        keys: list[tuple[Key, JobUpdate]] = []
        for each in updates:
            if each.error is None or each.signature is not None or not each.is_failure:
                continue
            each.error = self._mask(each.error)
            each.signature = signature(each.error)
            job = each.job
            keys.append(((each.signature, job.queue_name, job.kind), each))
        unknown = {key for key, _ in keys} - self._known
        if not unknown:
            return
        refused = unknown - self._database.write(
            lambda transaction: self._registered(transaction, unknown)
        )
        for key, update in keys:
            if key in refused:
                update.signature = OTHER_ERRORS
        if len(self._known) > MAX_REMEMBERED:
            self._known.clear()
        self._known |= unknown - refused

    def _registered(self, transaction: Transaction, keys: set[Key]) -> set[Key]:
        """Store the signatures for which there is room; return the stored ones."""
        ordered = sorted(keys)
        rows = encode_rows(map(_key_row, ordered))
        stored = {tuple(row) for row in transaction.all("stored_errors", rows=rows)}
        new = [key for key in ordered if key not in stored]
        if not new:
            return keys
        kinds = encode_rows(
            {"queue_name": queue_name, "kind": kind}
            for queue_name, kind in sorted({key[1:] for key in new})
        )
        counts = transaction.all("count_errors", rows=kinds, limit=MAX_SIGNATURES)
        room = {
            (queue_name, kind): MAX_SIGNATURES - int(count)
            for queue_name, kind, count in counts
        }
        admitted = []
        for key in new:
            if room[key[1:]] > 0:
                room[key[1:]] -= 1
                admitted.append(key)
        # In the order of the keys, as every statement that adds to the table.
        transaction.defer("register_errors", rows=encode_rows(map(_key_row, admitted)))
        return keys - set(new) | set(admitted)


def failures_of(updates: Sequence[JobUpdate], stored: Container[str]) -> list[Failure]:
    """Return the failures among a worker's updates, of the jobs that are stored."""
    return [
        Failure(each.signature, each.job.queue_name, each.job.kind, each.job.id, error)
        for each in updates
        if each.signature is not None
        and (error := each.error) is not None
        and each.is_failure
        and each.job.id in stored
    ]


def store_failures(transaction: Transaction, failures: Iterable[Failure]) -> None:
    """Count failures that end now; takes no round trip of its own."""
    rows: dict[Key, dict[str, Parameter]] = {}
    for each in failures:
        key = each[:3]
        row = rows.setdefault(key, {**_key_row(key), "failures": 0})
        row["failures"] = int(row["failures"] or 0) + 1
        row["job_id"] = each.job_id
        row["message"] = each.error[:MAX_MESSAGE_LENGTH]
    if rows:
        transaction.defer("add_failures", rows=encode_rows(rows.values()))


def _key_row(key: Key) -> dict[str, Parameter]:
    signature_, queue_name, kind = key
    return {"signature": signature_, "queue_name": queue_name, "kind": kind}
