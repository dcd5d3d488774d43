"""One line in place of several that say the same of different queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import cast

from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.sentences import Action, Sentence, count

# Two are as short as the line that would replace them.
LEAST = 3
_MAX_NAMED = 4


def grouped(sentences: Sequence[Sentence]) -> Sequence[Sentence]:
    """Return sentences in their order, alike ones as one; each is a thing to count.

    Alike ones follow each other in a report. Those with a button of their own stay.
    """
    lines: list[Sentence] = []
    for code, alike in groupby(sentences, key=lambda each: each.code):
        members = list(alike)
        merge = _MERGED.get(code)
        if merge is None or len(members) < LEAST:
            lines += members
        else:
            lines.append(merge(members))
    return lines


def _behind(members: Sequence[Sentence]) -> Sentence:
    text = (
        f"{len(members):,} queues are behind: {_named(members)}. The oldest job waits "
        f"{duration(_oldest_s(members))}."
    )
    action = Action("GET", "/v1/queues?state=behind", "Show queues")
    return Sentence(members[0].code, text, action=action)


def _unserved(members: Sequence[Sentence]) -> Sentence:
    jobs = sum(cast("int", each.evidence["jobs"]) for each in members)
    oldest_s = _oldest_s(members)
    oldest = f", the oldest due for {duration(oldest_s)}" if oldest_s else ""
    text = (
        f"{len(members):,} queues have no worker: {_named(members)}. They hold "
        f"{count(jobs, 'job')}{oldest}."
    )
    action = Action("GET", "/v1/queue/workers", "Show workers")
    return Sentence(members[0].code, text, action=action)


_MERGED: Mapping[str, Callable[[Sequence[Sentence]], Sentence]] = {
    "queue_behind": _behind,
    "queue_unserved": _unserved,
}


def _oldest_s(members: Sequence[Sentence]) -> int:
    return max(cast("int", each.evidence["oldest_wait_s"]) for each in members)


def _named(members: Sequence[Sentence]) -> str:
    """Return the queues in words, of many the first ones."""
    names = [cast("str", each.evidence["queue"]) for each in members]
    if len(names) > _MAX_NAMED:
        kept = _MAX_NAMED - 1
        names = [*names[:kept], f"{len(names) - kept:,} more"]
    return f"{', '.join(names[:-1])} and {names[-1]}"
