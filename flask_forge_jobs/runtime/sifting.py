"""Sifting: finds the outcomes that the database will not take, for they hold up all."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from flask_forge_jobs.errors import (
    SchemaTooNewError,
    StorageBusyError,
    StorageUnavailableError,
)
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.outcomes import Settlement
from flask_forge_jobs.runtime.outbox import Outbox
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.recorder import Recorder

logger = get_logger(__name__)

# What keeps every outcome from being stored, whatever is in it.
NO_FAULT_OF_OUTCOMES = StorageUnavailableError, StorageBusyError, SchemaTooNewError


class Sifter:
    """Writes outcomes one by one once a batch of them was refused.

    Args:
        jobs: The hot path of the storage.
        recorder: Counts the runs whose end is stored.
        outbox: Holds the outcomes.
        lock: Guards the outbox.
    """

    def __init__(
        self, jobs: JobQueue, recorder: Recorder, outbox: Outbox, lock: threading.Lock
    ) -> None:
        self._jobs = jobs
        self._recorder = recorder
        self._outbox = outbox
        self._lock = lock

    def sift(self, owner: str, batch: Sequence[Settlement]) -> None:
        """Replace what cannot be stored, and store the rest.

        Raises:
            StorageError: It takes nothing at present, so no outcome is to blame.
        """
        self._jobs.heartbeat(owner, {})
        for settlement in batch:
            is_storable = True
            try:
                refused = self._jobs.finish(owner, [settlement])
                self._recorder.ended([settlement], refused)
            except NO_FAULT_OF_OUTCOMES:
                raise
            except Exception:
                logger.exception("cannot store how job %s ended", settlement.job.id)
                is_storable = False
            with self._lock:
                if is_storable:
                    self._outbox.discard(settlement)
                else:
                    self._outbox.replace(settlement)
