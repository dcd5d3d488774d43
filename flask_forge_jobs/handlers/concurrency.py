"""Concurrency limits: the jobs that hold them, and how many wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.evidence import NamedJob
from flask_forge_jobs.storage.base import Storage

MAX_HOLDERS = 500
MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key with the jobs that run within its limit, the longest first.

    ``waiting`` jobs are next; none are counted beyond 10,000 of all keys together.
    """

    key: str
    holders: Sequence[NamedJob]
    waiting: int


def held_keys(storage: Storage) -> Sequence[HeldKey]:
    """Return the keys that jobs hold or wait for, those with waiting jobs first.

    At most 500 holders are read, from two statements.
    """
    holders: dict[str, list[NamedJob]] = {}
    for key, job in storage.concurrency.held(MAX_HOLDERS):
        holders.setdefault(key, []).append(job)
    waiting = storage.concurrency.waiting(MAX_WAITING)
    keys = sorted(
        holders.keys() | waiting.keys(), key=lambda k: (-waiting.get(k, 0), k)
    )
    return [HeldKey(key, holders.get(key, ()), waiting.get(key, 0)) for key in keys]
