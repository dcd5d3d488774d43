"""StatusListing: counts the jobs that match a filter, by state.

It counts what :mod:`~flask_forge_jobs.storage.jobs.listing` adds up for a total, at the
same cost.
"""

from __future__ import annotations

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.ordering import StatusCounts
from flask_forge_jobs.storage.database import Parameter, encode_rows
from flask_forge_jobs.storage.jobs.listing import Listing
from flask_forge_jobs.storage.jobs.streams import OF_COMBINATION

# No index has both the age and the start of a job. With more scheduled ones, those
# within a range of ages are not counted.
MAX_SCHEDULED = 5000
_STATUSES = frozenset(map(str, JobStatus))


class StatusListing(Listing):
    """One filter in one snapshot, whose jobs are counted by state."""

    def counts(self) -> StatusCounts:
        """Return the exact number of matching jobs in each state."""
        conditions = self._conditions
        if conditions.are_maintained:
            return self._maintained()
        if not conditions.has_own_index and not self._counts:
            return StatusCounts()
        if conditions.is_plain:
            return self._within_range()
        name, parameters = self._statement()
        return StatusCounts(*map(int, self._transaction.all(name, **parameters)[0]))

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

    def _within_range(self) -> StatusCounts:
        queues: dict[str, int] = {}
        for name, _, status, deferred, jobs in self._all_counts:
            if deferred and status == JobStatus.PENDING:
                queues[name] = queues.get(name, 0) + int(jobs)
        later: int | None = 0
        if queues and JobStatus.PENDING in self._conditions.statuses:
            are_many = sum(queues.values()) > MAX_SCHEDULED
            later = None if are_many else self._of_queues("count_scheduled", queues)
        return _counts(self._counts_in_range(), later)

    def _of_queues(self, name: str, queues: dict[str, int]) -> int:
        parameters = self._conditions.parameters()
        parameters["rows"] = encode_rows({"of_queue": queue} for queue in queues)
        return self._counted(name, parameters)

    def _statement(self) -> tuple[str, dict[str, Parameter]]:
        job_filter, conditions = self._job_filter, self._conditions
        if job_filter.dedupe_key is not None:
            return "counts_key", conditions.parameters()
        if job_filter.schedule_name is not None:
            return "counts_schedule", conditions.parameters()
        if job_filter.signature is not None:
            return "counts_signature", conditions.parameters()
        if self._are_few:
            rows = self._rows(OF_COMBINATION)
            return "counts_few", conditions.of_combinations() | {"rows": rows}
        return "counts_all", conditions.parameters()


def _counts(by_status: dict[str, int], scheduled: int | None) -> StatusCounts:
    """Return counts without states that only a newer package knows."""
    known = {status: by_status[status] for status in by_status if status in _STATUSES}
    return StatusCounts(scheduled=scheduled, **known)
