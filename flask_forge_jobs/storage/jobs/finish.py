"""Writes the ends of runs, with the outcomes from their worker.

One statement writes every outcome whose job the caller still owns. The rest is checked
again: a user asked the job to stop, an earlier commit stored the outcome and its answer
was lost, or another worker owns the job by now, so that the outcome is refused.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from itertools import compress, filterfalse
from operator import attrgetter, itemgetter, not_
from typing import Any

from flask_forge_jobs.model.claims import LONGEST_SLEEP_S, append_error
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import FINAL, JobStatus
from flask_forge_jobs.model.masking import Mask
from flask_forge_jobs.model.queues import (
    COOLDOWN_DECAY_GRACE_S,
    QueueSettings,
    throttle_delay_s,
)
from flask_forge_jobs.model.run_end import (
    CANCELLED_MESSAGE,
    JobUpdate,
    cancelled_message,
)
from flask_forge_jobs.storage.columns import WAITED
from flask_forge_jobs.storage.database import (
    Parameter,
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.jobs.attempts import ended_attempts, store_attempts
from flask_forge_jobs.storage.jobs.failures import failures_of, store_failures
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs.logs import append_lines
from flask_forge_jobs.storage.jobs.steps import save_checkpoints
from flask_forge_jobs.storage.limits import release_waiters
from flask_forge_jobs.storage.rows import queue_from_row
from flask_forge_jobs.storage.ties.settlement import EnqueuedKinds
from flask_forge_jobs.storage.ties.turns import Fate, Turn, turns_of

# Read for every outcome, so without a function of our own.
_JOB_ID, _IS_CANCELLED = attrgetter("job.id"), attrgetter("is_cancelled")
_SPAN, _SIGNATURE = attrgetter("span"), attrgetter("signature")
_FIRST = itemgetter(0)
# Nobody waits for such a job, so that it may be done without more ado.
_ONLY_WAITED = (WAITED, str(WAITED))
# Of most runs: all ends of this sort differ in nothing but the id.
_FACTS = attrgetter("status", "result", "result_error", "job.claim")
_PLAIN = (JobStatus.DONE, None, None, 1)
_FATES = {JobStatus.DONE: Fate.DONE, JobStatus.DEAD: Fate.DEAD}


class RunFinisher:
    """Writes a worker's outcomes in one transaction, stamped ``at_us`` in the history.

    ``mask`` masks secrets in every text of an outcome but the result. ``followed``
    collects queue and kind of the follow-up jobs that it stores, ``turns`` the ends
    that are to be settled.
    """

    def __init__(
        self,
        transaction: Transaction,
        worker_id: str,
        at_us: int,
        follow_ups: FollowUpStore,
        mask: Mask,
    ) -> None:
        self._mask = mask
        self.has_short_statement = False
        """Whether the database has a shorter statement for plain outcomes."""
        self.turns: Sequence[Turn] = ()
        self._transaction = transaction
        self._worker_id = worker_id
        self._at_us = at_us
        self._follow_ups = follow_ups
        self.followed: EnqueuedKinds = ()

    def write(self, updates: Sequence[JobUpdate]) -> list[str]:
        """Write how runs ended; return the refused ids."""
        # All transactions lock in the order of ids, so that none deadlock.
        updates = sorted(updates, key=_JOB_ID)
        throttled = self._plan_cooldowns(updates)
        self._lock_first(updates)
        # Those that a user has cancelled need the reason, which the row has.
        plain = list(filterfalse(_IS_CANCELLED, updates))
        finished: AbstractSet[str] = self._finish(plain) if plain else set()
        missing: list[JobUpdate] = []
        stored: set[str] = set()
        if len(finished) < len(updates):
            missing = [each for each in updates if each.job.id not in finished]
            cancelled, stored = self._finish_rest(missing)
            finished = finished | cancelled
        if any(map(_SPAN, updates)):
            ended = ended_attempts(updates, finished, self._worker_id)
            store_attempts(self._transaction, ended)
        if any(map(_SIGNATURE, updates)):
            store_failures(self._transaction, failures_of(updates, finished))
        self._follow(updates, finished)
        if stored:  # by an earlier commit, with their follow-ups
            finished = finished | stored
        self._open_cooldowns(each for each in throttled if each[0].job.id in finished)
        freed, returning, reporting = [], set(), []
        for each in updates:
            if each.concurrency_key and each.job.id in finished:
                freed.append(each.concurrency_key)
            if each.status not in FINAL and _is_due_soon(each) and each.job.queue_name:
                returning.add(each.job.queue_name)  # any worker may run it then
            if (each.logged or each.saved) and each.job.id in finished:
                reporting.append(each)
        if reporting:
            self._store_reports(reporting)
        if freed:
            release_waiters(self._transaction, freed)
        for queue_name in sorted(returning):
            self._transaction.wake(queue_name)
        if not missing:
            return []
        return [each.job.id for each in missing if each.job.id not in finished]

    def _store_reports(self, updates: Sequence[JobUpdate]) -> None:
        """Store what these runs have logged and saved; most have done neither."""
        append_lines(self._transaction, (e.logged for e in updates if e.logged))
        save_checkpoints(self._transaction, (e.saved for e in updates if e.saved))

    def _finish(self, updates: Sequence[JobUpdate]) -> AbstractSet[str]:
        worker_id, rest = self._worker_id, updates
        ended: list[Any] = []
        if self.has_short_statement:
            is_plain = list(map(_PLAIN.__eq__, map(_FACTS, updates)))
            plain = list(compress(map(_JOB_ID, updates), is_plain))
            if plain:
                ids = json.dumps(plain)
                ended = self._transaction.all(
                    "finish_done", worker_id=worker_id, ids=ids
                )
                rest = list(compress(updates, map(not_, is_plain)))
        if rest:
            to_row = partial(_finish_row, at_us=self._at_us, mask=self._mask)
            rows = encode_rows(map(to_row, rest))
            ended += self._transaction.all("finish", worker_id=worker_id, rows=rows)
        ties: dict[str, str | int | None] = dict(ended)
        if any(ties.values()):
            self.turns = [
                _turn(tie, each)
                for each in updates
                if each.status in FINAL
                and (tie := ties.get(each.job.id)) is not None
                and (tie not in _ONLY_WAITED or each.status is not JobStatus.DONE)
            ]
        return ties.keys()

    def _lock_first(self, updates: Sequence[JobUpdate]) -> None:
        """Lock all jobs if one has a dedupe key.

        An enqueue of the key waits for a transaction that has written to the job, so
        that one must not wait for another job, which a retry may hold that itself
        waits for the enqueue.
        """
        if len(updates) > 1 and any(each.job.has_key for each in updates):
            ids = (each.job.id for each in updates)
            self._transaction.defer("lock_jobs", rows=encode_names("job_id", ids))

    def _plan_cooldowns(
        self, updates: Sequence[JobUpdate]
    ) -> list[tuple[JobUpdate, float]]:
        """Raise the delay of throttled jobs to their queue's curve, in queue order.

        A success may shorten the cool-down that remains.
        """
        throttled: dict[str, list[JobUpdate]] = {}
        done = set()
        for each in updates:
            if each.cool_down_s is not None:
                throttled.setdefault(each.job.queue_name, []).append(each)
            if each.status is JobStatus.DONE:
                done.add(each.job.queue_name)
        planned = []
        for name in sorted(done | throttled.keys()):
            if name in throttled:
                rows = self._transaction.all("lock_cooling_queue", name=name)
                queue = _before_window(rows[0]) if rows else QueueSettings(name)
                for update in throttled[name]:
                    delay_s = throttle_delay_s(queue, update.cool_down_s or 0.0)
                    update.delay_s = delay_s
                    planned.append((update, delay_s))
            if name in done:
                self._transaction.defer(
                    "decay_cooldown",
                    name=name,
                    grace_us=COOLDOWN_DECAY_GRACE_S * SECOND_US,
                )
        return planned

    def _open_cooldowns(self, throttled: Iterable[tuple[JobUpdate, float]]) -> None:
        for update, delay_s in throttled:
            self._transaction.run(
                "open_cooldown",
                name=update.job.queue_name,
                delay_us=_to_us(delay_s),
                job_id=update.job.id,
                kind=update.job.kind,
                cause=None if update.is_cancelled else update.error,
            )

    def _follow(self, updates: Sequence[JobUpdate], finished: Container[str]) -> None:
        jobs = []
        for each in updates:
            if each.follow_ups and each.job.id in finished:
                job = each.follow_up()
                if job is not None:
                    jobs.append(job)
        if jobs:
            self.followed = self._follow_ups.store(self._transaction, jobs)

    def _finish_rest(self, missing: Sequence[JobUpdate]) -> tuple[set[str], set[str]]:
        """Handle refused outcomes; return the ids of cancelled and of stored jobs."""
        is_again = self._transaction.attempt > 0
        tried = [each for each in missing if is_again or each.was_tried]
        stopped = [e for e in missing if e.is_cancelled or e.status not in FINAL]
        cancelled = self._finish_cancelled(stopped) if stopped else set()
        return cancelled, self._stored_before(tried) if tried else set()

    def _finish_cancelled(self, updates: Sequence[JobUpdate]) -> set[str]:
        """End the jobs that a user has cancelled, with the reason given."""
        asked = self._transaction.all(
            "lock_cancelled",
            worker_id=self._worker_id,
            rows=encode_rows(
                {
                    "job_id": each.job.id,
                    "run": each.job.claim,
                    "knows": int(each.is_cancelled),
                }
                for each in updates
            ),
        )
        if not asked:
            return set()
        messages = {job_id: cancelled_message(reason) for job_id, reason in asked}
        rows: list[dict[str, Parameter]] = [
            {
                "job_id": each.job.id,
                "error": messages[each.job.id],
                "history": append_error(each.job, messages[each.job.id], self._at_us),
            }
            for each in updates
            if each.job.id in messages
        ]
        ended = self._transaction.all("finish_cancelled", rows=encode_rows(rows))
        self.turns = [*self.turns, *turns_of(ended, Fate.DEAD)]
        cancelled = set(map(_FIRST, ended))
        for each in updates:
            if each.job.id in cancelled:
                each.cancel(messages[each.job.id])
        return cancelled

    def _stored_before(self, tried: Sequence[JobUpdate]) -> set[str]:
        """Return the ids that an earlier commit, whose answer was lost, has stored."""
        rows: list[dict[str, Parameter]] = []
        for each in tried:
            rows.append(_stored_row(each, each.status, each.error))
            if each.status not in FINAL:  # or was stored as cancelled
                rows.append(_stored_row(each, JobStatus.DEAD, CANCELLED_MESSAGE))
        stored = self._transaction.all(
            "stored_before", worker_id=self._worker_id, rows=encode_rows(rows)
        )
        return set(map(_FIRST, stored))


def _before_window(row: Row) -> QueueSettings:
    """Return a queue as it was before the throttle that opened its window.

    What is throttled later within the window must not take the next, longer delay.
    """
    is_open, *columns = row
    queue = queue_from_row(tuple(columns))
    return replace(queue, throttle_attempts=queue.throttle_attempts - bool(is_open))


def _turn(tie: str | int | None, update: JobUpdate) -> Turn:
    """Return the turn of a job that has ended, from its batch and ties as one text."""
    batch_id, _, ties = str(tie).rpartition(" ")
    return Turn(update.job.id, batch_id or None, int(ties), _FATES[update.status])


def _is_due_soon(update: JobUpdate) -> bool:
    return not update.delay_s or update.delay_s < LONGEST_SLEEP_S


def _to_us(seconds: float) -> int:
    return int(seconds * SECOND_US)


def _stored_row(
    update: JobUpdate, status: JobStatus, error: str | None
) -> dict[str, Parameter]:
    return {
        "job_id": update.job.id,
        "run": update.job.claim,
        "new_status": status.value,
        "error": error,
    }


def _finish_row(update: JobUpdate, at_us: int, mask: Mask) -> dict[str, Any]:
    """Return an outcome as a row; from here on, its error and traceback are masked.

    A job that is done has no ``rest``, which the database therefore need not read.
    """
    job = update.job
    row: dict[str, Any] = {
        "job_id": job.id,
        "run": job.claim,
        "new_status": update.status.value,
    }
    if update.result is not None:
        row["new_result"] = update.result
    if update.status is not JobStatus.DONE or update.result_error is not None:
        row["rest"] = _rest(update, at_us, mask)
    return row


def _rest(update: JobUpdate, at_us: int, mask: Mask) -> dict[str, Parameter]:
    job, error = update.job, update.error
    rest: dict[str, Parameter] = {
        "uncount": int(update.uncount),
        "throttled": int(update.is_throttle and update.is_counted),
    }
    if update.delay_s is not None:
        rest["delay_us"] = _to_us(update.delay_s)
    if update.result_error is not None:
        rest["result_error"] = mask(update.result_error)
    if error is not None:
        # Kept, because a follow-up quotes it and a repeat looks for it.
        rest["error"] = error = update.error = mask(error)
        if update.traceback is not None:
            update.traceback = mask(update.traceback)
        if not update.is_throttle:  # there may be many, and they are no failures
            rest["history"] = append_error(job, error, at_us, update.traceback)
        if update.signature is not None and update.is_failure:
            rest["new_signature"] = update.signature
    return rest
