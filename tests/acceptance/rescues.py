"""Which runs were rescued, and from which dead worker.

The database knows whose run it was. A look at it right after a kill does not: a claim
that the worker had sent before may be stored later, on a busy machine by seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.acceptance.ledger import FinalRow, Kill, Run


@dataclass(frozen=True, slots=True)
class Rescue:
    """A run that was taken from a worker, at a time in monotonic nanoseconds."""

    run: Run
    worker_id: str
    at_ns: int


def rescues(rows: Iterable[FinalRow]) -> Iterator[Rescue]:
    """Yield the rescues of jobs whose attempts are stored."""
    for row in rows:
        owners = {
            each.attempt: each.worker_id
            for each in row.stored_attempts
            if each.ending == "crashed"
        }
        for failure in row.failures:
            worker_id = owners.get(failure.attempt)
            if failure.is_reaped and worker_id is not None:
                run = row.job_id, failure.attempt
                yield Rescue(run, worker_id, failure.at_ns)


def with_late_claims(kills: Sequence[Kill], rows: Iterable[FinalRow]) -> list[Kill]:
    """Return the kills, each with all runs that were rescued after it.

    A rescue before the death has another reason, and a stall is left as it is: its
    worker beats again.
    """
    died_at = deaths(kills)
    lost: defaultdict[str | None, set[Run]] = defaultdict(set)
    for each in rescues(rows):
        if each.at_ns >= died_at.get(each.worker_id, each.at_ns + 1):
            lost[each.worker_id].add(each.run)
    return [
        kill if kill.is_stall else replace(kill, held=kill.held | lost[kill.worker_id])
        for kill in kills
    ]


def deaths(kills: Iterable[Kill]) -> dict[str, int]:
    """Return when workers were killed, in monotonic nanoseconds, by their id."""
    return {
        kill.worker_id: kill.at_ns
        for kill in kills
        if kill.worker_id is not None and not kill.is_stall
    }
