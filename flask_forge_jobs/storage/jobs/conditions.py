"""A job filter as parameters of the statements that apply it."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from flask_forge_jobs.model.dedupe_keys import MARK, end_of_key
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import MAX_INSTANT_US, to_micros
from flask_forge_jobs.model.jobs import UNSUCCESSFUL, JobFilter, JobStatus
from flask_forge_jobs.model.payloads import escapes_open, payload_expression
from flask_forge_jobs.storage.database import Parameter, Query, encode_names, in_queues

_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class OwnIndex(NamedTuple):
    """The statements for a condition whose index leads to the jobs."""

    page: str
    total: str
    by_status: str


class Conditions:
    """The parameters of the SQL fragment ``matches`` for a filter."""

    def __init__(self, job_filter: JobFilter) -> None:
        self._job_filter = job_filter
        self.from_at = _micros_or(job_filter.enqueued_from, 0)
        self.to_at = _micros_or(job_filter.enqueued_to, MAX_INSTANT_US)
        self.has_range = bool(job_filter.enqueued_from or job_filter.enqueued_to)
        self.statuses = _possible_statuses(job_filter)

    @property
    def is_plain(self) -> bool:
        """Whether only queue, kind, status and age matter."""
        return self._asks_for_rows_only and not self._job_filter.scheduled

    @property
    def scheduled_only(self) -> bool:
        """Whether the filter means all scheduled jobs and no others."""
        return (
            self._job_filter.scheduled
            and not self._job_filter.statuses
            and self._asks_for_rows_only
        )

    @property
    def failed_only(self) -> bool:
        """Whether the filter means failed jobs and no others."""
        return self.is_plain and self.statuses == {JobStatus.FAILED}

    @property
    def are_maintained(self) -> bool:
        """Whether maintained counts by queue, kind and status have all that matters."""
        return not self.has_range and (self.is_plain or self.scheduled_only)

    @property
    def are_selective(self) -> bool:
        """Whether an index on queue, status and time would read many jobs in vain."""
        is_plain = self.is_plain or self.scheduled_only
        return bool(self._job_filter.kinds) or self.has_range or not is_plain

    @property
    def own_index(self) -> OwnIndex | None:
        """The statements of the first condition with an index; None without one."""
        job_filter = self._job_filter
        if job_filter.dedupe_key is not None:
            return OwnIndex("listed_key", "count_key", "counts_key")
        if job_filter.schedule_name is not None:
            return OwnIndex("listed_schedule", "count_schedule", "counts_schedule")
        if job_filter.signature is not None:
            return OwnIndex("listed_signature", "count_signature", "counts_signature")
        if job_filter.batch_id is not None:
            return OwnIndex("listed_batch", "count_batch", "counts_batch")
        if job_filter.is_waiting:
            return OwnIndex("listed_waiting", "count_waiting", "counts_waiting")
        return None

    @property
    def _asks_for_rows_only(self) -> bool:
        job_filter = self._job_filter
        is_one_of_all = job_filter.min_attempts == 0 and not job_filter.is_waiting
        return is_one_of_all and all(
            condition is None
            for condition in (
                job_filter.payload_search,
                job_filter.error_search,
                job_filter.dedupe_key,
                job_filter.slot_id,
                job_filter.schedule_name,
                job_filter.ending,
                job_filter.signature,
                job_filter.batch_id,
            )
        )

    @property
    def total_query(self) -> Query | None:
        """The one query that counts all matching jobs; None without one."""
        if self.is_plain and not self.has_range:
            return "count_plain", self.of_counts()
        if self.scheduled_only and not self.has_range:
            return "count_all_scheduled", self.of_counts()
        job_filter = self._job_filter
        plain = Conditions(replace(job_filter, signature=None))
        if job_filter.signature is not None and plain.is_plain and not self.has_range:
            return "count_failed", {
                **self.parameters(),
                "with_failed": JobStatus.FAILED in self.statuses,
                "with_dead": JobStatus.DEAD in self.statuses,
            }
        own = self.own_index
        return None if own is None else (own.total, self.parameters())

    def parameters(self) -> dict[str, Parameter]:
        """Return all parameters of the fragment."""
        return dict(self._parameters)

    @cached_property
    def _parameters(self) -> dict[str, Parameter]:
        job_filter = self._job_filter
        return {
            **in_queues(job_filter.queues),
            "any_kind": not job_filter.kinds,
            "kinds": encode_names("name", job_filter.kinds),
            "any_status": not job_filter.statuses and not job_filter.scheduled,
            "statuses": encode_names("name", job_filter.statuses),
            "or_scheduled": job_filter.scheduled,
            "any_time": not self.has_range,
            "from_at": self.from_at,
            "to_at": self.to_at,
            "any_payload": job_filter.payload_search is None,
            "payload_pattern": escapes_open(_like(job_filter.payload_search or "")),
            "payload_expression": payload_expression(job_filter.payload_search or " "),
            "any_error": job_filter.error_search is None,
            "error_pattern": _like(job_filter.error_search or ""),
            "any_key": job_filter.dedupe_key is None,
            "dedupe_key": job_filter.dedupe_key,
            "key_end": end_of_key(job_filter.dedupe_key or ""),
            "own_mark": MARK,
            "any_slot": job_filter.slot_id is None,
            "slot_id": job_filter.slot_id,
            "any_schedule": job_filter.schedule_name is None,
            "schedule_name": job_filter.schedule_name,
            "any_attempts": job_filter.min_attempts == 0,
            "min_attempts": job_filter.min_attempts,
            "any_ending": job_filter.ending is None,
            "was_cancelled": job_filter.ending is Ending.CANCELLED,
            "any_signature": job_filter.signature is None,
            "signature": job_filter.signature,
            "any_batch": job_filter.batch_id is None,
            "batch_id": job_filter.batch_id,
            "only_waiting": job_filter.is_waiting,
            "end_of_time": MAX_INSTANT_US,
        }

    def of_counts(self) -> dict[str, Parameter]:
        """Return those of the fragment ``filtered_counts``."""
        known = self._parameters
        names = ("any_queue", "queues", "any_kind", "kinds")
        chosen = {name: known[name] for name in names}
        any_state = len(self.statuses) == len(JobStatus)
        states = () if any_state else sorted(self.statuses)
        statuses = encode_names("name", states)
        return chosen | {"any_state": any_state, "statuses": statuses}

    def of_together(self) -> dict[str, Parameter]:
        """Return those of the fragment ``kind_and_age``."""
        known = self._parameters
        names = ("any_kind", "kinds", "any_time", "from_at", "to_at")
        return {name: known[name] for name in names}

    def of_combinations(self) -> dict[str, Parameter]:
        """Return them for jobs whose queue, kind and status are known to match."""
        known: dict[str, Parameter] = {"any_queue": True, "any_kind": True}
        if not self._job_filter.scheduled:
            known["any_status"] = True
        return self.parameters() | known


def _possible_statuses(job_filter: JobFilter) -> frozenset[str]:
    """Return the states that a matching job can have."""
    if not job_filter.statuses and not job_filter.scheduled:
        statuses = set(JobStatus)
    else:
        statuses = set(job_filter.statuses)
    if job_filter.scheduled:
        statuses.add(JobStatus.PENDING)
    if job_filter.slot_id is not None:
        statuses &= {JobStatus.IN_PROGRESS}  # only a running job has a worker
    if job_filter.ending is not None:
        statuses &= {JobStatus.DEAD}
    if job_filter.is_waiting:
        statuses &= {JobStatus.PENDING}
    if job_filter.signature is not None:
        statuses &= set(UNSUCCESSFUL)
    return frozenset(map(str, statuses))


def _micros_or(instant: datetime | None, default: int) -> int:
    return default if instant is None else to_micros(instant)


def _like(text: str) -> str:
    """Return a LIKE pattern that finds text literally, ignoring ASCII case."""
    literal = text.translate(_TO_LOWER)
    for special in ("\\", "%", "_"):
        literal = literal.replace(special, f"\\{special}")
    return f"%{literal}%"
