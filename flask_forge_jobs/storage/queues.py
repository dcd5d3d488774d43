"""QueueConfig: the settings of each queue.

A change needs a registered queue and refuses values out of bounds; nothing is clamped
silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from flask_forge_jobs.errors import (
    InvalidInputError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    StaleSettingsError,
)
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.instants import SECOND_US, optional_to_micros
from flask_forge_jobs.model.masking import KNOWN, Masking
from flask_forge_jobs.model.outcomes import clip
from flask_forge_jobs.model.queues import (
    DEFAULT_MAX_QUEUES,
    DEFAULT_MAX_WORKERS,
    NO_NOTE,
    ChangeNote,
    QueueChanges,
    QueueDeletion,
    QueueSettings,
    check_max_workers,
    check_settings,
    one_too_many,
)
from flask_forge_jobs.storage.database import (
    Parameter,
    Query,
    Row,
    Transaction,
    encode_names,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.pace import BATCH, Pace
from flask_forge_jobs.storage.rows import first_row, queue_from_row
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement
from flask_forge_jobs.storage.ties.turns import deleted_turns

# The columns that a caller chooses.
_STORED = ("name", *QueueChanges.__annotations__)
_CURVE = frozenset({"backoff_base_seconds", "backoff_max_seconds"})

ALL_QUERY: Query = ("all_queues", {})
"""What :meth:`QueueConfig.all` reads."""


class QueueConfig:
    """Reads and changes the settings of queues."""

    def __init__(
        self,
        database: StoreExecutor,
        pace: Pace,
        settlement: Settlement,
        max_queues: int = DEFAULT_MAX_QUEUES,
        masking: Masking = KNOWN,
    ) -> None:
        self._settlement = settlement
        self._database = database
        self._pace = pace
        self._max_queues = max_queues
        self._masking = masking

    def ensure(self, name: str, max_workers: int = DEFAULT_MAX_WORKERS) -> bool:
        """Register a queue if it is new; an existing one keeps its settings.

        Args:
            name: As of :func:`.check_queue_name`.
            max_workers: Total over all workers, 0 to 1024; for a new queue only.

        Returns:
            Whether the queue is new.

        Raises:
            InvalidInputError: Name or total is out of bounds, or there would be more
                queues than allowed.
        """
        check_queue_name(name)
        check_max_workers(max_workers)
        rows = self._database.execute(
            "ensure_queue",
            name=name,
            max_workers=max_workers,
            max_queues=self._max_queues,
        )
        if not rows and not self._exists(name):
            raise one_too_many(name, self._max_queues)
        return bool(rows)

    def get(self, name: str) -> QueueSettings:
        """Return the settings of one queue.

        Raises:
            QueueNotFoundError: No queue has this name.
        """
        rows = self._database.read_all("get_queue", name=name)
        return queue_from_row(first_row(rows, QueueNotFoundError, name))

    def all(self) -> list[QueueSettings]:
        """Return the settings of every queue, by name."""
        rows = self._database.read_all(ALL_QUERY[0])
        return [queue_from_row(row) for row in rows]

    def waiting(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many jobs wait in each queue, also for a time or a retry.

        An unknown queue has none.
        """

        def work(tx: Transaction) -> dict[str, int]:
            return {n: int(tx.all("waiting_of_queue", name=n)[0][0]) for n in names}

        return self._database.read(work)

    def require(self, names: Sequence[str]) -> None:
        """Check that queues are registered.

        Raises:
            QueueNotFoundError: One of the names is unknown.
        """
        rows = encode_names("name", names)
        _require(
            names, self._database.read(lambda tx: tx.all("known_queues", rows=rows))
        )

    def create(self, settings: QueueSettings, note: ChangeNote = NO_NOTE) -> None:
        """Register a queue with its settings; ``note`` is kept if it is paused.

        Raises:
            InvalidInputError: A value is out of bounds, or there would be more queues
                than allowed.
            QueueExistsError: The name is taken.
        """
        check_settings(settings)
        rows = self._database.sole(
            "create_queue",
            of=settings.name,
            max_queues=self._max_queues,
            **_parameters(settings),
            **self._noted(note),
        )
        if rows:
            return
        if self._exists(settings.name):
            raise QueueExistsError(settings.name)
        raise one_too_many(settings.name, self._max_queues, "name")

    def change(
        self,
        name: str,
        changes: QueueChanges,
        is_expected: Callable[[QueueSettings], bool] | None = None,
        note: ChangeNote = NO_NOTE,
    ) -> QueueSettings:
        """Change some settings of a queue, all or none, and return the result.

        Args:
            name: The queue.
            changes: The new values; the others stay.
            is_expected: Checks the current settings before the change; None accepts
                any.
            note: Kept if this pauses the queue; its secrets are masked.

        Raises:
            QueueNotFoundError: No queue has this name.
            StaleSettingsError: The current settings are not the expected ones.
            InvalidInputError: A value is out of bounds.
        """

        def work(transaction: Transaction) -> QueueSettings:
            rows = transaction.all("lock_queue", name=name)
            before = queue_from_row(first_row(rows, QueueNotFoundError, name))
            after = replace(before, **changes)
            # Invalid values come first, whatever is expected (RFC 9110, 13.2.1).
            check_settings(after)
            if is_expected is not None and not is_expected(before):
                raise StaleSettingsError(f"the settings of queue {name!r} have changed")
            if after != before:
                transaction.defer("change_queue", **_parameters(after), **noted)
            return after

        noted = self._noted(note)
        if is_expected is None and (changed := self._changed(name, changes, noted)):
            return changed
        return self._database.write(work)

    def _changed(
        self, name: str, changes: QueueChanges, noted: dict[str, Parameter]
    ) -> QueueSettings | None:
        """Make a change without a look at the settings; None if that is needed."""
        if len(changes.keys() & _CURVE) == 1:
            return None
        try:
            check_settings(replace(QueueSettings(name), **changes))
        except InvalidInputError:
            return None  # an unknown queue is the first error
        values: dict[str, Parameter] = dict.fromkeys(_STORED) | dict(changes)
        values |= {"name": name, "keeps_bound": "max_pending" not in changes}
        rows = self._database.sole("change_some_settings", of=name, **values, **noted)
        return queue_from_row(rows[0]) if rows else None

    def set_paused_many(
        self,
        names: Sequence[str] | None,
        *,
        paused: bool,
        note: ChangeNote = NO_NOTE,
        began_at: datetime | None = None,
    ) -> int:
        """Pause or resume queues, all or none; return how many changed.

        ``names`` of None selects all queues. A pause keeps the ``note``. With
        ``began_at`` it ends only pauses that began then.

        Raises:
            QueueNotFoundError: One of the names is unknown; nothing was changed.
        """
        values = {"began_at_us": optional_to_micros(began_at), **self._noted(note)}
        return self._change_many("set_paused_many", names, paused=paused, **values)

    def cool_down(
        self, names: Sequence[str] | None, seconds: float, note: ChangeNote = NO_NOTE
    ) -> int:
        """Let queues give out no jobs for some seconds, all or none.

        ``names`` of None selects all queues. A cool-down that is open is replaced.
        Returns the number of queues.

        Raises:
            QueueNotFoundError: One of the names is unknown; nothing was changed.
        """
        delay_us = int(seconds * SECOND_US)
        noted = self._noted(note)
        return self._change_many("cool_down", names, delay_us=delay_us, **noted)

    def _change_many(
        self, name: str, names: Sequence[str] | None, **values: Parameter
    ) -> int:
        rows = encode_names("name", names or ())
        values |= {"any_queue": names is None, "rows": rows}
        values["number"] = len({*(names or ())})
        if changed := self._database.sole(name, of=None, **values):
            return len(changed)

        def work(transaction: Transaction) -> int:
            _require(names or (), transaction.all("known_queues", rows=rows))
            return len(transaction.all(name, **values))

        return self._database.write(work)

    def clear_cooldowns(
        self, names: Sequence[str] | None, until: datetime | None = None
    ) -> int:
        """End cool-downs at once and reset their exponents, all or none.

        Names of None mean all queues; with ``until``, only cool-downs until then end.
        Returns how many had a cool-down or exponent.

        Raises:
            QueueNotFoundError: One of the names is unknown; nothing was changed.
        """
        rows: dict[str, Parameter] = {"rows": encode_names("name", names or ())}
        only = {"any_queue": names is None, "until_us": optional_to_micros(until)}

        def work(transaction: Transaction) -> int:
            # What an unknown name has begun is rolled back.
            known, cleared = transaction.all_in_turn(
                ("known_queues", rows), ("clear_cooldowns", {**rows, **only})
            )
            _require(names or (), known)
            for (name,) in cleared:
                transaction.wake(name)
            return len(cleared)

        return self._database.write(work)

    def delete(self, name: str) -> None:
        """Unregister a queue without unfinished jobs; finished ones stay.

        It also deletes a rate limit of the same name, unless that is in use.

        Raises:
            QueueNotFoundError: No queue has this name.
            QueueNotEmptyError: It still holds unfinished jobs.
        """

        def work(transaction: Transaction) -> None:
            # The queue is locked first, as everywhere.
            locked, unfinished = transaction.all_in_turn(
                ("lock_queue", {"name": name}), ("unfinished_of_queue", {"name": name})
            )
            if jobs := int(unfinished[0][0]):
                raise QueueNotEmptyError(name, jobs)
            if not locked:
                raise QueueNotFoundError(name)
            transaction.defer("delete_unused_rate_limit", scope=name)
            transaction.defer("delete_queue", name=name)

        self._database.write_batch(work, lambda _: 1)

    def delete_with_jobs(
        self,
        name: str,
        *,
        max_rows: int | None = None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> QueueDeletion:
        """Unregister a queue, delete its waiting jobs and ask running ones to stop.

        Waiting jobs go in batches with a commit between; finished jobs stay.

        Args:
            name: The queue.
            max_rows: Delete at most this many; None means all.
            is_over: Returns whether to stop; called before each batch.

        Returns:
            How many jobs were deleted, and how many were asked to stop.

        Raises:
            QueueNotFoundError: No queue has this name.
            QueueNotEmptyError: It stopped early; the queue is still registered.
        """
        self.get(name)
        report = QueueDeletion()
        is_last = False
        while not is_last:
            room = BATCH if max_rows is None else min(BATCH, max_rows - report.deleted)
            if room <= 0 or is_over():
                waiting = self.waiting([name])[name]
                if waiting:
                    raise QueueNotEmptyError(name, waiting)
                room = BATCH  # nothing is left but the queue
            # Deleting the queue counts as one more change.
            settled = Settled()
            deleted, asked, is_last = self._database.write_batch(
                partial(self._drain, name, room, settled),
                lambda done: done[0] + done[1] + done[2],
                self._pace,
            )
            self._settlement.after_commit(settled)
            report = QueueDeletion(
                deleted=report.deleted + deleted,
                cancel_requested=report.cancel_requested + asked,
            )
        return report

    def _drain(
        self, name: str, limit: int, settled: Settled, transaction: Transaction
    ) -> tuple[int, int, bool]:
        """Delete one batch of waiting jobs; without any, the queue."""
        settled.clear()
        # Lock the queue before its jobs, as everywhere.
        transaction.defer("lock_queue", name=name)
        gone = transaction.all("delete_due", queue_name=name, limit=limit)
        if not gone:
            gone = transaction.all("delete_deferred", queue_name=name, limit=limit)
        if gone:
            # Running jobs are asked to stop once no others are locked.
            self._settlement.settle(transaction, deleted_turns(gone), settled)
            return len(gone), 0, False
        asked = transaction.all("cancel_running", queue_name=name)
        transaction.defer("delete_unused_rate_limit", scope=name)
        transaction.defer("delete_queue", name=name)
        return 0, len(asked), True

    def _noted(self, note: ChangeNote) -> dict[str, Parameter]:
        reason = note.reason or None
        if reason is not None:
            reason = clip(self._masking.text(reason))
        return {"author": note.by, "reason": reason}

    def _exists(self, name: str) -> bool:
        return bool(self._database.read_all("get_queue", name=name))


def _parameters(settings: QueueSettings) -> dict[str, Parameter]:
    return {name: getattr(settings, name) for name in _STORED}


def _require(names: Sequence[str], rows_of_known: Sequence[Row]) -> None:
    known = {name for (name,) in rows_of_known}
    for name in names:
        if name not in known:
            raise QueueNotFoundError(name)
