"""A caller that stores jobs all the time."""

from __future__ import annotations

import random
import threading

from flask_forge_jobs import NewJob, Storage
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import KIND, MAX_ATTEMPTS
from tests.acceptance.producer import LONGEST_RUN_MS

STOP_LIMIT_S = 120.0


class Caller(threading.Thread):
    """Does the same again and again until told to stop."""

    #: Between two calls.
    pause_s = 0.1

    def __init__(self, name: str, storage: Storage, source: random.Random) -> None:
        super().__init__(name=name, daemon=True)
        self.storage = storage
        self.complaints: list[str] = []
        self.source = source
        self._stopping = threading.Event()

    def run(self) -> None:
        """Do it until told to stop; an unexpected error is a complaint."""
        try:
            while not self._stopping.wait(self.pause_s):
                self.call()
        except Exception as error:  # noqa: BLE001  # told with the outcome
            self.complaints.append(f"{self.name} failed: {error!r}")

    def call(self) -> None:
        """Do it once."""
        raise NotImplementedError

    def finish(self) -> None:
        """End after the present call."""
        self._stopping.set()
        self.join(STOP_LIMIT_S)
        if self.is_alive():
            self.complaints.append(f"{self.name} still waits")

    def payload(self, number: int) -> dict[str, int]:
        """Return the payload of a job with a number that no other has."""
        sleep_ms = self.source.randint(1, LONGEST_RUN_MS)
        return {"number": number, "sleep_ms": sleep_ms}

    def job(self, number: int) -> NewJob:
        """Return such a job."""
        return NewJob(KIND, dump(self.payload(number)), max_attempts=MAX_ATTEMPTS)
