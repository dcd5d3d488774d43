"""Ends plain runs and claims new jobs in one message of PostgreSQL.

Most runs end as done and leave nothing else to store. The function ``forge_exchange``
writes these and claims in one round trip. It returns the ids of the outcomes that it
did not store, and claims nothing then: the usual way decides about those. It counts the
jobs of batches and frees the jobs that waited for others, as the usual way does. Claims
may begin at a place; see :mod:`.claim_places`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from operator import attrgetter, countOf
from types import MappingProxyType
from typing import Any

from flask_forge_jobs.model.claims import ClaimBatch, ClaimedJob, in_claim_order
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import COOLDOWN_DECAY_GRACE_S
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.database import Parameter, Row, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.claim_places import ClaimPlaces
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
_NOWHERE: Mapping[str, tuple[int, int]] = MappingProxyType({})
_NO_PAGES: Mapping[str, int] = MappingProxyType({})
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
        places: ClaimPlaces | None = None,
    ) -> tuple[ClaimBatch | None, Sequence[JobUpdate], AbstractSet[str]]:
        """Write outcomes and claim in one message, if all of them are plain.

        Returns:
            The claimed jobs; None if nothing could be claimed. The outcomes that are
            still to be written, before anything is claimed. And the batches whose
            changes are to be folded.
        """
        if updates and not self._may_run(updates):
            return None, updates, _NONE
        begun = _NOWHERE if places is None else places.known(demand)
        if updates or promote or len(demand) != 1:
            message = partial(_exchange, **_texts(updates, demand, begun))
            rows, is_again = self._database.pipeline(
                partial(message, worker_id=worker_id, promotes=promote)
            )
        else:
            rows, is_again = self._claim_alone(worker_id, demand, begun), False
        noted, pages = _NONE, _NO_PAGES
        # They come first, those of several queues with their jobs.
        if rows and (rows[0][1] == "" or len(demand) > 1):
            noted, pages = self._heed([row for row in rows if row[1] == ""])
            rows = [row for row in rows if row[1] != ""]
        if not rows or rows[0][1] is not None:
            claimed, look_in_s = _in_order_of(demand, rows), None
            if places is not None:
                places.learn(pages, claimed)
                look_in_s = places.look_in_s(begun, demand, claimed)
            batch = ClaimBatch(claimed=claimed, noted=noted, look_in_s=look_in_s)
            return batch, (), noted
        held_back = {row[0] for row in rows}
        left = [each for each in updates if each.job.id in held_back]
        if is_again:
            for each in left:  # an answer that was lost may have taken them
                each.was_tried = True
        return None, left, noted

    def _claim_alone(
        self,
        worker_id: str,
        demand: Mapping[str, int],
        places: Mapping[str, tuple[int, int]],
    ) -> list[Row]:
        """Claim for an idle worker."""
        ((queue_name, limit),) = demand.items()
        priority, moment = places.get(queue_name, (None, None))
        return self._database.execute(
            "claim_alone",
            queue_name=queue_name,
            worker_id=worker_id,
            limit=limit,
            priority=priority,
            moment=moment,
        )

    def _heed(self, notes: Iterable[Row]) -> tuple[AbstractSet[str], Mapping[str, int]]:
        """Wake own workers for freed jobs.

        Returns:
            The batches to fold, and the pages that claims of queues have read.
        """
        noted: set[str] = set()
        pages: dict[str, int] = {}
        for name, _, sort, _, _, number, *_ in notes:
            if sort == "queue":
                self._database.wake(name)
            elif sort == "place":
                pages[name] = number
            else:
                noted.add(name)
        return noted, pages

    def _may_run(self, updates: Sequence[JobUpdate]) -> bool:
        if self._ends.answers(updates, ()):
            return False
        return countOf(map(_FACTS, updates), _PLAIN) == len(updates)


def _exchange(
    transaction: Transaction, **parameters: Parameter
) -> tuple[list[Row], bool]:
    """Run the statement; return its rows, and whether it is a repetition."""
    return transaction.all("exchange", **parameters), transaction.attempt > 0


def _texts(
    updates: Sequence[JobUpdate],
    demand: Mapping[str, int],
    places: Mapping[str, tuple[int, int]],
) -> dict[str, Any]:
    """Return the outcomes, and what to claim from where, as arrays."""
    # All transactions lock in the order of ids, so that none deadlock.
    updates = sorted(updates, key=_JOB_ID)
    results = list(map(_RESULT, updates))
    pairs = [places.get(name, ("NULL", "NULL")) for name in demand] if places else ()
    return {
        "grace_us": COOLDOWN_DECAY_GRACE_S * SECOND_US,
        "done_queues": _array(set(map(_QUEUE, updates))),
        "job_ids": _array(map(_JOB_ID, updates)),
        "runs": _numbers(map(_RUN, updates)),
        "results": _array(results) if any(results) else "{}",
        "from_queues": _array(demand),
        "limits": _numbers(demand.values()),
        "priorities": _numbers(priority for priority, _ in pairs),
        "moments": _numbers(moment for _, moment in pairs),
    }


def _numbers(values: Iterable[object]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _in_order_of(demand: Mapping[str, int], rows: Iterable[Row]) -> list[ClaimedJob]:
    claimed = in_claim_order(rows)
    if len(demand) > 1:
        places = {name: place for place, name in enumerate(demand)}
        claimed.sort(key=lambda job: places[job.queue_name])
    return claimed


def _array(values: Iterable[str | None]) -> str:
    """Return an array as text: the server parses one constant faster than many."""
    return "{" + ",".join(["NULL" if v is None else _quoted(v) for v in values]) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
