"""A job filter as parameters of the statements that apply it."""

from __future__ import annotations

import string
from datetime import datetime

from flask_forge_jobs.model.dedupe_keys import MARK, end_of_key
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import MAX_INSTANT_US, to_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.payloads import escapes_open, payload_expression
from flask_forge_jobs.storage.database import Parameter, encode_names

_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Conditions:
    """The parameters of the SQL fragment ``matches`` for a filter."""

    def __init__(self, wanted: JobFilter) -> None:
        self._wanted = wanted
        self.from_at = _micros_or(wanted.enqueued_from, 0)
        self.to_at = _micros_or(wanted.enqueued_to, MAX_INSTANT_US)
        self.has_range = bool(wanted.enqueued_from or wanted.enqueued_to)
        self.statuses = _possible_statuses(wanted)

    @property
    def is_plain(self) -> bool:
        """Whether only queue, kind, status and age matter."""
        return self._asks_for_rows_only and not self._wanted.scheduled

    @property
    def scheduled_only(self) -> bool:
        """Whether the filter asks for all scheduled jobs and nothing else."""
        return (
            self._wanted.scheduled
            and not self._wanted.statuses
            and self._asks_for_rows_only
        )

    @property
    def _asks_for_rows_only(self) -> bool:
        wanted = self._wanted
        return wanted.min_attempts == 0 and all(
            condition is None
            for condition in (
                wanted.payload_search,
                wanted.error_search,
                wanted.dedupe_key,
                wanted.slot_id,
                wanted.schedule_name,
                wanted.ending,
            )
        )

    def parameters(self) -> dict[str, Parameter]:
        """Return all parameters of the fragment."""
        wanted = self._wanted
        return {
            "any_queue": wanted.queues is None,
            "queues": encode_names("name", wanted.queues or ()),
            "any_kind": not wanted.kinds,
            "kinds": encode_names("name", wanted.kinds),
            "any_status": not wanted.statuses and not wanted.scheduled,
            "statuses": encode_names("name", wanted.statuses),
            "or_scheduled": wanted.scheduled,
            "any_time": not self.has_range,
            "from_at": self.from_at,
            "to_at": self.to_at,
            "any_payload": wanted.payload_search is None,
            "payload_pattern": escapes_open(_like(wanted.payload_search or "")),
            "payload_expression": payload_expression(wanted.payload_search or " "),
            "any_error": wanted.error_search is None,
            "error_pattern": _like(wanted.error_search or ""),
            "any_key": wanted.dedupe_key is None,
            "dedupe_key": wanted.dedupe_key,
            "key_end": end_of_key(wanted.dedupe_key or ""),
            "own_mark": MARK,
            "any_slot": wanted.slot_id is None,
            "slot_id": wanted.slot_id,
            "any_schedule": wanted.schedule_name is None,
            "schedule_name": wanted.schedule_name,
            "any_attempts": wanted.min_attempts == 0,
            "min_attempts": wanted.min_attempts,
            "any_ending": wanted.ending is None,
            "was_cancelled": wanted.ending is Ending.CANCELLED,
        }

    def of_counts(self) -> dict[str, Parameter]:
        """Return those of the fragment ``wanted_counts``."""
        known = self.parameters()
        names = ("any_queue", "queues", "any_kind", "kinds")
        chosen = {name: known[name] for name in names}
        return chosen | {"statuses": encode_names("name", sorted(self.statuses))}

    def of_combinations(self) -> dict[str, Parameter]:
        """Return them for jobs whose queue, kind and status are known to match."""
        known: dict[str, Parameter] = {"any_queue": True, "any_kind": True}
        if not self._wanted.scheduled:
            known["any_status"] = True
        return self.parameters() | known


def _possible_statuses(wanted: JobFilter) -> frozenset[str]:
    """Return the states that a matching job can have."""
    if not wanted.statuses and not wanted.scheduled:
        statuses = set(JobStatus)
    else:
        statuses = set(wanted.statuses)
    if wanted.scheduled:
        statuses.add(JobStatus.PENDING)
    if wanted.slot_id is not None:
        statuses &= {JobStatus.IN_PROGRESS}  # only a running job has a worker
    if wanted.ending is not None:
        statuses &= {JobStatus.DEAD}
    return frozenset(map(str, statuses))


def _micros_or(instant: datetime | None, default: int) -> int:
    return default if instant is None else to_micros(instant)


def _like(text: str) -> str:
    """Return a LIKE pattern that finds text literally, ignoring ASCII case."""
    literal = text.translate(_TO_LOWER)
    for special in ("\\", "%", "_"):
        literal = literal.replace(special, f"\\{special}")
    return f"%{literal}%"
