"""Ends plain runs and claims new jobs in one message of PostgreSQL.

Most runs end as done and leave nothing else to store. The function ``forge_exchange``
writes these and claims in one round trip. It returns the ids of the outcomes that it
did not store, and claims nothing then: the usual way decides about those. It counts the
jobs of batches and frees the jobs that waited for others, as the usual way does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import takewhile
from operator import attrgetter, countOf

from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import COOLDOWN_DECAY_GRACE_S
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.database import Parameter, Row, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.ends import JobEnds

# Read for every outcome, so without a function of our own.
_JOB_ID, _RUN = attrgetter("job.id"), attrgetter("job.claim")
_RESULT, _QUEUE = attrgetter("result"), attrgetter("job.queue_name")
_FACTS = attrgetter(
    "status",
    "job.has_key",
    "concurrency_key",
    "was_tried",
    "span",
    "result_error",
    "logged",
    "saved",
)
_NONE: AbstractSet[str] = frozenset()
_PLAIN = (JobStatus.DONE, False, None, False, None, None, None, None)


class PlainExchange:
    """The hot path of PostgreSQL."""

    def __init__(self, database: StoreExecutor, ends: JobEnds) -> None:
        self._database = database
        self._ends = ends

    def run(
        self,
        worker_id: str,
        updates: Sequence[JobUpdate],
        demand: Mapping[str, int],
        promote: bool,  # noqa: FBT001  # as JobQueue.exchange has it
    ) -> tuple[list[ClaimedJob] | None, Sequence[JobUpdate], AbstractSet[str]]:
        """Write outcomes and claim in one message, if all of them are plain.

        Returns:
            The claimed jobs in order; None if nothing was claimed. The outcomes that
            are still to be written, before anything is claimed. And the batches whose
            changes are to be folded.
        """
        if updates and not self._may_run(updates):
            return None, updates, _NONE
        # All transactions lock in the order of ids, so that none deadlock.
        updates = sorted(updates, key=_JOB_ID)
        results = list(map(_RESULT, updates))
        rows, is_again = self._database.pipeline(
            partial(
                _exchange,
                worker_id=worker_id,
                grace_us=COOLDOWN_DECAY_GRACE_S * SECOND_US,
                done_queues=_array(set(map(_QUEUE, updates))),
                job_ids=_array(map(_JOB_ID, updates)),
                runs="{" + ",".join(map(str, map(_RUN, updates))) + "}",
                results=_array(results) if any(results) else "{}",
                from_queues=_array(demand),
                limits="{" + ",".join(map(str, demand.values())) + "}",
                promotes=promote,
            )
        )
        noted = _NONE
        if rows and rows[0][1] == "":
            notes = list(takewhile(_is_note, rows))
            noted, rows = self._heed(notes), rows[len(notes) :]
        if not rows or rows[0][1] is not None:
            return _in_order_of(demand, rows), (), noted
        held_back = {row[0] for row in rows}
        left = [each for each in updates if each.job.id in held_back]
        if is_again:
            for each in left:  # an answer that was lost may have taken them
                each.was_tried = True
        return None, left, noted

    def _heed(self, notes: Iterable[Row]) -> AbstractSet[str]:
        """Wake own workers for freed jobs; return the batches to fold."""
        noted = set()
        for name, _, sort, *_ in notes:
            if sort == "queue":
                self._database.wake(name)
            else:
                noted.add(name)
        return noted

    def _may_run(self, updates: Sequence[JobUpdate]) -> bool:
        if self._ends.answers(updates, ()):
            return False
        return countOf(map(_FACTS, updates), _PLAIN) == len(updates)


def _is_note(row: Row) -> bool:
    return bool(row[1] == "")


def _exchange(
    transaction: Transaction, **parameters: Parameter
) -> tuple[list[Row], bool]:
    """Run the statement; return its rows, and whether it is a repetition."""
    return transaction.all("exchange", **parameters), transaction.attempt > 0


def _in_order_of(demand: Mapping[str, int], rows: Iterable[Row]) -> list[ClaimedJob]:
    claimed = in_claim_order(rows)
    if len(demand) > 1:
        places = {name: place for place, name in enumerate(demand)}
        claimed.sort(key=lambda job: places[job.queue_name])
    return claimed


def in_claim_order(rows: Iterable[Row]) -> list[ClaimedJob]:
    """Return claimed jobs in order; ``RETURNING`` promises none."""
    jobs = list(map(ClaimedJob._make, rows))
    if len(jobs) > 1:
        jobs.sort(key=lambda job: (job.priority, job.scheduled_at_us, job.id))
    return jobs


def _array(values: Iterable[str | None]) -> str:
    """Return an array as text: the server parses one constant faster than many."""
    return "{" + ",".join(["NULL" if v is None else _quoted(v) for v in values]) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
