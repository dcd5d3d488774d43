"""BatchReader: batches, their counts and their jobs; writes nothing."""

from __future__ import annotations

from collections.abc import Collection

from flask_forge_jobs.errors import BatchNotFoundError
from flask_forge_jobs.model.batches import Batch, BatchOverview
from flask_forge_jobs.model.instants import MAX_INSTANT_US
from flask_forge_jobs.model.jobs import JobStatus, JobSummary
from flask_forge_jobs.model.ordering import FROM_THE_NEWEST
from flask_forge_jobs.storage.database import Parameter, Query, Transaction, in_queues
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.rows import first_row, load_summaries, summary_from_row
from flask_forge_jobs.storage.ties.batch_counts import batch_from_row

# Jobs that one page of a state looks at.
MAX_WALKED = 1000
# Statements of states whose jobs have an index.
_PAGES: dict[JobStatus | None, str] = {
    None: "first_jobs_of_batch",
    JobStatus.DEAD: "dead_jobs_of_batch",
    JobStatus.IN_PROGRESS: "running_jobs_of_batch",
}

OVERVIEW_QUERY: Query = ("batch_overview", {"end_of_time": MAX_INSTANT_US})
"""What :meth:`BatchReader.overview` reads."""


def chosen(
    status: JobStatus | None, *, may_be_cancelled: bool = False, may_wait: bool = True
) -> dict[str, Parameter]:
    """Return the parameters for jobs of a batch in a state, or in any.

    Args:
        status: The state.
        may_be_cancelled: Only unfinished jobs, without those that have been asked to
            stop and still run.
        may_wait: Also jobs that wait for others, or have died with one.
    """
    return {
        "any_status": status is None and not may_be_cancelled,
        "status": None if status is None else status.value,
        "may_be_cancelled": may_be_cancelled,
        "may_wait": may_wait,
    }


class BatchReader:
    """Reads batches."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database

    def get(self, batch_id: str) -> Batch:
        """Return a batch, with exact counts at any size.

        Raises:
            BatchNotFoundError: No batch has this id.
        """
        rows = self._database.read_all("get_batch", id=batch_id)
        return batch_from_row(first_row(rows, BatchNotFoundError, batch_id))

    def page(
        self,
        limit: int,
        *,
        before: tuple[int, str] = FROM_THE_NEWEST,
        is_open: bool = False,
        queues: Collection[str] | None = None,
    ) -> list[Batch]:
        """Return the newest batches, or those created before another one.

        Their ``data`` is not read: it is ``null``.

        Args:
            limit: Most batches.
            before: Creation of the last one seen, in microseconds, and its id.
            is_open: Only batches that have not ended.
            queues: Only batches whose jobs are all of these queues; None means all.
        """
        rows = self._database.read_all(
            "page_of_batches",
            at=before[0],
            id=before[1],
            is_open=is_open,
            limit=limit,
            **in_queues(queues),
        )
        return list(map(batch_from_row, rows))

    def jobs(
        self,
        batch_id: str,
        *,
        status: JobStatus | None = None,
        after: str = "",
        limit: int = 50,
    ) -> list[JobSummary]:
        """Return jobs of a batch in the order of their ids, from behind ``after``."""

        def work(transaction: Transaction) -> list[JobSummary]:
            rows = transaction.all(
                "jobs_of_batch", id=batch_id, after=after, limit=limit, **chosen(status)
            )
            return load_summaries(transaction, [row[0] for row in rows])

        return self._database.read(work)

    def page_of_jobs(
        self,
        batch_id: str,
        *,
        status: JobStatus | None = None,
        after: str = "",
        limit: int = 50,
    ) -> tuple[list[JobSummary], str | None]:
        """Return jobs of a batch as :meth:`jobs` does, and where the next ones are.

        It looks at 1,000 jobs at most. So a page of jobs in one state may have
        fewer than ``limit``, or none, although there are more.
        """
        name = _PAGES.get(status, "jobs_of_batch_in_state")
        place: dict[str, Parameter] = {"id": batch_id, "after": after}
        if status is None:
            place |= chosen(None)
        if name != "jobs_of_batch_in_state":
            rows = self._database.read_one(name, limit=limit + 1, **place)
            page = [summary_from_row(row) for row in rows[:limit]]
            return page, page[-1].id if len(rows) > limit else None
        place |= chosen(None)
        rows = self._database.read_one(
            name, limit=MAX_WALKED, shown=limit + 1, state=str(status), **place
        )
        page = [summary_from_row(tuple(row[1:])) for row in rows if row[1] is not None]
        if len(page) > limit:
            return page[:limit], page[limit - 1].id
        return page, rows[0][0]

    def within(self, batch_id: str) -> list[str]:
        """Return the ids of the batches that a batch counts."""
        rows = self._database.read_all("batches_within", id=batch_id)
        return [row[0] for row in rows]

    def first_within(self, batch_id: str, limit: int) -> list[Batch]:
        """Return the first batches that a batch counts, in the order of their ids."""
        rows = self._database.read_one("first_batches_within", id=batch_id, limit=limit)
        return list(map(batch_from_row, rows))

    def results(
        self, batch_id: str, *, after: str = "", limit: int = 1000
    ) -> list[tuple[str, str | None]]:
        """Return ids and JSON results of jobs that are done, from behind ``after``."""
        rows = self._database.read_all(
            "results_of_batch",
            id=batch_id,
            after=after,
            limit=limit,
            **chosen(JobStatus.DONE),
        )
        return [(row[0], row[1]) for row in rows]

    def overview(self) -> BatchOverview:
        """Return how many batches are open, and how many jobs wait for others."""
        rows = self._database.read_all(OVERVIEW_QUERY[0], **OVERVIEW_QUERY[1])
        return BatchOverview(*rows[0])
