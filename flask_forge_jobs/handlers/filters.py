"""Checks the filters of jobs, under the names of each route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import (
    DEDUPE_KEY_LENGTH,
    MAX_ATTEMPTS_RANGE,
    check_integer,
    check_job_id,
    check_text,
    shown,
)
from flask_forge_jobs.model.bulk_runs import API_NAMES
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.instants import MAX_INSTANT_US, NOT_IN_YEARS, to_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.signatures import MAX_SIGNATURE_LENGTH

SEARCH_LENGTH = (2, 256)
# SQLite binds at most 32,766 values in a statement.
MAX_FILTER_VALUES = 1000
MAX_NAME_LENGTH = 255
# Pending jobs that start later.
SCHEDULED = "scheduled"
STATUS_WORDS = (*map(str, JobStatus), SCHEDULED)


@dataclass(frozen=True, slots=True)
class FilterNames:
    """The names of a filter's parts on the wire.

    ``renamed`` holds those that differ from the model's. ``has_indexes`` means an error
    names the list item, as in ``queues[1]``. ``takes_empty_names`` allows an empty name
    in a list; it matches nothing.
    """

    renamed: Mapping[str, str]
    prefix: str = ""
    has_indexes: bool = False
    takes_empty_names: bool = False

    def of(self, attribute: str, index: int | None = None) -> str:
        """Return the name of a part or of one of its items."""
        name = self.prefix + self.renamed.get(attribute, attribute)
        return name if index is None or not self.has_indexes else f"{name}[{index}]"


IN_BODY = FilterNames(API_NAMES, prefix="filter.", has_indexes=True)
IN_LISTING = replace(IN_BODY, takes_empty_names=True)
IN_QUERY = FilterNames(
    {
        **API_NAMES,
        "queues": "queue",
        "kinds": "kind",
        "statuses": "status",
        "payload_search": "q",
    }
)


def searches_texts(job_filter: JobFilter) -> bool:
    """Return whether matching needs to read the jobs, because no index covers it."""
    texts = (job_filter.payload_search, job_filter.error_search)
    return any(text is not None and text.strip() for text in texts)


def checked_filter(job_filter: JobFilter, names: FilterNames) -> JobFilter:
    """Return a filter with checked values; errors have the route's names.

    States may be plain text, ``scheduled`` too. Blanks around a search are dropped; a
    blank search is no filter.
    """
    for attribute in ("queues", "kinds"):
        _check_names(getattr(job_filter, attribute) or (), attribute, names)
    statuses, scheduled = _checked_statuses(job_filter, names)
    _check_window(job_filter, names)
    for attribute, longest in (
        ("dedupe_key", DEDUPE_KEY_LENGTH),
        ("slot_id", MAX_NAME_LENGTH),
        ("schedule_name", MAX_NAME_LENGTH),
        ("signature", MAX_SIGNATURE_LENGTH),
    ):
        value = getattr(job_filter, attribute)
        if value is not None:
            check_text(names.of(attribute), value, longest)
    if job_filter.min_attempts:
        maximum = MAX_ATTEMPTS_RANGE[1]
        check_integer(names.of("min_attempts"), job_filter.min_attempts, 0, maximum)
    if job_filter.batch_id is not None:
        check_job_id(job_filter.batch_id, names.of("batch_id"))
    ending = job_filter.ending
    if ending is not None:
        ending = Ending.parse(ending, names.of("ending"))
    return replace(
        job_filter,
        ending=ending,
        queues=None
        if job_filter.queues is None
        else tuple(dict.fromkeys(job_filter.queues)),
        kinds=tuple(dict.fromkeys(job_filter.kinds)),
        statuses=statuses,
        scheduled=scheduled,
        payload_search=_checked_search(job_filter, "payload_search", names),
        error_search=_checked_search(job_filter, "error_search", names),
    )


def _check_names(values: Sequence[str], attribute: str, names: FilterNames) -> None:
    if len(values) > MAX_FILTER_VALUES:
        raise InvalidInputError(
            names.of(attribute), f"has more than {MAX_FILTER_VALUES} names"
        )
    for index, value in enumerate(values):
        if value or not names.takes_empty_names:
            check_text(names.of(attribute, index), value, MAX_NAME_LENGTH)


def _checked_statuses(
    job_filter: JobFilter, names: FilterNames
) -> tuple[tuple[JobStatus, ...], bool]:
    statuses: dict[JobStatus, None] = {}
    scheduled = job_filter.scheduled
    for word in map(str, job_filter.statuses):
        if word == SCHEDULED:
            scheduled = True
        elif word in STATUS_WORDS:
            statuses[JobStatus(word)] = None
        else:
            raise InvalidInputError(
                names.of("statuses"),
                f"{shown(word)} is not one of {', '.join(STATUS_WORDS)}",
            )
    # Scheduled jobs are pending ones.
    return tuple(statuses), scheduled and JobStatus.PENDING not in statuses


def _check_window(job_filter: JobFilter, names: FilterNames) -> None:
    start, end = job_filter.enqueued_from, job_filter.enqueued_to
    for attribute, instant in (("enqueued_from", start), ("enqueued_to", end)):
        if instant is None:
            continue
        if instant.utcoffset() is None:
            raise InvalidInputError(names.of(attribute), "has no time zone")
        if not 0 <= to_micros(instant) <= MAX_INSTANT_US:
            raise InvalidInputError(names.of(attribute), NOT_IN_YEARS)
    if start is not None and end is not None and start > end:
        name, other = names.of("enqueued_from"), names.of("enqueued_to")
        raise InvalidInputError(name, f"lies after {other}")


def _checked_search(
    job_filter: JobFilter, attribute: str, names: FilterNames
) -> str | None:
    text: str | None = getattr(job_filter, attribute)
    trimmed = text.strip() if text is not None else ""
    if not trimmed:
        return None
    shortest, longest = SEARCH_LENGTH
    check_text(names.of(attribute), trimmed, longest)
    if len(trimmed) < shortest:
        raise InvalidInputError(
            names.of(attribute), f"must have {shortest} to {longest} characters"
        )
    return trimmed
