"""Machines and their database over time, for charts: one read for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.handlers.samples import DbHealthBucket, ResourceBucket, buckets_of
from flask_forge_jobs.handlers.series import LEAST_SERIES_S
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.metrics import SAMPLE_LEVELS, SampleSums, window
from flask_forge_jobs.storage.base import Storage


@dataclass(frozen=True, slots=True)
class Machines:
    """The use of each worker's machine, and the database as all of them see it.

    ``names`` are those of the known workers that have one. Buckets without a sample
    have figures of None.
    """

    resources: Mapping[str, Sequence[ResourceBucket]]
    database: Sequence[DbHealthBucket]
    names: Mapping[str, str]


def machines(
    storage: Storage,
    *,
    start: datetime,
    end: datetime,
    bucket_secs: int,
    worker_id: str | None = None,
    has_names: bool = True,
) -> Machines:
    """Return the figures of a window, from one read; buckets are at least 60 s wide.

    ``worker_id`` leaves out the samples of all other workers, and the names. The names
    cost a statement of their own, which ``has_names`` leaves out if it is false.
    """
    if start >= end:
        return Machines({}, [], {})
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    # The widest that fits: it has the fewest rows, and there may be many workers.
    level = max(each for each in SAMPLE_LEVELS if each * SECOND_US <= cut.width_us)
    names: Mapping[str, str] = {}
    if worker_id is None and has_names:
        by_worker, names = storage.samples.within_and_names(cut, level)
    else:
        by_worker = storage.samples.within(cut, level, worker_id)
    if worker_id is not None:
        by_worker = {worker_id: by_worker.get(worker_id, {})}
    whole: dict[int, SampleSums] = {}
    for sums in by_worker.values():
        for number, each in sums.items():
            whole.setdefault(number, SampleSums()).merge(each)
    resources = {
        worker_id: buckets_of(ResourceBucket, cut, sums)
        for worker_id, sums in by_worker.items()
    }
    return Machines(resources, buckets_of(DbHealthBucket, cut, whole), names)
