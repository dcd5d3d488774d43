"""OutcomeWriter: keeps outcomes until the database has stored them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_forge_jobs.errors import (
    SchemaTooNewError,
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import JobUpdate, Released
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.outcome_mapper import OutcomeMapper
from flask_forge_jobs.runtime.state import WorkerState
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.recorder import Recorder

logger = get_logger(__name__)

# Errors that say nothing about the outcomes in the batch.
NO_FAULT_OF_OUTCOMES = StorageUnavailableError, StorageBusyError, SchemaTooNewError


class OutcomeWriter:
    """Turns outcomes into updates, and keeps them until they are stored or refused."""

    def __init__(
        self,
        jobs: JobQueue,
        state: WorkerState,
        mapper: OutcomeMapper,
        recorder: Recorder,
    ) -> None:
        self._jobs = jobs
        self._state = state
        self._mapper = mapper
        self._recorder = recorder
        self.refused_count = 0

    def collect(self) -> list[JobUpdate]:
        """Turn all outcomes into updates; return every update to write."""
        state = self._state
        ended = list(state.ended)
        if ended:
            new = []
            for execution, outcome in ended:
                update = self._mapper.update(execution, outcome)
                if update is not None:
                    new.append(update)
            with state.lock:  # so that runs() never misses one
                del state.ended[: len(ended)]  # keeps those that were added meanwhile
                state.updates += new
        return list(state.updates)

    def note_written(self, batch: Sequence[JobUpdate], refused: Sequence[str]) -> None:
        """Forget the batch, which is stored or refused."""
        with self._state.lock:
            self._state.updates.clear()  # new outcomes are not in updates yet
        self._recorder.ended(batch, refused)
        if refused:
            self.refused_count += len(refused)
            logger.warning(
                "jobs were lost to other workers; outcomes dropped: %s", refused
            )

    def write_singly(self, batch: Sequence[JobUpdate]) -> None:
        """Store a refused batch one by one, replacing outcomes that cannot be stored.

        Raises:
            StorageError: The database stores nothing now, so no outcome is to blame.
        """
        self._jobs.heartbeat(self._state.worker_id, {})
        for update in batch:
            replacements: list[JobUpdate] = []
            try:
                refused = self._jobs.finish(self._state.worker_id, [update])
                self._recorder.ended([update], refused)
            except NO_FAULT_OF_OUTCOMES:
                raise
            except Exception:
                logger.exception("cannot store how job %s ended", update.job.id)
                replacements = self._mapper.replacements(update)
            with self._state.lock:
                self._state.updates.remove(update)
                self._state.updates += replacements

    def release(self, jobs: Iterable[ClaimedJob]) -> None:
        """Give jobs back without the dispatcher, which may have ended."""
        now = self._state.clock.monotonic()
        mapped = [self._mapper.update(Execution(job, now), Released()) for job in jobs]
        updates = [update for update in mapped if update is not None]
        if not updates:
            return
        try:
            self._jobs.finish(self._state.worker_id, updates)
        except StorageError as error:
            ids = ", ".join(update.job.id for update in updates)
            logger.warning(
                "cannot give back jobs %s; they run after the lease: %s", ids, error
            )
