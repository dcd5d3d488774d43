"""When somebody who asks all the time was answered, and when not."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from flask_forge_jobs import EnqueueResult, NewJob, Storage
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.request_keys import RequestKey
from tests.acceptance.checker import SECOND_NS
from tests.acceptance.faults.load import PersistentProducer

T = TypeVar("T")
ASK_AGAIN_S = 0.1
# A call that takes longer has waited for the server.
LONG_CALL_S = 1.0


@dataclass(slots=True)
class Answers:
    """Takes down every call of one caller; times are monotonic nanoseconds."""

    calls: list[tuple[int, int, bool]] = field(default_factory=list)

    def back_s(self, since_ns: int) -> float:
        """Return the seconds until calls succeed, and go on to do so.

        A call that was under way at ``since_ns`` may fail, for it has met the fault. No
        success at all is infinity.
        """
        failures = [
            ended for began, ended, good in self.calls if began >= since_ns and not good
        ]
        last_ns = max(failures, default=since_ns)
        ends = [ended for _, ended, good in self.calls if good and ended > last_ns]
        return (min(ends) - since_ns) / SECOND_NS if ends else math.inf

    def taken_down(self, call: Callable[[], T], is_good: Callable[[T], bool]) -> T:
        """Make a call and take it down; it has failed when it raises."""
        began_ns = time.monotonic_ns()
        good = False
        try:
            result = call()
            good = is_good(result)
        finally:
            self.calls.append((began_ns, time.monotonic_ns(), good))
        return result


class SteadyProducer(PersistentProducer):
    """Keeps its pace: what it could not store meanwhile it does not make up for.

    So the load after the fault is the load before it, and so may the waits be.
    """

    @cached_property
    def answers(self) -> Answers:
        """What became of its calls."""
        return Answers()

    def insist(self, jobs: list[NewJob], key: RequestKey) -> list[EnqueueResult]:
        """Ask until there is an answer."""
        began_at = time.monotonic()
        results = super().insist(jobs, key)
        took_s = time.monotonic() - began_at
        if took_s > LONG_CALL_S:
            self.lost_s += took_s
        return results

    def ask(self, jobs: list[NewJob], key: RequestKey) -> list[EnqueueResult]:
        """Ask once and take it down."""
        ask = super().ask
        return self.answers.taken_down(lambda: ask(jobs, key), bool)


def store_by_id(storage: Storage, job: NewJob) -> EnqueueResult:
    """Store a job, whatever it takes; after an unknown outcome again under its id."""
    while True:
        try:
            return storage.jobs.enqueue(job)
        except StorageOutcomeUnknownError as error:
            job = dataclasses.replace(job, job_id=error.job_ids[0])
        except (StorageUnavailableError, StorageBusyError):
            pass
        threading.Event().wait(ASK_AGAIN_S)
