"""Reads the facts once a second and process, however many callers ask."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import MigrationError, SchemaTooNewError
from flask_forge_jobs.handlers.attention.kinds import is_failing
from flask_forge_jobs.handlers.attention.report import Report, report
from flask_forge_jobs.handlers.snapshots import KEPT_S, Snapshots
from flask_forge_jobs.model.attention import DatabaseFacts, Facts
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.queues import BEHIND_S
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.deadlines import deadline, within

_Reports = dict[frozenset[str] | None, Report]
# Names of what is kept.
FACTS, HAZARDS = "attention", "hazards"
# How long a thread reads ahead.
AHEAD_S = 1.0
# For more, the sentences of a caller are judged again at each call.
MAX_SCOPES = 100
# A second read is for the errors of at most this many kinds.
MAX_FAILING = 20


def look(storage: Storage, at: datetime, behind_s: float = BEHIND_S) -> Facts:
    """Return the facts of this moment, in two round trips at most.

    Args:
        storage: Where to look.
        at: The time by this process's clock, which counts the runs of jobs.
        behind_s: How long the oldest due job of a queue may wait.
    """
    try:
        facts = replace(storage.attention.facts(at), behind_s=behind_s)
    except MigrationError as error:
        return _unread(storage, at, error)
    failing = sorted(
        (kind for kind in facts.kinds if is_failing(kind)),
        key=lambda kind: -kind.hour.failed,
    )[:MAX_FAILING]
    if not failing:
        return facts
    errors = storage.attention.common_errors(failing)
    named = {
        names: replace(kind, error=errors[names])
        for kind in failing
        if (names := (kind.queue_name, kind.kind)) in errors
    }
    kinds = [named.get((kind.queue_name, kind.kind), kind) for kind in facts.kinds]
    return replace(facts, kinds=kinds)


def _unread(storage: Storage, at: datetime, error: MigrationError) -> Facts:
    known, stored = storage.database.known_version, 0
    fault = "migrations are pending, or one has failed"
    if isinstance(error, SchemaTooNewError):
        # The message of another one may quote a driver.
        fault, stored = error.message, error.version
    database = DatabaseFacts(
        schema_fault=fault, schema_stored=stored, schema_known=known
    )
    return Facts(at, database=database, is_read=False)


def _hazards(storage: Storage) -> Sequence[str]:
    if (file := storage.database.file) is None:
        return ()
    from flask_forge_jobs.storage.sqlite.shared_file import engine_hazards

    return engine_hazards(file)


class Attention:
    """The attention report of one storage, for the rights of each caller.

    ``snapshots`` keep the facts, and forget them when this process has changed some.
    ``behind_s`` is how long the oldest due job of a queue may wait.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        clock: Clock | None = None,
        *,
        behind_s: float = BEHIND_S,
    ) -> None:
        self._snapshots = snapshots
        self._clock = clock or SystemClock()
        self._behind_s = behind_s

    def read_ahead(self, storage: Storage) -> threading.Thread | None:
        """Begin to read the facts if they are old, while the caller reads others.

        Returns the thread that reads them, which no request may leave behind. On
        SQLite, where no server works meanwhile, it does nothing and returns None.
        """
        known = self._snapshots.known(FACTS)
        is_young = known is not None and known.age_s < KEPT_S
        if storage.backend == "sqlite" or is_young:
            return None
        args = storage, deadline.ends_at
        thread = threading.Thread(
            target=self._read_within, args=args, name="forge-jobs-facts", daemon=True
        )
        with contextlib.suppress(RuntimeError):  # out of threads
            thread.start()
            return thread
        return None

    def _read_within(self, storage: Storage, ends_at: float | None) -> None:
        deadline.ends_at = ends_at
        # If it fails, the caller tries it and gets the error. Of a database that hangs,
        # the caller's thread may not wait long; see :mod:`.request_gate`. So the time
        # in which other threads read counts, too.
        with within(AHEAD_S), contextlib.suppress(Exception):
            self._current(storage)

    def report(self, storage: Storage, queues: Collection[str] | None = None) -> Report:
        """Return the attention report.

        Callers at the same time wait for one read of the facts, which are at most a
        second old; see :meth:`.Snapshots.get`. The storage is always the same one.

        Args:
            storage: Where to look.
            queues: All that the caller may know; None means every queue.

        Raises:
            StorageUnavailableError: The database could not be reached.
        """
        scope = None if queues is None else frozenset(queues)
        facts, reports = self._current(storage)
        known = reports.get(scope)
        if known is None:
            known = report(facts if scope is None else facts.limited_to(scope))
            if len(reports) < MAX_SCOPES:
                known = reports.setdefault(scope, known)
        return known

    def _current(self, storage: Storage) -> tuple[Facts, _Reports]:
        def read() -> tuple[Facts, _Reports]:
            facts = look(storage, from_micros(self._clock.now_us()), self._behind_s)
            # To look takes longer than the rest.
            hazards = self._snapshots.get(
                HAZARDS, lambda: _hazards(storage), kept_s=math.inf
            )
            database = replace(facts.database, hazards=hazards)
            return replace(facts, database=database), {}

        return self._snapshots.get(FACTS, read, kept_s=KEPT_S)
