"""OutcomeWriter: keeps the outcomes of a worker until they are stored or refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import ClaimedJob, RunId
from flask_forge_jobs.model.outcomes import Released
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.runtime.loop.batch_folds import BatchFolds
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.job_log import JobLog
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from flask_forge_jobs.storage.database import NO_FAULT_OF_ROWS
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.recorder import Recorder

logger = get_logger(__name__)


class OutcomeWriter:
    """Turns outcomes into updates, and keeps them until they are stored or refused.

    Only the loop's thread uses it, except for :meth:`runs` and :attr:`has_unwritten`.
    """

    def __init__(
        self,
        jobs: JobQueue,
        worker_id: str,
        handover: Handover,
        mapper: OutcomeMapper,
        recorder: Recorder,
        *,
        job_log: JobLog,
        folds: BatchFolds | None = None,
    ) -> None:
        self.folds = folds or BatchFolds(lambda _: set())
        self.worker_id = worker_id
        self._jobs = jobs
        self._handover = handover
        self._mapper = mapper
        self._recorder = recorder
        self._job_log = job_log
        # Replaced and never changed, so that any thread may read it.
        self._updates: list[JobUpdate] = []

    def collect(self) -> list[JobUpdate]:
        """Turn all outcomes into updates; return every update to write."""
        ended = self._handover.ended
        if ended:
            new = []
            for execution, outcome in ended:
                update = self._mapper.update(execution, outcome)
                if update is not None:
                    if execution.reports is not None:
                        update.logged = execution.reports.last_lines()
                        update.saved = execution.reports.saved
                    new.append(update)
                else:
                    job = execution.job
                    self._recorder.refused(job.queue_name, job.kind)
            self._updates = [*self._updates, *new]
            self._handover.drop_ended(len(ended))
        return self._updates

    def runs(self) -> set[RunId]:
        """Return every run here, from its claim until its outcome is stored."""
        # In this order, because a run comes from there.
        runs = self._handover.runs()
        runs.update(update.job.run_id for update in self._updates)
        return runs

    @property
    def has_unwritten(self) -> bool:
        """Whether there are outcomes to store."""
        return bool(self._handover.ended or self._updates)

    def note_written(self, batch: Sequence[JobUpdate], refused: Sequence[str]) -> None:
        """Forget the batch, which is stored or refused."""
        self._updates = []  # new outcomes are not in there yet
        self._note(batch, refused)
        if refused:
            logger.warning(
                "jobs were lost to other workers; outcomes dropped: %s", refused
            )

    def _note(self, batch: Sequence[JobUpdate], refused: Sequence[str]) -> None:
        """Count and log outcomes that are stored, but for refused ones."""
        self._recorder.ended(batch, refused)
        if refused:
            batch = [each for each in batch if each.job.id not in refused]
        self._job_log.write(batch)

    def write_singly(self, batch: Sequence[JobUpdate]) -> None:
        """Store a refused batch one by one, replacing outcomes that cannot be stored.

        Raises:
            StorageError: The database stores nothing now, so no outcome is to blame.
        """
        self._jobs.heartbeat(self.worker_id, {})
        for update in batch:
            replacements: list[JobUpdate] = []
            try:
                refused = self._jobs.finish(self.worker_id, [update])
                self._note([update], refused)
            except NO_FAULT_OF_ROWS:
                raise
            except Exception as error:  # noqa: BLE001  # whatever the driver refuses
                self._mapper.log_unstorable(update, error)
                replacements = self._mapper.replacements(update)
            others = [each for each in self._updates if each is not update]
            self._updates = [*others, *replacements]

    def give_back(self, jobs: Iterable[ClaimedJob], now: float) -> None:
        """Give jobs back at once, at a monotonic time, after the end of the loop."""
        mapped = [self._mapper.update(Execution(job, now), Released()) for job in jobs]
        updates = [update for update in mapped if update is not None]
        if not updates:
            return
        try:
            refused = self._jobs.finish(self.worker_id, updates)
            self._note(updates, refused)  # some may end cancelled
        except StorageError as error:
            ids = ", ".join(update.job.id for update in updates)
            logger.warning(
                "cannot give back jobs %s; they run again after the lease: %s",
                ids,
                error,
            )
