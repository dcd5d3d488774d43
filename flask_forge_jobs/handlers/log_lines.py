"""Reads the lines that the runs of a job have logged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.jobs import MAX_PAGE_SIZE, require_possible_id
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.run_logs import StoredLine
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.logs import LogPage

DEFAULT_LIMIT = 500
# Of a run and the number of its line.
PLACE_PATTERN = "^([0-9]{1,9})-([0-9]{1,9})$"
_PLACE = re.compile(PLACE_PATTERN)


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines of a job, in the order of its runs and of their lines.

    ``next`` continues after them, also later; None if there is no line yet.
    ``is_all`` says that nothing follows them yet, ``is_complete`` that no more can
    come, unless somebody retries the job.
    """

    lines: Sequence[StoredLine]
    next: str | None
    is_all: bool
    is_complete: bool


def read_lines(
    storage: Storage, job_id: str, *, after: str | None, limit: int
) -> LogLines:
    """Return the lines of a job after a place, which an earlier answer has as ``next``.

    ``limit`` is 1 to 1,000. There may be fewer lines although more follow.
    """
    require_possible_id(job_id)
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    page = storage.logs.page(job_id, *_place(after), limit)
    place = after
    if page.lines:
        run, number = page.lines[-1].place
        place = f"{run}-{number}"
    is_complete = page.is_all and page.status.is_final
    return LogLines(page.lines, place, page.is_all, is_complete)


def last_lines(
    storage: Storage, job_id: str, *, run: int | None, limit: int
) -> LogPage:
    """Return the last lines of a run; None means the newest run that has some.

    ``limit`` is 1 to 1,000. ``is_all`` says that no earlier line of the run is left
    out.
    """
    require_possible_id(job_id)
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    return storage.logs.tail(job_id, run, limit)


def _place(after: str | None) -> tuple[int, int]:
    if after is None:
        return 0, -1
    match = _PLACE.fullmatch(after)
    if match is None:
        raise InvalidInputError("after", "is not the next of an earlier answer")
    return int(match[1]), int(match[2])
