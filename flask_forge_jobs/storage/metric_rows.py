"""Rows of forge_metric: a tally as a row, and tallies that are added to rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from flask_forge_jobs.model.metrics import MetricKey, Tally
from flask_forge_jobs.storage.database import Parameter, Row, Transaction, encode_rows


def add_to_rows(
    transaction: Transaction, source: str, tallies: Mapping[MetricKey, Tally]
) -> dict[MetricKey, Tally]:
    """Read the rows of some keys, add tallies to them, and store and return them."""
    if not tallies:
        return {}
    added = {key: total_of(each) for key, each in tallies.items()}
    keys = encode_rows(
        {
            "level": key.level,
            "queue_name": key.queue_name,
            "kind": key.kind,
            "bucket_start": key.bucket_us,
        }
        for key in added
    )
    stored = transaction.all("stored_metrics", source=source, rows=keys)
    merge_rows(added, stored, lambda key: key)
    rows = encode_rows(row_of(*item) for item in added.items())
    transaction.run("put_metrics", source=source, rows=rows)
    return added


def total_of(*tallies: Tally) -> Tally:
    """Return the sum of tallies, as a new one."""
    total = Tally()
    for each in tallies:
        total.merge(each)
    return total


def merge_rows(
    merged: dict[MetricKey, Tally],
    rows: Iterable[Row],
    target: Callable[[MetricKey], MetricKey],
) -> None:
    """Add rows to the tallies of the keys that ``target`` returns for theirs."""
    for level, queue_name, kind, bucket_us, *counts, wait, run, total in rows:
        key = target(MetricKey(level, bucket_us, queue_name, kind))
        tally = merged.setdefault(key, Tally())
        tally.merge(Tally(*counts))
        tally.wait.merge_text(wait)
        tally.run.merge_text(run)
        tally.total.merge_text(total)


def row_of(key: MetricKey, tally: Tally) -> dict[str, Parameter]:
    """Return the columns of a tally."""
    return {
        "level": key.level,
        "queue_name": key.queue_name,
        "kind": key.kind,
        "bucket_start": key.bucket_us,
        "enqueued": tally.enqueued,
        "started": tally.started,
        "retried": tally.retried,
        "completed": tally.completed,
        "dead": tally.dead,
        "refused": tally.refused,
        "cancelled": tally.cancelled,
        "wait_times": tally.wait.encode(),
        "run_times": tally.run.encode(),
        "total_times": tally.total.encode(),
    }
