"""Flusher: stores the recorder's figures every two seconds.

It keeps all that the row of each open bucket has to hold, and overwrites the row with
it. So a repeated write does no harm, and an outage of the database loses nothing. If
the row was folded meanwhile, what came since begins a new one; if also the answer to
the last write was lost, what came until then may be missing. Its thread lives only
while there is something to store. A process that is killed loses what it has counted
since the last write.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError, StorageOutcomeUnknownError
from flask_forge_jobs.forks import PerProcess, at_end_of_child
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.metrics import LEVELS, MetricKey, Tally, floor_to
from flask_forge_jobs.reentry import Flag
from flask_forge_jobs.storage.metrics import (
    FOLD_AFTER_US,
    PUT_ROWS,
    SOURCE_US,
    MetricStore,
    is_wide,
)
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.refusals import Refusals
from flask_forge_jobs.storage.uncommitted import Uncommitted

logger = get_logger(__name__)

T = TypeVar("T")

PERIOD_S = 2.0
# Seconds without anything to store after which the thread ends.
IDLE_S = 30.0
# How long close() waits for the last write.
LAST_WRITE_S = 2.0
# Most buckets, of about a kilobyte each, to hold while the database is unavailable;
# beyond it the oldest of the finest level are dropped.
MAX_HELD = 20_000


@dataclass(slots=True)
class _Bucket:
    """The figures of one row.

    ``tally`` is all that the row has to hold, ``since`` what of it came after the last
    write that was stored or may have been. ``is_unclear`` if none is known to be stored
    but one may be.
    """

    tally: Tally = field(default_factory=Tally)
    since: Tally | None = None
    is_changed: bool = False
    is_stored: bool = False
    is_unclear: bool = False

    @property
    def may_be_there(self) -> bool:
        """Whether a row was stored or may have been."""
        return self.is_stored or self.is_unclear

    @property
    def has_to_be_put(self) -> bool:
        """Whether there are figures and no row for them."""
        return self.is_changed and not self.may_be_there

    def add(self, tally: Tally) -> None:
        """Add figures that are not stored."""
        self.tally.merge(tally)
        if self.may_be_there:
            self.since = self.since or Tally()
            self.since.merge(tally)
        self.is_changed = True

    def stored(self) -> None:
        """Note that the row holds everything."""
        self.since, self.is_changed = None, False
        self.is_stored, self.is_unclear = True, False

    def unanswered(self) -> None:
        """Note that the row may hold everything."""
        self.since = None
        self.is_unclear = not self.is_stored

    def gone(self, *, may_be_folded: bool) -> None:
        """Note that there is no row: what it held counts elsewhere, if it was there."""
        if self.is_stored or may_be_folded:
            self.is_changed = self.since is not None
            self.tally = self.since or Tally()
        self.since = None
        self.is_stored = self.is_unclear = False


_Part = dict[MetricKey, _Bucket]


class Flusher(PerProcess):
    """Moves figures from memory into the database.

    ``new_source`` returns a new, unique id for the rows of this process. ``refusals``
    are refused requests, which are stored once a minute.
    """

    def __init__(
        self,
        recorder: Recorder,
        store: MetricStore,
        clock: Clock,
        new_source: Callable[[], str],
        uncommitted: Uncommitted | None = None,
        *,
        refusals: Refusals | None = None,
    ) -> None:
        self._recorder = recorder
        self._store = store
        self._clock = clock
        self._new_source = new_source
        self._uncommitted = uncommitted
        self._refusals = refusals
        self.stay_own()
        recorder.on_activity = self._activity

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._flush_lock = threading.Lock()
        self._work = Flag()
        # Wake the thread when the flusher is garbage-collected.
        weakref.finalize(self, self._work.set).atexit = False
        self._stopping = Flag()
        self._thread: threading.Thread | None = None
        self._taken: dict[tuple[int, str, str], Tally] = {}
        self._held: dict[MetricKey, _Bucket] = {}
        self._source, self._source_ends_us = "", 0
        # The end of the newest bucket that was forgotten.
        self._let_go_us = 0
        self._is_failing = False
        at_end_of_child(self, partial(_close, weakref.ref(self)))

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive."""
        self.stay_own()
        thread = self._thread
        return thread is not None and thread.is_alive()

    def flush(self, *, is_last: bool = False) -> int:
        """Store everything now; return how many rows of figures were written.

        With ``is_last`` that includes refusals of the current minute. If it raises a
        StorageError, the figures are kept for the next call.
        """
        self.stay_own()
        with self._flush_lock:
            try:
                if self._uncommitted is not None:
                    self._uncommitted.count_committed()
            finally:
                # Even if that failed: the recorder holds all until it is taken.
                written = self._store_taken()
            if self._refusals is not None:
                self._refusals.flush(is_last=is_last)
            return written

    def close(self) -> None:
        """Store the rest and end the thread, within two seconds."""
        self.stay_own()
        with self._lock:
            thread = self._thread
            has_work = self._work.is_set()
            self._stopping.set()
            self._work.set()
        if thread is not None:
            thread.join(LAST_WRITE_S)
        elif has_work:
            # At the end of the process, where no thread can start.
            with contextlib.suppress(StorageError):
                self.flush(is_last=True)

    # -- the figures -----------------------------------------------------------------

    def _store_taken(self) -> int:
        """Take the recorder's figures and store them; return how many rows it were."""
        taken_us = self._clock.now_us()
        for key, tally in self._recorder.take().items():
            self._taken.setdefault(key, Tally()).merge(tally)
        # The clock went back, or the source will soon be folded.
        if self._is_let_go() or self._is_over(taken_us):
            self._begin_anew()
        for key, tally in self._taken.items():
            self._hold(*key, tally)
        self._taken.clear()
        written = self._store_held()
        self._let_go(taken_us)
        return written

    def _is_let_go(self) -> bool:
        return any(bucket_us < self._let_go_us for bucket_us, _, _ in self._taken)

    def _is_over(self, now_us: int) -> bool:
        """Return whether all is stored, and the source was in use for long enough."""
        if not self._source or now_us < self._source_ends_us:
            return False
        return not any(each.is_changed for each in self._held.values())

    def _begin_anew(self) -> None:
        """Switch to a new source and forget all buckets; the rows stay as they are."""
        self._store_held()
        self._held.clear()
        self._source, self._let_go_us = "", 0

    def _hold(self, bucket_us: int, queue_name: str, kind: str, tally: Tally) -> None:
        for level in LEVELS:
            start_us = floor_to(bucket_us, level)
            for names in ((queue_name, kind), (queue_name, ""), ("", "")):
                key = MetricKey(level, start_us, *names)
                self._held.setdefault(key, _Bucket()).add(tally)

    def _store_held(self) -> int:
        changed = {key: each for key, each in self._held.items() if each.is_changed}
        if not changed:
            return 0
        if not self._source:
            self._source = self._new_source()
            self._source_ends_us = self._clock.now_us() + SOURCE_US
        try:
            self._store.settle(changed)
            self._overwrite({k: b for k, b in changed.items() if b.may_be_there})
            self._put({k: b for k, b in changed.items() if b.has_to_be_put})
        except StorageError:
            self._drop_excess()
            raise
        return len(changed)

    def _overwrite(self, buckets: Mapping[MetricKey, _Bucket]) -> None:
        for part in _parts(buckets):
            gone = self._write(self._store.overwrite, part)
            for key, bucket in part.items():
                if key in gone:
                    bucket.gone(may_be_folded=self._may_be_folded(key))
                else:
                    bucket.stored()

    def _may_be_folded(self, key: MetricKey) -> bool:
        over_us = _end_us(key)
        if is_wide(key.level):
            over_us = min(over_us, self._source_ends_us)
        # Half of the time is for hosts whose clocks differ.
        return self._clock.now_us() >= over_us + FOLD_AFTER_US // 2

    def _put(self, buckets: Mapping[MetricKey, _Bucket]) -> None:
        for part in _parts(buckets):
            self._write(self._store.put, part)
            for bucket in part.values():
                bucket.stored()

    def _write(
        self, write: Callable[[str, dict[MetricKey, Tally]], T], part: _Part
    ) -> T:
        try:
            return write(self._source, {key: each.tally for key, each in part.items()})
        except StorageOutcomeUnknownError:
            for bucket in part.values():
                bucket.unanswered()
            raise

    def _let_go(self, taken_us: int) -> None:
        """Forget stored buckets that were over when the figures were taken."""
        # A thread may have read the clock but not counted yet.
        limit_us = taken_us - LEVELS[0] * SECOND_US
        for key in [key for key in self._held if _end_us(key) <= limit_us]:
            del self._held[key]
            self._let_go_us = max(self._let_go_us, _end_us(key))

    def _drop_excess(self) -> None:
        """Drop figures that could not be stored for too long."""
        excess = len(self._held) - MAX_HELD
        if excess <= 0:
            return
        changed = (key for key, each in self._held.items() if each.is_changed)
        lost = sorted(changed)[:excess]
        for key in lost:
            del self._held[key]
        logger.error(
            "dropped the metrics of %s buckets, which were not stored in time",
            len(lost),
        )

    # -- the thread ------------------------------------------------------------------

    def _activity(self) -> None:
        self.stay_own()
        with self._lock:
            self._work.set()
            if self.is_running:
                return
            self._stopping.clear()
            thread = threading.Thread(
                target=_run,
                args=(weakref.ref(self), self._work),
                name="forge-jobs-flusher",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:
                # At exit no thread can start; close() stores the figures.
                if threading.main_thread().is_alive():
                    logger.warning("metrics are not stored: no thread can start")
            else:
                self._thread = thread

    def run_once(self) -> bool:
        """Store once if there is something to store; return whether to go on."""
        with self._lock:
            if not self._work.is_set():
                self._thread = None
                return False
        self._stopping.wait(PERIOD_S)
        with self._lock:
            # Under the lock, because close() sets both events.
            self._work.clear()
            is_last = self._stopping.is_set()
        try:
            self.flush(is_last=is_last)
        except StorageError as error:
            self._failed(error)
        except Exception:
            logger.exception("storing metrics failed; trying again")
            self._failed(None)
        else:
            self._is_failing = False
            self._look_again(is_last=is_last)
        return not (is_last and self._may_end())

    def _look_again(self, *, is_last: bool) -> None:
        """Go on while jobs or refusals wait, except at the end of the process."""
        waiting = any(
            each is not None and each.is_waiting
            for each in (self._uncommitted, self._refusals)
        )
        if waiting and not is_last:
            self._work.set()

    def _failed(self, error: StorageError | None) -> None:
        if error is not None and not self._is_failing:
            logger.warning("cannot store metrics; trying again: %s", error)
        self._is_failing = True
        self._work.set()

    def _may_end(self) -> bool:
        """Return whether the thread may end after close()."""
        with self._lock:
            # close() does not wait for an unavailable database.
            if self._is_failing or not self._work.is_set():
                self._thread = None
                return True
            self._stopping.clear()  # the storage is in use again
            return False


def _run(flusher_of: weakref.ref[Flusher], work: Flag) -> None:
    """Store until nothing has come for 30 seconds or the flusher is gone."""
    while True:
        work.wait(IDLE_S)
        flusher = flusher_of()
        if flusher is None or not flusher.run_once():
            return
        del flusher  # do not keep the application alive while waiting


def _close(flusher_of: weakref.ref[Flusher]) -> None:
    flusher = flusher_of()
    if flusher is not None:
        flusher.close()


def _parts(buckets: Mapping[MetricKey, _Bucket]) -> Iterator[_Part]:
    """Yield the buckets of each statement; each is answered for itself."""
    items = list(buckets.items())
    for start in range(0, len(items), PUT_ROWS):
        yield dict(items[start : start + PUT_ROWS])


def _end_us(key: MetricKey) -> int:
    return key.bucket_us + key.level * SECOND_US
