"""SampleStore: resource use of workers, and the state of their database.

A process overwrites complete rows under its own name, so repeating a write changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.metrics import SUMMED, DatabaseHealth, SampleSums, Window
from flask_forge_jobs.storage.database import (
    Database,
    Parameter,
    Row,
    Transaction,
    encode_rows,
)
from flask_forge_jobs.storage.pace import Pace


class SampleStore:
    """Writes and reads samples."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._pace = Pace(database.backend, clock)

    def put(
        self, worker_id: str, samples: Mapping[tuple[int, int], SampleSums]
    ) -> None:
        """Store a worker's complete samples, replacing its earlier ones.

        Keys are the level in seconds and the start of the bucket in microseconds.
        """
        rows: list[dict[str, Parameter]] = [
            {
                "level": level,
                "bucket_start": bucket_us,
                **{name: getattr(sums, name) for name in SUMMED},
                "read_times": sums.reads.encode(),
                "write_times": sums.writes.encode(),
            }
            for (level, bucket_us), sums in samples.items()
        ]
        self._database.write(
            lambda tx: tx.run(
                "put_samples", worker_id=worker_id, rows=encode_rows(rows)
            )
        )

    def within(
        self, window: Window, level: int, worker_id: str | None = None
    ) -> dict[str, dict[int, SampleSums]]:
        """Return a level's samples by worker and number of the bucket."""
        rows = self._database.read(
            lambda tx: _rows(tx, window, level, worker_id), apart=True
        )
        return _by_worker(rows, window)

    def within_and_names(
        self, window: Window, level: int
    ) -> tuple[dict[str, dict[int, SampleSums]], dict[str, str]]:
        """Return the same of every worker, and the names of those that have one."""
        rows, names = self._database.read(
            lambda tx: (_rows(tx, window, level, None), tx.all("worker_names")),
            apart=True,
        )
        return _by_worker(rows, window), dict(names)

    def health(self) -> DatabaseHealth:
        """Return the database's own figures."""
        rows = self._database.read(lambda tx: tx.all("database_health"))
        active, idle, max_connections, size = rows[0]
        log_bytes = self._database.log_bytes()
        return DatabaseHealth(active, idle, max_connections, size, log_bytes)

    def prune(self, now_us: int) -> int:
        """Drop old samples; return how many rows went."""
        return self._pace.prune(self._database.write, "drop_old_samples", now_us)


def _rows(
    transaction: Transaction, window: Window, level: int, worker_id: str | None
) -> list[Row]:
    return transaction.all(
        "samples_within",
        level=level,
        any_worker=worker_id is None,
        worker_id=worker_id,
        from_at=window.start_us,
        to_at=window.end_us,
    )


def _by_worker(rows: Iterable[Row], window: Window) -> dict[str, dict[int, SampleSums]]:
    by_worker: dict[str, dict[int, SampleSums]] = {}
    for name, bucket_us, *figures, reads, writes in rows:
        of_worker = by_worker.setdefault(name, {})
        sums = of_worker.setdefault(window.index_of(bucket_us), SampleSums())
        sums.merge(SampleSums(*figures))
        sums.reads.merge_text(reads)
        sums.writes.merge_text(writes)
    return by_worker
