"""Maps rows to models; the only place that knows columns and attributes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, make_dataclass
from typing import Any, TypeVar

from flask_forge_jobs.errors import NotFoundError, StorageCorruptError
from flask_forge_jobs.model.claims import ErrorEntry
from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition
from flask_forge_jobs.model.dedupe_keys import shown_key
from flask_forge_jobs.model.evidence import JobFacts
from flask_forge_jobs.model.instants import (
    KNOWN_INSTANTS,
    SECOND_US,
    from_micros,
    optional_from_micros,
    optional_to_micros,
    to_micros,
)
from flask_forge_jobs.model.jobs import Job, JobStatus, JobSummary
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.workers import (
    QueueSlots,
    ServiceAge,
    Slot,
    Worker,
    WorkerLoad,
)
from flask_forge_jobs.storage.columns import SCHEDULE_DEFINITION
from flask_forge_jobs.storage.database import Parameter, Row, Transaction, encode_names

# Larger than any number of rows and any age.
NO_LIMIT = 2**31 - 1
FOREVER_US = 2**62


M = TypeVar("M")


def _naming_damage(make: Callable[[Row], M]) -> Callable[[Row], M]:
    """Name the job if its row, of which the id comes first, holds no sound values."""

    @functools.wraps(make)
    def wrapper(row: Row) -> M:
        try:
            return make(row)
        except (ValueError, TypeError, OverflowError) as error:
            text = f"the row of job {row[0]} is damaged: {error}"
            raise StorageCorruptError(text) from error

    return wrapper


def place_from_row(at: object, job_id: object) -> tuple[int, str]:
    """Return the place of a job in a listing: an instant in microseconds and the id.

    Raises:
        StorageCorruptError: The index holds something else.
    """
    if not isinstance(at, int):
        raise StorageCorruptError(f"the row of job {job_id} is damaged: no instant")
    return at, str(job_id)


def error_history_from_text(text: str | None) -> tuple[ErrorEntry, ...]:
    """Return the entries of a stored history; a damaged one counts as empty."""
    try:
        entries = json.loads(text or "[]")
        return tuple(
            ErrorEntry(e["at"], e["attempt"], e["message"], e.get("traceback"))
            for e in entries
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def reader_of(
    model: type[M],
    last: str | None = None,
    make: Callable[..., M] | None = None,
    /,
    **decoders: Callable[[Any], object],
) -> Callable[[Row], M]:
    """Return a function from a row to a model: its fields, in their order.

    Those behind ``last`` are not in the row and keep their defaults. ``make`` makes the
    model of all its fields, by place. ``decoders`` are of columns that are stored
    otherwise than as the field.
    """
    columns = fields(model)  # type: ignore[arg-type]  # dataclasses
    names = [each.name for each in columns]
    if last is not None:
        del names[names.index(last) + 1 :]
    places = [(names.index(name), decode) for name, decode in decoders.items()]
    by_name = make is None and any(each.kw_only for each in columns)
    make = make or model

    def read(row: Row) -> M:
        values = [*row]
        for place, decode in places:
            values[place] = decode(values[place])
        if by_name:
            return make(**dict(zip(names, values, strict=True)))
        return make(*values)  # a third faster

    return read


def _draft_of(model: type[M]) -> Callable[..., M]:
    """Return what makes a frozen object in an eighth of the time; all fields by place.

    Its own ``__init__`` passes over what freezes it, field by field.
    """
    names = [each.name for each in fields(model)]  # type: ignore[arg-type]
    draft = make_dataclass("Draft", names, repr=False, eq=False, slots=True)

    def make(*values: object) -> M:
        made: Any = draft(*values)
        made.__class__ = model
        known: M = made
        return known

    return make


_FACTS_DECODED = {each.name for each in fields(JobFacts)} - {"dedupe_key"}
_instant = functools.lru_cache(KNOWN_INSTANTS)(from_micros)
_instant_or_none = functools.lru_cache(KNOWN_INSTANTS)(optional_from_micros)
_OF_SUMMARY: Mapping[str, Callable[[Any], object]] = {
    "status": functools.cache(JobStatus),
    "enqueued_at": _instant,
    "scheduled_at": _instant,
    "started_at": _instant_or_none,
    "completed_at": _instant_or_none,
    "heartbeat_at": _instant_or_none,
    "cancel_requested_at": _instant_or_none,
    "dedupe_key": shown_key,
}
summary_from_row = _naming_damage(
    reader_of(JobSummary, None, _draft_of(JobSummary), **_OF_SUMMARY)
)
"""Return the job of a row of ``get_summaries``."""
job_from_row = _naming_damage(
    reader_of(
        Job,
        error_history=error_history_from_text,
        start_at=optional_from_micros,
        **_OF_SUMMARY,
    )
)
"""Return the job of a row of ``get_job``."""
facts_from_row = _naming_damage(
    reader_of(
        JobFacts,
        admitted_at=optional_from_micros,
        start_at=optional_from_micros,
        **{key: each for key, each in _OF_SUMMARY.items() if key in _FACTS_DECODED},
    )
)
"""Return the job of a row of ``job_facts``; its dedupe key is as stored."""
queue_from_row = reader_of(
    QueueSettings,
    paused=bool,
    backoff_enabled=bool,
    throttled_until=optional_from_micros,
    updated_at=optional_from_micros,
    paused_at=optional_from_micros,
    last_served_at=optional_from_micros,
)
"""Return the settings of a row of ``get_queue`` and its like."""
slot_from_row = reader_of(Slot, started_at=from_micros, heartbeat_at=from_micros)
"""Return the slot of a row of ``all_slots`` or ``slots_of_queue``."""
worker_from_row = reader_of(
    Worker,
    queues=lambda names: tuple(names.split(",")) if names else (),
    heartbeat_at=from_micros,
)
"""Return the worker process of a row of ``all_workers`` or ``live_workers``."""
_definition_from_row = reader_of(ScheduleDefinition, enabled=bool)
_rest_from_row = reader_of(
    Schedule,
    created_at=from_micros,
    updated_at=from_micros,
    last_fired_at=optional_from_micros,
    next_fire_at=optional_from_micros,
)


def schedule_from_row(row: Row) -> Schedule:
    """Return the schedule of a row of ``get_schedule`` and its like."""
    count = len(SCHEDULE_DEFINITION)
    return _rest_from_row((_definition_from_row(row[:count]), *row[count:]))


def schedule_parameters(schedule: Schedule) -> dict[str, Parameter]:
    """Return the parameters of the statements that store a schedule."""
    return {
        **asdict(schedule.definition),
        "next_fire_at": optional_to_micros(schedule.next_fire_at),
        "last_fired_at": optional_to_micros(schedule.last_fired_at),
        "last_error": schedule.last_error,
        "declared_by": schedule.declared_by,
        "declared_as": schedule.declared_as,
        "created_at": to_micros(schedule.created_at),
        "updated_at": to_micros(schedule.updated_at),
    }


def first_row(
    rows: Sequence[Row], missing: Callable[[str], NotFoundError], name: str
) -> Row:
    """Return the first row; without one, raise ``missing`` for the name."""
    if not rows:
        raise missing(name)
    return rows[0]


def within_micros(within_s: float | None) -> int:
    """Return the maximum age of a heartbeat in microseconds; None means any age."""
    return FOREVER_US if within_s is None else int(within_s * SECOND_US)


def service_ages_to_text(services: Iterable[ServiceAge]) -> str | None:
    """Return ages as a heartbeat stores them."""
    ages = {each.name: [round(each.age_s, 3), each.period_s] for each in services}
    return json.dumps(ages) if ages else None


def service_ages_from_text(text: str, since_s: float) -> list[ServiceAge]:
    """Return the service ages stored with a heartbeat ``since_s`` seconds ago."""
    return [
        ServiceAge(name, age_s + since_s, period_s)
        for name, (age_s, period_s) in json.loads(text).items()
    ]


def worker_load_from_rows(worker: Row, slots: Sequence[Row]) -> WorkerLoad:
    """Return the worker of a row of ``worker_ages`` and its ``slots_of_workers``."""
    return WorkerLoad(
        worker=worker_from_row(worker[:-1]),
        slots=[QueueSlots(name, int(count)) for _, name, count, _, _ in slots],
        live_slot_count=sum(int(row[3]) for row in slots),
        in_flight_count=sum(int(row[4]) for row in slots),
        heartbeat_age_s=max(int(worker[-1]), 0) // SECOND_US,
    )


def load_summaries(transaction: Transaction, ids: Sequence[str]) -> list[JobSummary]:
    """Return the summaries of jobs in the order of ``ids``."""
    if not ids:
        return []
    rows = transaction.all("get_summaries", rows=encode_names("job_id", ids))
    jobs = {row[0]: summary_from_row(row) for row in rows}
    return [jobs[job_id] for job_id in ids if job_id in jobs]
