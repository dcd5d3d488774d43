"""Which reads go to a hot standby: those that it can answer within a bound of its lag.

Once a second a process that reads notes how long the primary's log is. The standby
answers if it has replayed what the primary had written at a moment within the bound. No
clock of a server is compared, and an idle primary is no lag. A log that is longer on
the standby than on the primary is of another history, as after a failover that it has
not followed yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.log_lines import LogThrottle
from flask_forge_jobs.model.standby import Positions, StandbyState
from flask_forge_jobs.storage.base import Storage, StoreParts
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.executor import StoreExecutor

logger = get_logger(__name__)

T = TypeVar("T")
# Between two notes of the primary's position, at most.
NOTED_EVERY_S = 1.0
# A question for a position; a server that hangs holds one request for as long.
LIMIT_S = 1.0
# After a read that failed.
PAUSE_S = 1.0
# A request that takes longer there is answered by the primary.
READ_LIMIT_S = 5.0
# A look waits for a standby that is about to catch up.
_LOOKS = 50
_LOOK_EVERY_S = 0.005
_OTHER_DATABASE = (
    "is no standby of the jobs' database (another server, database or schema)"
)
_OTHER_HISTORY = "has a history that the primary does not have"
_NO_STANDBY = "takes writes itself, so it is no standby"
_UNKNOWN = "does not say how far it has replayed the log"


class Standby(PerProcess):
    """The stores on a hot standby, for reads that may be a little old."""

    def __init__(
        self,
        primary: Storage,
        settings: DatabaseSettings,
        *,
        max_lag_s: float,
        clock: Clock,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        from flask_forge_jobs.storage.postgres.standby import StandbyDatabase

        self.max_lag_s = max_lag_s
        self.place = settings.dsn_for_display
        self._primary = primary
        self._clock, self._wait = clock, wait
        self._every_s = min(NOTED_EVERY_S, max_lag_s / 4)
        self._database = StandbyDatabase(settings, self._required)
        parts = StoreParts(
            self._database, clock, UlidGenerator(clock), None,
            max_queues=settings.max_queues, masking=primary.masking,
        )  # fmt: skip
        # Without the primary's recorder: figures of reads here say nothing about it.
        self.storage = Storage(parts, parts.executor, StoreExecutor(self._database))
        self._throttle = LogThrottle()
        self.stay_own()

    def _begin(self) -> None:
        self._noting = threading.Lock()
        self._positions = Positions(self.max_lag_s)
        self._noted_at: float | None = None
        self._not_before: float | None = None
        self._is_known = False
        self._fault: str | None = None
        self._answered = self._instead = 0
        self._seen = StandbyState(None, None, 0, 0)

    # -- reads ---------------------------------------------------------------------

    def answer(self, read: Callable[[], T]) -> T | None:
        """Return the result of reads on :attr:`storage`, or None if that fails.

        Raises:
            Exception: As ``read`` does, unless the standby is the cause.
        """
        if not self._is_usable():
            self._instead += 1
            return None
        with self._database.noting() as failure:
            result: T | None = None
            try:
                with within(READ_LIMIT_S):
                    result = read()
            except Exception:
                if failure() is None:
                    raise
            error = failure()
        if error is None:
            self._fault = None
            self._answered += 1
            return result
        self._instead += 1
        self._pause(str(error))
        return None

    def _is_usable(self) -> bool:
        self.stay_own()
        now = self._clock.monotonic()
        if self._not_before is not None and now < self._not_before:
            return False
        is_due = self._noted_at is None or now - self._noted_at >= self._every_s
        if is_due and self._noting.acquire(blocking=False):
            try:
                self._note()
            finally:
                self._noting.release()
        is_paused = self._not_before is not None and now < self._not_before
        return not is_paused and self._positions.required(now) is not None

    def _pause(self, fault: str) -> None:
        self._fault = fault
        self._not_before = self._clock.monotonic() + PAUSE_S
        self._database.forget_idle()
        if self._throttle.is_time_for(fault):
            logger.warning(
                "the primary answers in place of the standby %s, which %s%s",
                self.place,
                fault,
                self._throttle.more(fault),
            )

    def _required(self) -> int:
        required = self._positions.required(self._clock.monotonic())
        if required is None:
            raise StorageError("the primary's position is unknown")
        return required

    # -- positions -----------------------------------------------------------------

    def _note(self) -> int | None:
        """Note the primary's position, and return that of the standby.

        None if the standby cannot be used; then it is left alone for a while.
        """
        self._noted_at = self._clock.monotonic()
        try:
            with within(LIMIT_S):
                is_standby, replayed = self._database.position()
        except StorageError as error:
            self._pause(str(error))
            return None
        fault = None
        if not is_standby:
            fault = _NO_STANDBY
        elif replayed is None:
            fault = _UNKNOWN
        elif not self._note_primary(replayed):
            fault = _OTHER_HISTORY
        if fault is None and not self._has_known():
            fault = _OTHER_DATABASE
        if fault is not None:
            self._positions.forget()
            self._pause(fault)
            return None
        return replayed

    def _note_primary(self, replayed: int) -> bool:
        """Note the primary's position; return whether the standby may have come to it.

        While the primary does not answer, earlier notes are good until they are old.
        """
        # The answer holds for the moment before the question.
        at = self._clock.monotonic()
        try:
            with within(LIMIT_S):
                rows = self._primary.database.read_one("log_position")
        except StorageError:
            return True
        ((is_standby, position),) = rows
        if is_standby or position is None:
            return True
        if replayed > position:
            return False
        self._positions.note(at, position)
        return True

    def _has_known(self) -> bool:
        """Return whether both are the same database, or the primary does not answer."""
        if not self._is_known:
            try:
                with within(LIMIT_S):
                    of_primary = self._primary.database.read_one("shared_identity")
                    self._is_known = of_primary == self._database.identity()
            except StorageError:
                return True
        return self._is_known

    def look(self) -> StandbyState:
        """Return how far the standby is behind now; waits for a moment if it is.

        While another thread looks, it was so far behind at the look before.
        """
        self.stay_own()
        # No waiting: it would hold a thread that answers requests, uncounted.
        if self._noting.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._noting.release()
        return replace(self._seen, answered=self._answered, instead=self._instead)

    def _look(self) -> None:
        lag_s = None
        began = self._clock.monotonic()
        replayed = self._note()
        for _ in range(_LOOKS):
            if replayed is None:
                break
            now = self._clock.monotonic()
            lag_s = self._positions.lag_s(now, replayed)
            if lag_s is not None and lag_s <= now - began:
                break  # it shows all that was written by now
            self._wait(_LOOK_EVERY_S)
            replayed = self._replayed()
        fault = self._fault if replayed is None else None
        self._seen = StandbyState(lag_s, fault, 0, 0)

    def _replayed(self) -> int | None:
        try:
            with within(LIMIT_S):
                return self._database.position()[1]
        except StorageError as error:
            self._pause(str(error))
            return None

    def close(self) -> None:
        """Close the connections of this process."""
        self._database.close()
