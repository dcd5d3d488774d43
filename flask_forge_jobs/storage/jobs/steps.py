"""StepStore: results of steps and checkpoints, kept with their job for its next run.

A result is stored by one statement with a commit of its own; a checkpoint travels with
the heartbeat, and with the outcome. Both only if the run still belongs to the worker.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.steps import (
    CHECKPOINT,
    MAX_SHOWN_STEPS,
    NO_STEPS,
    Checkpoint,
    KeptSteps,
    Step,
    StepsOfJob,
)
from flask_forge_jobs.storage.database import Parameter, Row, Transaction, encode_rows
from flask_forge_jobs.storage.executor import StoreExecutor

STEPS = 2
"""Columns of the fragment ``steps_of_job``."""


class StepStore:
    """Keeps and reads the steps of running jobs."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def kept(self, job_id: str) -> KeptSteps:
        """Return what the runs of a job have kept."""
        rows = self._database.read_all("kept_steps", job_id=job_id)
        results: dict[str, str] = dict(rows)
        checkpoint = results.pop(CHECKPOINT, None)
        return KeptSteps(results, checkpoint)

    def keep(self, run: RunId, worker_id: str, name: str, result: str) -> bool:
        """Store the result of a step, as JSON text.

        Returns:
            False if the job no longer runs in this claim of the worker.

        Raises:
            StorageError: It is not stored, or the answer to its commit is lost.
        """
        rows = self._database.execute(
            "keep_step",
            job_id=run.job_id,
            run=run.claim,
            worker_id=worker_id,
            name=name,
            result=result,
        )
        return bool(rows)


def save_checkpoints(
    transaction: Transaction, checkpoints: Iterable[Checkpoint]
) -> None:
    """Store checkpoints with what the transaction does next.

    The caller has made sure that the runs are its own. A repeat changes nothing.
    """
    rows: list[dict[str, Parameter]] = [
        {"job_id": run.job_id, "run": run.claim, "result": text}
        for run, text in checkpoints
    ]
    if rows:
        transaction.defer("save_checkpoints", rows=encode_rows(rows))


def steps_of(row: Row) -> StepsOfJob:
    """Return the steps of a job from the columns of ``steps_of_job``."""
    count, text = row
    if not text or text == "[]":
        return NO_STEPS
    steps = [
        Step(name, run, from_micros(at), size, result)
        for name, run, at, size, result in json.loads(text)
    ]
    steps.sort(key=lambda each: (each.at, each.name))
    finished = [each for each in steps if each.name != CHECKPOINT]
    checkpoint = next((each for each in steps if each.name == CHECKPOINT), None)
    return StepsOfJob(tuple(finished[-MAX_SHOWN_STEPS:]), count, checkpoint)
