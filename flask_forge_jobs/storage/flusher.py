"""Flusher: stores the recorder's figures every two seconds.

It adds them to rows of its own, in numbered writes. A write whose outcome is unknown is
repeated as it was, under its number, and the database takes each number once. So an
outage loses nothing, and nothing counts twice. Its thread lives only while there is
something to store. A process that is killed loses the figures since the last write.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from functools import partial
from itertools import islice

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError, StorageOutcomeUnknownError
from flask_forge_jobs.forks import PerProcess, at_end_of_child
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.metrics import LEVELS, MetricKey, Tally, floor_to
from flask_forge_jobs.reentry import Flag
from flask_forge_jobs.storage.metrics import PUT_ROWS, SOURCE_US, MetricStore
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.refusals import Refusals
from flask_forge_jobs.storage.uncommitted import Uncommitted

logger = get_logger(__name__)

PERIOD_S = 2.0
# Seconds without anything to store after which the thread ends.
IDLE_S = 30.0
# How long close() waits for the last write.
LAST_WRITE_S = 2.0
# Most rows, of about a kilobyte each, to hold while the database is unavailable; beyond
# it the oldest of the finest level are dropped.
MAX_HELD = 20_000

_Figures = dict[MetricKey, Tally]


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
        # The figures that are not stored, and those of them whose write has no answer.
        self._new: _Figures = {}
        self._unclear: _Figures = {}
        # The rows of the source as they are stored, and the number of its last write.
        self._rows: _Figures = {}
        self._source, self._source_ends_us, self._number = "", 0, 0
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
            self._hold(*key, tally)
        try:
            written = self._store_unclear() + self._store_new()
        except StorageError:
            self._drop_excess()
            raise
        self._forget_rows(taken_us)
        return written

    def _hold(self, bucket_us: int, queue_name: str, kind: str, tally: Tally) -> None:
        for level in LEVELS:
            start_us = floor_to(bucket_us, level)
            for names in ((queue_name, kind), (queue_name, ""), ("", "")):
                key = MetricKey(level, start_us, *names)
                self._new.setdefault(key, Tally()).merge(tally)

    def _store_unclear(self) -> int:
        """Repeat the write whose outcome is unknown."""
        if not self._unclear:
            return 0
        self._write(self._unclear)
        written, self._unclear = len(self._unclear), {}
        return written

    def _store_new(self) -> int:
        if not self._new:
            return 0
        self._take_source()
        written = 0
        while self._new:
            part = dict(islice(self._new.items(), PUT_ROWS))
            try:
                self._write(part)
            except StorageOutcomeUnknownError:
                self._unclear = part
                self._remove(part)
                raise
            self._remove(part)
            written += len(part)
        return written

    def _take_source(self) -> None:
        """Begin a new source from time to time; the rows of the old one stay."""
        now_us = self._clock.now_us()
        if not self._source or now_us >= self._source_ends_us:
            self._source, self._number = self._new_source(), 0
            self._source_ends_us = now_us + SOURCE_US
            self._rows.clear()

    def _write(self, part: _Figures) -> None:
        """Add figures to the rows of the source, and keep the rows as they are now."""
        known = {key: self._rows.pop(key) for key in part if key in self._rows}
        rows = self._store.add(self._source, self._number + 1, part, known)
        self._number += 1
        self._rows.update(rows)

    def _remove(self, part: _Figures) -> None:
        for key in part:
            del self._new[key]

    def _forget_rows(self, taken_us: int) -> None:
        """Forget rows of buckets that were over when the figures were taken."""
        # A thread may have read the clock but not counted yet.
        limit_us = taken_us - LEVELS[0] * SECOND_US
        for key in list(self._rows):
            if key.bucket_us + key.level * SECOND_US <= limit_us:
                del self._rows[key]

    def _drop_excess(self) -> None:
        """Drop figures that could not be stored for too long."""
        excess = len(self._new) - MAX_HELD
        if excess <= 0:
            return
        for key in sorted(self._new)[:excess]:
            del self._new[key]
        logger.error(
            "dropped the metrics of %s buckets, which were not stored in time", excess
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
