"""Reads that many open pages repeat: one a second and process, however many ask."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar, cast

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.forks import PerProcess
from flask_forge_jobs.storage.database import Database
from flask_forge_jobs.storage.deadlines import left_s

T = TypeVar("T")
KEPT_S = 1.0
# The least recently asked leave first.
MAX_KEYS = 256
# What nobody has asked for since leaves, too: longer than any value is good for.
FORGOTTEN_S = 120.0


class Known(NamedTuple):
    """A value, and how many seconds ago it was read."""

    value: Any
    age_s: float


class _Slot:
    """One value, and the lock of its reader."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked_at = 0.0
        self.read_at: float | None = None
        self.value: object = None


class Snapshots(PerProcess):
    """The last reads of one database, by key."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        # Weak, because the database is the key under which these are kept.
        self._database = weakref.proxy(database)
        self._clock = clock or SystemClock()
        self.stay_own()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def forget(self) -> None:
        """Forget all values: a change of this process shows at once."""
        self.stay_own()
        with self._lock:
            self._slots.clear()

    def get(self, key: Hashable, read: Callable[[], T], *, kept_s: float = KEPT_S) -> T:
        """Return the value of a key, reading it unless it is young enough.

        Callers at the same time wait for one read, each as long as for its own, and as
        requests that wait for the database. If it fails, each of them tries.

        Args:
            key: Everything that the value depends on, the caller's queues included.
            read: Returns the value, which nobody changes: all callers share it.
            kept_s: How old the value may be, in seconds.

        Raises:
            StorageUnavailableError: The read takes too long, or the database hangs.
            Exception: As ``read`` does.
        """
        self.stay_own()
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            slot.asked_at = self._clock.monotonic()
            self._forget(slot.asked_at)
        if self._is_young(slot, kept_s):
            return cast("T", slot.value)
        with self._database.turn as limit_s:
            if not slot.lock.acquire(timeout=left_s(limit_s)):
                raise StorageUnavailableError("another request reads the same for long")
            try:
                if not self._is_young(slot, kept_s):
                    slot.value = read()
                    # Not before the read: callers that waited for it share it.
                    slot.read_at = self._clock.monotonic()
                return cast("T", slot.value)
            finally:
                slot.lock.release()

    def _is_young(self, slot: _Slot, kept_s: float) -> bool:
        read_at = slot.read_at
        return read_at is not None and self._clock.monotonic() - read_at < kept_s

    def _forget(self, now: float) -> None:
        first = next(iter(self._slots.values()))
        while len(self._slots) > MAX_KEYS or now - first.asked_at >= FORGOTTEN_S:
            self._slots.popitem(last=False)
            first = next(iter(self._slots.values()))

    def known(self, key: Hashable) -> Known | None:
        """Return the value of a key and its age without a read; None if unknown."""
        self.stay_own()
        with self._lock:
            slot = self._slots.get(key)
        if slot is None or slot.read_at is None:
            return None
        return Known(slot.value, self._clock.monotonic() - slot.read_at)
