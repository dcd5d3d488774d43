"""StatusListing: counts the jobs that match a filter, by state.

It counts what :mod:`~flask_forge_jobs.storage.jobs.listing` adds up for a total, at the
same cost, or stops at a bound.
"""

from __future__ import annotations

from dataclasses import replace

from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.ordering import StatusCounts
from flask_forge_jobs.storage.database import Parameter, encode_rows
from flask_forge_jobs.storage.jobs.listing import Listing
from flask_forge_jobs.storage.jobs.streams import OF_COMBINATION

# No index has both the age and the start of a job. With more scheduled ones, those
# within a range of ages are not counted.
MAX_SCHEDULED = 5000
# More jobs than there can be.
_NO_END = 2**62
_STATUSES = frozenset(map(str, JobStatus))


class StatusListing(Listing):
    """One filter in one snapshot, whose jobs are counted by state."""

    def counts(self, max_jobs: int | None = None) -> StatusCounts:
        """Return the number of matching jobs in each state.

        Counting stops behind ``max_jobs`` jobs, unless maintained counts know the
        number. Where an index tells that there are more, no state is counted.
        """
        conditions = self._conditions
        if conditions.are_maintained:
            return self._maintained()
        if conditions.is_plain:
            return self._within_range(max_jobs)
        if conditions.own_index is None and not self._counts:
            return StatusCounts()
        if max_jobs is not None and self._has_made_more(max_jobs):
            return StatusCounts(bound=max_jobs)
        name, parameters = self._statement()
        rows = self._transaction.all(name, end=_end(max_jobs), **parameters)
        return _bounded(StatusCounts(*map(int, rows[0])), max_jobs)

    def _has_made_more(self, max_jobs: int) -> bool:
        """Return whether all jobs of a schedule are asked for, and there are more."""
        name, end = self._job_filter.schedule_name, _end(max_jobs)
        if name is None or self._job_filter != JobFilter(schedule_name=name):
            return False
        parameters: dict[str, Parameter] = {"schedule_name": name, "end": end}
        return self._counted("first_of_schedule", parameters) == end

    def _maintained(self) -> StatusCounts:
        """Add up the maintained counts; a deferred job that is due is not scheduled."""
        conditions = self._conditions
        rows = self._transaction.all("counts_plain", **conditions.of_counts())
        counts: dict[str, int] = {}
        later = 0
        for _, status, deferred, jobs, overdue in rows:
            counts[status] = counts.get(status, 0) + int(jobs)
            if deferred and status == JobStatus.PENDING:
                later += int(jobs) - overdue
        if conditions.scheduled_only:
            return StatusCounts(pending=later, scheduled=later)
        return _counts(counts, later)

    def _within_range(self, max_jobs: int | None) -> StatusCounts:
        if max_jobs is None:
            if not self._counts:
                return StatusCounts()
            return _counts(self._counts_in_range(), self._scheduled_in_range())
        rows = self._transaction.all(
            "counts_inside",
            **(self._conditions.of_counts() | self._conditions.of_together()),
            max_scheduled=MAX_SCHEDULED,
            end=_end(max_jobs),
        )
        by_status = {status: int(jobs) for status, jobs, _ in rows}
        scheduled = rows[0][2] if JobStatus.PENDING in by_status else 0
        counts = _bounded(_counts(by_status, scheduled), max_jobs)
        return counts if counts.bound is None else replace(counts, scheduled=None)

    def _scheduled_in_range(self) -> int | None:
        """Return how many of the jobs start later; None if these are very many."""
        queues: dict[str, int] = {}
        for name, _, status, deferred, jobs in self._all_counts:
            if deferred and status == JobStatus.PENDING:
                queues[name] = queues.get(name, 0) + int(jobs)
        if not queues or JobStatus.PENDING not in self._conditions.statuses:
            return 0
        if sum(queues.values()) > MAX_SCHEDULED:
            return None
        parameters = self._conditions.parameters()
        parameters["rows"] = encode_rows({"of_queue": queue} for queue in queues)
        return self._counted("count_scheduled", parameters)

    def _statement(self) -> tuple[str, dict[str, Parameter]]:
        conditions = self._conditions
        if conditions.own_index is not None:
            return conditions.own_index.by_status, conditions.parameters()
        if self._are_few:
            rows = self._rows(OF_COMBINATION)
            return "counts_few", conditions.of_combinations() | {"rows": rows}
        return "counts_all", conditions.parameters()


def _end(max_jobs: int | None) -> int:
    """Return how many jobs to count: one more shows that there are more."""
    return _NO_END if max_jobs is None else max_jobs + 1


def _bounded(counts: StatusCounts, max_jobs: int | None) -> StatusCounts:
    return counts if counts.total < _end(max_jobs) else replace(counts, bound=max_jobs)


def _counts(by_status: dict[str, int], scheduled: int | None) -> StatusCounts:
    """Return counts without states that only a newer package knows."""
    known = {status: by_status[status] for status in by_status if status in _STATUSES}
    return StatusCounts(scheduled=scheduled, **known)
