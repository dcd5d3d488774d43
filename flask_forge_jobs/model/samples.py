"""Samples: what a process uses and how its database does, taken once a minute."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from flask_forge_jobs.model.histograms import Histogram

# Widths of the stored buckets in seconds, finest first.
SAMPLE_LEVELS = (60, 300, 1800)


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What one process used since the sample before.

    Args:
        cpu_pct: Percent of all cores of the machine.
        rss_bytes: Resident memory.
        disk_read_bytes: Read from disk since the sample before.
        disk_write_bytes: Written to disk since the sample before.
        disk_used_pct: How full the volume of the data directory is.
    """

    cpu_pct: float = 0.0
    rss_bytes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    disk_used_pct: float = 0.0


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """What the database says of itself; 0 for what this backend does not know.

    Args:
        pool_active: Connections of the whole server that run a statement.
        pool_idle: All other connections.
        pool_max: Most connections that the server takes.
        db_size_bytes: Size of the database.
        wal_bytes: Size of the write-ahead log beside it.
    """

    pool_active: int = 0
    pool_idle: int = 0
    pool_max: int = 0
    db_size_bytes: int = 0
    wal_bytes: int = 0


@dataclass(slots=True)
class SampleSums:
    """Samples of one process within one bucket, added up so that they merge.

    Args:
        samples: How many there are.
        reads: How long each read of jobs took.
        writes: How long each write of jobs took.
    """

    samples: int = 0
    cpu_pct: float = 0.0
    rss_bytes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    disk_used_pct: float = 0.0
    pool_active: int = 0
    pool_idle: int = 0
    pool_max: int = 0
    db_size_bytes: int = 0
    wal_bytes: int = 0
    reads: Histogram = field(default_factory=Histogram)
    writes: Histogram = field(default_factory=Histogram)

    def add(self, use: ResourceUse, health: DatabaseHealth) -> None:
        """Add one sample."""
        self.samples += 1
        for part in (use, health):
            for each in fields(part):
                name = each.name
                setattr(self, name, getattr(self, name) + getattr(part, name))

    def merge(self, other: SampleSums) -> None:
        """Add the samples of another bucket."""
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reads.merge(other.reads)
        self.writes.merge(other.writes)

    def mean(self, name: str) -> float:
        """Return the mean of a field over the samples, 0.0 without any."""
        return float(getattr(self, name)) / self.samples if self.samples else 0.0


SUMMED = tuple(f.name for f in fields(SampleSums) if f.name not in ("reads", "writes"))
