"""Turns: the ends, removals and returns of jobs, as their statements report them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import NamedTuple

from flask_forge_jobs.model.jobs import FINAL, JobStatus
from flask_forge_jobs.storage.columns import WAITED
from flask_forge_jobs.storage.database import Row


class Fate(Enum):
    """What has become of a job."""

    DONE = auto()
    DEAD = auto()
    REMOVED = auto()
    """Deleted before it had ended."""
    DELETED = auto()
    """Deleted after its end."""
    REOPENED = auto()
    """Dead, and unfinished again."""


class Turn(NamedTuple):
    """A job with a batch or links, and what has become of it."""

    job_id: str
    batch_id: str | None
    ties: int
    fate: Fate

    @property
    def has_waited(self) -> bool:
        """Whether it waits, or has waited, for others."""
        return bool(self.ties & WAITED)


def turns_of(
    rows: Iterable[tuple[str, str | None, int | None]], fate: Fate
) -> list[Turn]:
    """Return the turns of rows of id, batch and ties, without those of plain jobs."""
    return [
        Turn(job_id, batch_id, ties or 0, fate)
        for job_id, batch_id, ties in rows
        if batch_id is not None or ties is not None
    ]


def deleted_turns(rows: Sequence[Row]) -> list[Turn]:
    """Return the turns of deleted rows of id, batch, ties and last status."""
    return [
        Turn(
            job_id,
            batch_id,
            ties or 0,
            Fate.DELETED if JobStatus(status) in FINAL else Fate.REMOVED,
        )
        for job_id, batch_id, ties, status in rows
        if batch_id is not None or ties is not None
    ]
