"""Stores new jobs that wait for others or have a batch.

All parents are locked before the first insert. Whoever ends one of them has either
committed, so that its end is seen here, or waits and then finds the links.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flask_forge_jobs.errors import (
    BatchEndedError,
    BatchNotFoundError,
    InvalidInputError,
    JobNotFoundError,
)
from flask_forge_jobs.model.batches import (
    ANY_QUEUE,
    MAX_NAMED_QUEUES,
    Batch,
    quoted_queues,
)
from flask_forge_jobs.model.instants import MAX_INSTANT_US
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.links import MAX_WAITING, LinkEnd
from flask_forge_jobs.storage.columns import AWAITED, WAITED
from flask_forge_jobs.storage.database import Transaction, encode_names, encode_rows
from flask_forge_jobs.storage.jobs.holders import BULK_ROWS, NewPair
from flask_forge_jobs.storage.ties.batch_counts import (
    BatchCounts,
    add_members,
    batch_from_row,
    batch_query,
)
from flask_forge_jobs.storage.ties.links import LinkEnding
from flask_forge_jobs.storage.ties.settlement import Settled, Settlement

_FEW_LINKS = 100
# Whose counts come with their locks.
_FEW_BATCHES = 20
_ENDED = {JobStatus.DONE.value: LinkEnd.DONE, JobStatus.DEAD.value: LinkEnd.DEAD}


def _replaced(
    after: Sequence[str], instead: Mapping[str, str], job_id: str
) -> tuple[str, ...]:
    """Return parents with the jobs in place of those that were not stored."""
    parents = tuple(sorted({instead.get(each, each) for each in after}))
    if parents[-1] >= job_id:
        raise InvalidInputError("after", "a job can only wait for earlier jobs")
    return parents


def lock_batches(
    transaction: Transaction, batch_ids: Iterable[str], *, alone: bool = False
) -> dict[str, Batch]:
    """Keep batches from ending before the commit; return those that there are.

    With ``alone``, only one transaction at a time gets beyond it.
    """
    ids = sorted(batch_ids)
    if not ids:
        return {}
    name = "lock_batches_alone" if alone else "lock_batches"
    lock = name, {"rows": encode_names("batch_id", ids)}
    reads = [batch_query(batch_id) for batch_id in ids]
    few, others = reads[:_FEW_BATCHES], reads[_FEW_BATCHES:]
    locked, *counts = transaction.all_in_turn(lock, *few)
    counts += [transaction.all(query, **values) for query, values in others]
    known = {row[0] for row in locked}
    return {
        batch_id: batch_from_row(rows[0])
        for batch_id, rows in zip(ids, counts, strict=True)
        if batch_id in known and rows
    }


def require_open(batch_id: str, batch: Batch | None) -> None:
    """Raise an error unless a batch, which is locked, takes jobs."""
    if batch is None:
        raise BatchNotFoundError(batch_id)
    if _is_over(batch) or batch.cancel_requested_at is not None:
        raise BatchEndedError(batch_id)


def note_queues(
    transaction: Transaction, batch: Batch | None, names: frozenset[str]
) -> None:
    """Note queues of jobs that are new to a batch, which is locked."""
    known = frozenset() if batch is None else batch.queues
    if batch is None or names <= known or ANY_QUEUE in known:
        return
    is_few = len(names | known) <= MAX_NAMED_QUEUES
    new = names - known if is_few else {ANY_QUEUE}
    for name in quoted_queues(new):
        transaction.defer("note_batch_queue", id=batch.id, name=name)


def _is_over(batch: Batch) -> bool:
    # Its counts alone may say so before the batch has been settled.
    return batch.completed_at is not None and batch.has_ended


@dataclass(slots=True)
class Tying:
    """The links and batches of the jobs that one transaction adds.

    Args:
        transaction: Stores them.
        pairs: All jobs of the transaction with their ids.
        settlement: Settles what has ended before.
        settled: Takes what that has done.
        batch_id: The batch of all of them, if they have one.
    """

    transaction: Transaction
    pairs: Sequence[NewPair]
    settlement: Settlement
    settled: Settled
    batch_id: str | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    ended: dict[str, LinkEnding] = field(default_factory=dict)
    ending: set[str] = field(default_factory=set)
    awaited: set[str] = field(default_factory=set)
    stored_before: set[str] = field(default_factory=set)
    batches: Mapping[str, Batch] = field(default_factory=dict)

    def begin(self) -> None:
        """Lock parents and batches, and refuse what cannot be stored."""
        transaction = self.transaction
        own = {job_id for _, job_id in self.pairs}
        parents = {each for job, _ in self.pairs for each in job.after}
        if transaction.attempt or any(job.job_id for job, _ in self.pairs):
            # What an earlier commit, whose answer was lost, has stored.
            rows = transaction.all("statuses", rows=encode_names("job_id", own))
            self.stored_before = {row[0] for row in rows}
        self.awaited = awaited = (parents & own) - self.stored_before
        self.kinds = {i: job.kind for job, i in self.pairs if i in awaited}
        for job, job_id in self.pairs:
            if job.after and job.after[-1] >= job_id:
                raise InvalidInputError("after", "a job can only wait for earlier jobs")
        outside = sorted(parents - self.awaited)
        if outside:
            with transaction.brief_waits():
                self._lock_parents(outside)
        self._lock_batches(set(outside) - self.kinds.keys())

    def _lock_parents(self, ids: Sequence[str]) -> None:
        rows = encode_names("job_id", ids)
        for job_id, kind, status in self.transaction.all("lock_parents", rows=rows):
            self.kinds[job_id] = kind
            if status in _ENDED:
                self.ended[job_id] = LinkEnding(_ENDED[status])
            if status != JobStatus.DONE.value:  # dead ones may be retried
                self.ending.add(job_id)

    def _lock_batches(self, parents: set[str]) -> None:
        """Lock the batches that get jobs, and those that jobs wait for."""
        named = {
            self.batch_id or job.batch_id
            for job, job_id in self.pairs
            if job_id not in self.stored_before
        }
        taking = set(filter(None, named))
        # Two that let their batches wait for each other must see one another.
        both = bool(taking and parents)
        self.batches = batches = lock_batches(
            self.transaction, taking | parents, alone=both
        )
        for batch_id in sorted(parents - batches.keys()):
            raise JobNotFoundError(batch_id)
        for batch_id in sorted(taking):
            require_open(batch_id, batches.get(batch_id))
        for batch_id in parents:
            batch = batches[batch_id]
            if _is_over(batch):
                ended = LinkEnd.DEAD if batch.dead else LinkEnd.DONE
                self.ended[batch_id] = LinkEnding(ended, batch.counts_text())

    def _batch_of(self, job: NewJob) -> str | None:
        return self.batch_id or job.batch_id

    def tie(self, pairs: Iterable[NewPair], due_us: Mapping[str, int]) -> None:
        """Tie jobs that were stored by statements that know neither column."""
        rows = [
            {
                "job_id": job_id,
                "batch_id": self._batch_of(job),
                "ties": (WAITED if job.after else 0)
                | (AWAITED if job_id in self.awaited else 0)
                or None,
                "start_at": due_us[job_id] if job.after else None,
            }
            for job, job_id in pairs
            if job.after or self._batch_of(job) or job_id in self.awaited
        ]
        if rows:
            self.transaction.defer(
                "tie_jobs", rows=encode_rows(rows), end_of_time=MAX_INSTANT_US
            )

    def finish(
        self, stored: Sequence[NewPair], results: Sequence[EnqueueResult]
    ) -> None:
        """Store the links and memberships of the jobs that were stored."""
        counts = BatchCounts()
        instead = self._find_instead(results)
        children = [pair for pair in stored if pair[0].after]
        if instead:
            children = [
                (job.with_checked(after=_replaced(job.after, instead, job_id)), job_id)
                for job, job_id in children
            ]
        if children:
            self._link(children)
            parents = {each for job, _ in children for each in job.after}
            ended = {i: e for i, e in self.ended.items() if i in parents}
            if ended:
                self.settlement.release_ended(
                    self.transaction, ended, self.settled, counts
                )
        self._join(stored, counts)
        self._refuse_circles(children)
        self.settlement.count(self.transaction, counts, self.settled)

    def _find_instead(self, results: Sequence[EnqueueResult]) -> dict[str, str]:
        """Return and lock the jobs that hold the keys of jobs that others wait for."""
        instead = {
            job_id: result.id
            for (_, job_id), result in zip(self.pairs, results, strict=True)
            if result.id != job_id and job_id in self.awaited
        }
        outside = sorted(set(instead.values()) - self.kinds.keys())
        if outside:
            with self.transaction.brief_waits():
                self._lock_parents(outside)
        return instead

    def _link(self, children: Sequence[NewPair]) -> None:
        transaction = self.transaction
        links = [
            (job_id, parent_id, self.kinds.get(parent_id), str(job.on_parent_dead))
            for job, job_id in children
            for parent_id in job.after
        ]
        if len(links) > _FEW_LINKS and self.settlement.copies_links:
            transaction.copy_rows("append_links", links)
        else:
            for start in range(0, len(links), BULK_ROWS):
                piece = encode_rows(links[start : start + BULK_ROWS])
                transaction.defer("add_links", links=piece)
        waiting = Counter(parent_id for job, _ in children for parent_id in job.after)
        marked = sorted(self.ending & waiting.keys())
        if marked:
            transaction.defer("mark_parents", rows=encode_names("job_id", marked))
        crowded = [(i, n) for i, n in waiting.items() if n > MAX_WAITING]
        # Nobody else has seen those that are stored by this transaction.
        outside = sorted(waiting.keys() - self.awaited)
        if outside and not crowded:
            names = encode_names("job_id", outside)
            crowded = transaction.all(
                "crowded_parents", rows=names, max_waiting=MAX_WAITING
            )
        for parent_id, count in crowded:
            raise InvalidInputError(
                "after",
                f"{count} jobs would wait for {parent_id}, more than {MAX_WAITING}; "
                "let them wait for a batch",
            )

    def _refuse_circles(self, children: Sequence[NewPair]) -> None:
        """Refuse jobs that their batch waits for, and that wait for it themselves.

        A batch waits for its jobs, and jobs wait for those before them, so that only
        a batch closes a circle. Mostly nobody waits for the batch of a new job.
        """
        tied = {
            batch_id
            for job, _ in children
            if (batch_id := self._batch_of(job))
            and not self.awaited.issuperset(job.after)
        }
        for batch_id in sorted(tied):
            seen: set[str] = set()
            new = {batch_id}
            while new:
                rows = encode_names("id", sorted(new))
                new = {row[0] for row in self.transaction.all("dependents", rows=rows)}
                if batch_id in new:
                    raise InvalidInputError(
                        "after",
                        f"batch {batch_id} would wait for the job, and the job for the "
                        "batch, so that neither could end",
                    )
                new -= seen
                seen |= new

    def _join(self, stored: Sequence[NewPair], counts: BatchCounts) -> None:
        by_batch: dict[str, list[str]] = {}
        queues: dict[str, set[str]] = {}
        if self.batch_id is not None and stored:
            by_batch[self.batch_id] = [job_id for _, job_id in stored]
            queues[self.batch_id] = {job.queue for job, _ in stored}
        elif self.batch_id is None:
            for job, job_id in stored:
                if job.batch_id is not None:
                    by_batch.setdefault(job.batch_id, []).append(job_id)
                    queues.setdefault(job.batch_id, set()).add(job.queue)
        for batch_id, ids in by_batch.items():
            add_members(self.transaction, batch_id, ids)
            counts.add_jobs(batch_id, len(ids))
            self.transaction.defer("note_addition", id=batch_id)
            names = frozenset(queues[batch_id])
            note_queues(self.transaction, self.batches.get(batch_id), names)

    def corrected(self, results: Sequence[EnqueueResult]) -> list[EnqueueResult]:
        """Return results with the state of jobs whose parents had ended before."""
        waiting = {job_id for job, job_id in self.pairs if job.after}
        if not waiting:
            return list(results)
        states: dict[str, tuple[str, int | None]] = dict.fromkeys(
            waiting, (JobStatus.PENDING.value, 0)
        )
        if self.ended or self.stored_before:
            ids = [each.id for each in results if each.id in waiting]
            rows = self.transaction.all("statuses", rows=encode_names("job_id", ids))
            states = {job_id: (status, start) for job_id, status, start in rows}
        return [
            each
            if each.is_deduped or each.id not in states
            else _corrected(each, *states[each.id])
            for each in results
        ]


def _corrected(
    result: EnqueueResult, status: str, start_us: int | None
) -> EnqueueResult:
    waits = status == JobStatus.PENDING.value and start_us is not None
    if waits and result.scheduled_at_us == MAX_INSTANT_US:
        return result
    due_us = MAX_INSTANT_US if waits else result.scheduled_at_us
    return result._replace(status=JobStatus(status), scheduled_at_us=due_us)
