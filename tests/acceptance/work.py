"""Every call whose work is counted on many rows."""

from __future__ import annotations

from collections.abc import Callable

from tests.acceptance.million import FOUND, Subject, filters_of, query_of
from tests.support.work import blocks_read

Call = Callable[[], None]


def calls(subject: Subject) -> dict[str, Call]:
    """Return every call that is counted, by name."""
    named: dict[str, Call] = {"overview": subject.overview, "claim": subject.claim}
    for name, filters in filters_of(subject.sql).items():
        named[f"list: {name}"] = subject.lister(filters)
        named[f"find: {name}"] = subject.getter(f"/v1/jobs?{query_of(filters)}")
    for name, query in FOUND.items():
        named[f"find: {name}"] = subject.getter(f"/v1/jobs?{query}")
    return named


def blocks_of(subject: Subject, call: Call) -> int:
    """Return the blocks that PostgreSQL reads of jobs during a call."""
    return blocks_read(subject.storage, subject.sql, call)
