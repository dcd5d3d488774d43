"""One line in place of several that say the same of different queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import cast

from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.model.durations import elapsed
from flask_forge_jobs.model.sentences import Action, Sentence, listed

# Two are as short as the line that would replace them.
LEAST = 3
_MAX_NAMED = 4


def grouped(report: Report) -> tuple[Sequence[Sentence], int]:
    """Return the sentences of a report, alike ones as one, and how many it leaves out.

    Each is a thing to count. Alike ones follow each other in a report, and those that
    it leaves out count in their line.
    """
    lines: list[Sentence] = []
    left_out = report.left_out
    groups = [list(alike) for _, alike in groupby(report.sentences, lambda s: s.code)]
    for members in groups:
        more = report.left_out_alike if members is groups[-1] else 0
        merge = _MERGED.get(members[0].code)
        if merge is None or len(members) + more < LEAST:
            lines += members
        else:
            lines.append(merge(members, more))
            left_out -= more
    return lines, left_out


def _behind(members: Sequence[Sentence], more: int) -> Sentence:
    text = (
        f"{len(members) + more:,} queues are behind: {_named(members, more)}. "
        f"The oldest job waits {elapsed(_oldest_s(members))}."
    )
    action = Action("GET", "/v1/queues?state=behind", "Show queues")
    evidence = {"oldest_wait_s": _oldest_s(members)}
    return Sentence(members[0].code, text, evidence, action)


def _unserved(members: Sequence[Sentence], more: int) -> Sentence:
    number = sum(cast("int", each.evidence["jobs"]) for each in members)
    jobs = f"{number:,} jobs wait"
    oldest_s = _oldest_s(members)
    oldest = f", the oldest for {elapsed(oldest_s)}" if oldest_s else ""
    # Of those that the report leaves out, neither is known.
    facts = f"More than {jobs}" if more else f"{jobs}{oldest}"
    text = (
        f"{len(members) + more:,} queues have no worker: {_named(members, more)}. "
        f"{facts}."
    )
    action = Action("GET", "/v1/queue/workers", "Show workers")
    evidence = {"oldest_wait_s": 0 if more else oldest_s}
    return Sentence(members[0].code, text, evidence, action)


_MERGED: Mapping[str, Callable[[Sequence[Sentence], int], Sentence]] = {
    "queue_behind": _behind,
    "queue_unserved": _unserved,
}


def _oldest_s(members: Sequence[Sentence]) -> int:
    return max(cast("int", each.evidence["oldest_wait_s"]) for each in members)


def _named(members: Sequence[Sentence], more: int) -> str:
    """Return the queues in words; ``more`` have no name."""
    return named([cast("str", each.evidence["queue"]) for each in members], more)


def named(names: Sequence[str], more: int = 0) -> str:
    """Return ``x, y and z``, of many names the first ones; ``more`` are unknown."""
    total = len(names) + more
    if total > _MAX_NAMED:
        names = names[: _MAX_NAMED - 1]
    if total > len(names):
        names = [*names, f"{total - len(names):,} more"]
    return listed(names)
