"""Queues: read, register, change, delete, pause many, clean up; their slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.errors import (
    InvalidInputError,
    QueueNotFoundError,
    StaleSettingsError,
)
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.model.bounds import (
    check_integer,
    check_queue_name,
    check_text,
    shown,
)
from flask_forge_jobs.model.outcomes import MAX_REASON_LENGTH
from flask_forge_jobs.model.queues import (
    COOLDOWN_SECONDS_RANGE,
    NO_NOTE,
    ChangeNote,
    CleanupReport,
    QueueChanges,
    QueueDeletion,
    QueueOverview,
    QueueSettings,
)
from flask_forge_jobs.model.workers import LIVE_WITHIN_S, Slot
from flask_forge_jobs.storage.base import OVERVIEW_QUERY, Storage

QUEUE_ACTIONS = ("cool_down", "end_cooldown", "pause", "resume")
MAX_NAMED_QUEUES = 1000
MAX_LISTED_SLOTS = 5000


def overview(storage: Storage, *, only_live: bool = False) -> Sequence[QueueOverview]:
    """Return every registered queue, by name, from one statement.

    The same object is returned until something changes. ``only_live`` leaves out slots
    whose worker has been silent for 60 s.
    """
    within_s = LIVE_WITHIN_S if only_live else None
    return storage.job_reader.snapshot(within_s).overview


def get_queue(storage: Storage, queue_name: str) -> QueueOverview:
    """Return one registered queue, as :func:`overview` does."""
    require_possible_name(queue_name)
    for queue in overview(storage):
        if queue.settings.name == queue_name:
            return queue
    raise QueueNotFoundError(queue_name)


def create(
    storage: Storage, name: str, changes: QueueChanges, note: ChangeNote = NO_NOTE
) -> QueueOverview:
    """Register a queue; ``changes`` are settings other than the defaults.

    ``note`` is kept if the queue is paused.

    Raises:
        QueueExistsError: The name is taken.
    """
    _check_note(note)
    storage.expect(OVERVIEW_QUERY)
    storage.queues.create(QueueSettings(name, **changes), note)
    return get_queue(storage, name)


def change(
    storage: Storage,
    name: str,
    changes: QueueChanges,
    is_expected: Callable[[QueueSettings], bool] | None = None,
    note: ChangeNote = NO_NOTE,
) -> None:
    """Change some settings of a queue, all or none.

    ``is_expected`` is asked about the current settings first; None expects any. A
    pause keeps the ``note``.

    Raises:
        StaleSettingsError: The current settings are not the expected ones.
    """
    require_possible_name(name)
    _check_note(note)
    storage.queues.change(name, changes, is_expected, note)


def changed(
    storage: Storage,
    name: str,
    changes: QueueChanges,
    is_expected: Callable[[QueueSettings], bool] | None = None,
    note: ChangeNote = NO_NOTE,
) -> QueueOverview:
    """Change a queue as :func:`change` does, and return it."""
    storage.expect(OVERVIEW_QUERY)
    change(storage, name, changes, is_expected, note)
    return get_queue(storage, name)


def delete(
    storage: Storage,
    name: str,
    *,
    force: bool = False,
    limits: BulkLimits | None = None,
) -> QueueDeletion:
    """Unregister a queue; its finished jobs stay.

    ``force`` deletes its waiting jobs and requests the running ones to stop, within
    ``limits``; None means the default limits.

    Raises:
        QueueNotEmptyError: It has unfinished jobs, and ``force`` is not set or the
            limits were reached.
    """
    require_possible_name(name)
    if force:
        limits = limits or BulkLimits()
        return storage.queues.delete_with_jobs(
            name, max_rows=limits.max_rows, is_over=limits.deadline()
        )
    storage.queues.delete(name)
    return QueueDeletion()


def act(
    storage: Storage,
    action: str,
    queues: Sequence[str] | None = None,
    *,
    seconds: int | None = None,
    note: ChangeNote = NO_NOTE,
    ends: datetime | None = None,
    now: datetime | None = None,
) -> int:
    """Pause or resume queues, or begin or end their cool-downs, all or none.

    Args:
        storage: The stores.
        action: One of ``QUEUE_ACTIONS``.
        queues: At most 1,000; None means all.
        seconds: Length of a cool-down, 1 to 86,400; for ``cool_down`` only.
        note: Kept with a pause or a cool-down.
        ends: The ``paused_at`` or ``throttled_until`` that ``resume`` or
            ``end_cooldown`` of one queue ends; None means any.
        now: The present, from which on another cool-down is over; None means that none
            is.

    Returns:
        How many queues changed.

    Raises:
        InvalidInputError: The action is unknown, or an argument out of bounds.
        QueueNotFoundError: One of the names is unknown; nothing was changed.
        StaleSettingsError: Another pause or cool-down has begun since.
    """
    _check_action(action, queues, seconds, ends)
    _check_note(note)
    changes = storage.queues
    if action == "cool_down":
        return changes.cool_down(queues, float(seconds or 0), note)
    if action == "end_cooldown":
        changed = changes.clear_cooldowns(queues, ends)
    else:
        changed = changes.set_paused_many(
            queues, paused=action == "pause", note=note, began_at=ends
        )
    if ends is not None and not changed:
        queue = changes.get((queues or ())[0])
        until = queue.throttled_until
        cools = until is not None and (now is None or until > now)
        if queue.paused if action == "resume" else cools:
            raise StaleSettingsError("the queue has been changed since")
    return changed


def _check_action(
    action: str,
    queues: Sequence[str] | None,
    seconds: int | None,
    ends: datetime | None,
) -> None:
    if action not in QUEUE_ACTIONS:
        words = ", ".join(QUEUE_ACTIONS)
        raise InvalidInputError("action", f"{shown(action)} is not one of {words}")
    if queues is not None and len(queues) > MAX_NAMED_QUEUES:
        raise InvalidInputError(
            "queues", f"has {len(queues)} entries; at most {MAX_NAMED_QUEUES}"
        )
    for name in queues or ():
        require_possible_name(name)
    if action == "cool_down":
        check_integer("seconds", seconds, *COOLDOWN_SECONDS_RANGE)
    elif seconds is not None:
        raise InvalidInputError("seconds", f"is for cool_down, not for {action}")
    is_of_one = action in ("resume", "end_cooldown") and len(queues or ()) == 1
    if ends is not None and not is_of_one:
        raise InvalidInputError("ends", "is for resume and end_cooldown of one queue")


def cleanup(
    storage: Storage,
    *,
    queue_name: str | None = None,
    dry_run: bool | None = None,
    limits: BulkLimits | None = None,
) -> CleanupReport:
    """Delete the finished jobs whose retention is over, of one queue or of all.

    ``dry_run`` only counts them; None as ``limits`` means the default limits.

    Raises:
        AlreadyRunningError: Another cleanup is running.
    """
    if queue_name is not None:
        require_possible_name(queue_name)
    if dry_run:
        return storage.retention.expired(queue_name)
    limits = limits or BulkLimits()
    return storage.retention.sweep(
        queue_name, max_rows=limits.max_rows, is_over=limits.deadline()
    )


@dataclass(frozen=True, slots=True)
class SlotList:
    """The first slots, and how many there are in all."""

    slots: Sequence[Slot] = ()
    total: int = 0


def list_slots(storage: Storage, queue_name: str | None = None) -> SlotList:
    """Return at most 5,000 slots of one queue or of all; an invalid name has no slots.

    Slots of a dead worker stay until the reaper removes them.
    """
    if queue_name is not None:
        try:
            check_queue_name(queue_name)
        except InvalidInputError:
            return SlotList()
    slots = storage.workers.slots(queue_name, limit=MAX_LISTED_SLOTS)
    is_whole = len(slots) < MAX_LISTED_SLOTS
    total = len(slots) if is_whole else storage.workers.count_slots(queue_name)
    return SlotList(slots, total)


def _check_note(note: ChangeNote) -> None:
    if note.reason:
        check_text("reason", note.reason, MAX_REASON_LENGTH)


def require_possible_name(queue_name: str) -> None:
    """Refuse text that cannot be a queue's name as a queue that does not exist."""
    # A NUL is a driver error on one backend and an unknown queue on the other.
    try:
        check_queue_name(queue_name)
    except InvalidInputError as error:
        raise QueueNotFoundError(queue_name) from error
