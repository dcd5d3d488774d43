"""Links: what a job's end means for the jobs that wait for it.

Jobs are locked in the order of their ids, which ascend from parent to child.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from flask_forge_jobs.model.claims import append_entry
from flask_forge_jobs.model.instants import MAX_INSTANT_US
from flask_forge_jobs.model.links import LinkEnd
from flask_forge_jobs.storage.database import (
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.ties.turns import Fate, Turn, turns_of


class LinkEnding(NamedTuple):
    """How a parent ended; ``result`` is that of a batch, which has no row of a job."""

    ended: LinkEnd
    result: str | None = None


_DONE = LinkEnding(LinkEnd.DONE)


class Child(NamedTuple):
    """A row of ``waiting_children``; ``parent_queue`` is of the dead parent."""

    id: str
    queue_name: str
    kind: str
    batch_id: str | None
    ties: int
    attempts: int
    error_history: str | None
    is_open: bool
    dead_parent: str | None
    parent_queue: str | None


def release(
    transaction: Transaction, ended: Mapping[str, LinkEnding], at_us: int
) -> list[Child]:
    """Free the jobs that waited for the given parents alone; return those that died."""
    if all(each == _DONE for each in ended.values()):
        _release_from_done(transaction, ended)
        return []
    rows = encode_rows(
        {"parent_id": parent_id, "ended": each.ended.value, "result": each.result}
        for parent_id, each in ended.items()
    )
    transaction.defer("end_links", rows=rows)
    failed = [key for key, each in ended.items() if each.ended is not LinkEnd.DONE]
    if failed:
        transaction.defer("note_holds", rows=encode_names("parent_id", failed))
    children = [*map(Child._make, transaction.all("waiting_children", rows=rows))]
    dying = [each for each in children if each.dead_parent is not None]
    if dying:
        _end(transaction, dying, ended, at_us)
    freed = [e for e in children if e.dead_parent is None and not e.is_open]
    if freed:
        names = encode_names("job_id", [each.id for each in freed])
        transaction.defer("free_children", rows=names)
        for queue_name in sorted({each.queue_name for each in freed}):
            transaction.wake(queue_name)
    return dying


def _release_from_done(transaction: Transaction, parents: Iterable[str]) -> None:
    """Free the jobs that waited for these alone: none dies with a job that is done."""
    # Texts alone: SQLite takes a third of a microsecond for each object.
    ids = encode_rows(parents)
    transaction.defer("end_done_links", parents=ids)
    freed = transaction.all("free_done_children", parents=ids)
    for queue_name in sorted({row[0] for row in freed}):
        transaction.wake(queue_name)


def free(transaction: Transaction, ids: Sequence[str]) -> list[Row]:
    """Let jobs start, once their own time has come; return id and queue of each."""
    rows = transaction.all("free_children", rows=encode_names("job_id", ids))
    for _, queue_name, is_deferred in rows:
        if not is_deferred:
            transaction.wake(queue_name)
    return rows


def _end(
    transaction: Transaction,
    children: Iterable[Child],
    ended: Mapping[str, LinkEnding],
    at_us: int,
) -> None:
    deleted = {key for key, each in ended.items() if each.ended is LinkEnd.DELETED}
    rows = []
    for each in children:
        fate = "was deleted" if each.dead_parent in deleted else "is dead"
        # Who reads this may be limited to the queue of the child.
        is_own = each.parent_queue == each.queue_name
        message = f"parent {each.dead_parent} {fate}" if is_own else f"a parent {fate}"
        history = append_entry(
            each.error_history, at_us=at_us, attempt=each.attempts, message=message
        )
        rows.append({"job_id": each.id, "error": message, "history": history})
    transaction.run("end_children", rows=encode_rows(rows))


def reopen_dependents(transaction: Transaction, parents: Sequence[str]) -> list[Turn]:
    """Let the jobs that died with the given ones wait again, and theirs."""
    turns: list[Turn] = []
    while parents:
        rows = encode_names("parent_id", parents)
        children = transaction.all("reopenable_children", rows=rows)
        if not children:
            break
        parents = [row[0] for row in children]
        transaction.defer("reopen_links", rows=rows)
        transaction.defer(
            "reopen_children",
            rows=encode_names("job_id", parents),
            end_of_time=MAX_INSTANT_US,
        )
        turns += turns_of(children, Fate.REOPENED)
    return turns


def forget(transaction: Transaction, turns: Iterable[Turn]) -> None:
    """Delete the links of deleted jobs to those for which they have waited."""
    ids = [each.job_id for each in turns if each.has_waited]
    if ids:
        transaction.defer("forget_links", rows=encode_names("job_id", ids))
