"""Steps: parts of a job whose results its next run takes over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from flask_forge_jobs.model.claims import RunId

MAX_STEPS = 1000
MAX_STEP_BYTES = 65_536
MAX_STEP_NAME_LENGTH = 128
CHECKPOINT = ""
"""The name under which a checkpoint is stored; no step has it."""
# Of each job, for a reader, who gets no result of more than 4 KiB.
MAX_SHOWN_STEPS = 100


class Checkpoint(NamedTuple):
    """The value, as JSON text, that the task of a run has saved last."""

    run: RunId
    text: str


@dataclass(frozen=True, slots=True)
class KeptSteps:
    """What earlier runs of a job have kept: JSON texts of results by name."""

    results: dict[str, str] = field(default_factory=dict)
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step of a job, for a reader.

    Attributes:
        name: Its name, unique within the job.
        run: Number of the run that finished it, as :attr:`.Attempt.run`.
        at: When its result was stored.
        size: Bytes of the result's JSON text.
        result: The result: as read, its JSON text; for a caller, the value, with
            secrets masked. None if it has more than 4 KiB.
    """

    name: str
    run: int
    at: datetime
    size: int
    result: object


@dataclass(frozen=True, slots=True)
class StepsOfJob:
    """What a job has kept, for a reader.

    Attributes:
        steps: The newest 100, the oldest first.
        count: How many there are.
        checkpoint: The value saved last, as a step without a name; None without one.
    """

    steps: tuple[Step, ...] = ()
    count: int = 0
    checkpoint: Step | None = None


NO_STEPS = StepsOfJob()
