"""Refusals: refused requests, in as few entries of the audit trail as it takes.

Whoever may do nothing can still ask without end, and the trail forgets nothing. So the
first refusal of a caller by a route with a status leaves an entry at once. Those that
follow within a minute are counted in this process and leave one more when the minute
is over, or when the storage is closed. A process that is killed loses what it counted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.audit import Deed
from flask_forge_jobs.storage.database import Database, Transaction
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.units import append_entry

logger = get_logger(__name__)

PERIOD_S = 60.0
# Most kinds of refusals that are told apart within a minute; the others are counted
# together, by status, under this name.
MOST_KINDS = 1000
OTHERS = "_others"
MOST_WAITING = 10 * MOST_KINDS

_Kind = tuple[str, str, int]


@dataclass(slots=True)
class _Counted:
    """Refusals of one kind, after the first."""

    until: float
    last: Deed
    requests: int = 0


class Refusals(PerProcess):
    """Counts refused requests and appends their entries.

    Args:
        database: The seam to the database.
        recorder: Is told when something waits to be stored.
        clock: Measures the minutes.
    """

    def __init__(self, database: Database, recorder: Recorder, clock: Clock) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock
        self.stay_own()

    def _begin(self) -> None:
        # What a parent has counted is its own to store.
        self._lock = threading.Lock()
        self._kinds: dict[_Kind, _Counted] = {}
        self._waiting: list[Deed] = []

    @property
    def is_waiting(self) -> bool:
        """Whether some are counted that no entry tells of."""
        self.stay_own()
        with self._lock:
            counted = any(each.requests for each in self._kinds.values())
            return counted or bool(self._waiting)

    def add(self, deed: Deed) -> None:
        """Append the entry of a refused request, or count it.

        Raises:
            StorageError: The entry is not stored yet; it is kept for the next time.
        """
        self.stay_own()
        with self._lock:
            self._end_minutes(self._clock.monotonic())
            is_first = self._count(deed)
        if not is_first:
            self._recorder.on_activity()
            return
        try:
            self.settle()
        except StorageError:
            self._recorder.on_activity()
            raise

    def settle(self, *, is_last: bool = False) -> None:
        """Append what was counted in minutes that are over.

        Args:
            is_last: Append the rest as well.

        Raises:
            StorageError: Nothing was appended; all of it is kept for the next time.
        """
        self.stay_own()
        with self._lock:
            now = self._clock.monotonic()
            self._end_minutes(now + PERIOD_S if is_last else now)
            taken, self._waiting = self._waiting, []
        if not taken:
            return

        def work(transaction: Transaction) -> None:
            for deed in taken:
                append_entry(transaction, deed)

        try:
            self._database.write(work)
        except BaseException:
            with self._lock:
                self._keep([*taken, *self._waiting])
            raise

    def _count(self, deed: Deed) -> bool:
        """Take in one request; return whether it is the first of its kind."""
        kind = _kind_of(deed)
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            deed = replace(
                deed, actor=OTHERS, action=OTHERS, target=None, address="",
                request_id="", arguments="{}",
            )  # fmt: skip
            kind = _kind_of(deed)
        counted = self._kinds.get(kind)
        if counted is not None:
            counted.last = deed
            counted.requests += 1
            return False
        until = self._clock.monotonic() + PERIOD_S
        self._kinds[kind] = _Counted(until, deed)
        self._waiting.append(deed)
        return True

    def _end_minutes(self, now: float) -> None:
        """Let what was counted in minutes that are over wait to be stored."""
        # In the order of their ends.
        while self._kinds:
            kind, counted = next(iter(self._kinds.items()))
            if counted.until > now:
                break
            del self._kinds[kind]
            if counted.requests:
                self._keep(
                    [*self._waiting, replace(counted.last, requests=counted.requests)]
                )

    def _keep(self, deeds: list[Deed]) -> None:
        excess = len(deeds) - MOST_WAITING
        if excess > 0:
            logger.error("the audit trail lacks %s entries of refused requests", excess)
        self._waiting = deeds[max(excess, 0) :]


def _kind_of(deed: Deed) -> _Kind:
    return deed.actor, deed.action, deed.status
