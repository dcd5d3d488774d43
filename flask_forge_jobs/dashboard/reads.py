"""The reads behind one page, shared with all open pages, and few at each refresh.

Each read is kept for a while. A refresh renews at most some of those that are due, the
oldest first, and shows the others as they are; so a page with many parts costs no more
than one with few. A page that is opened reads everything that is due.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from flask import g, request

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.errors import ForgeJobsError, StorageError
from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.handlers.snapshots import KEPT_S, Known, Snapshots

# Reads of one refresh, beside that of the frame.
MAX_RENEWED = 2
# Older values are read anew even if others are due as well.
_OLDEST_S = 60.0
_REPORT = "forge_jobs_report"


@dataclass(frozen=True, slots=True)
class Part:
    """One read; its value is good for ``kept_s`` seconds."""

    read: Callable[[], Any]
    kept_s: float


class Reads:
    """The values of some parts, by name.

    Args:
        snapshots: Keeps them.
        key: Everything that all values depend on, the caller's queues included.
        parts: The reads.
        needed: Names of the parts that the refresh shows; None opens the page.
        max_renewed: How many parts a refresh renews.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        key: Hashable,
        parts: Mapping[str, Part],
        needed: Collection[str] | None = None,
        *,
        max_renewed: int = MAX_RENEWED,
    ) -> None:
        self._snapshots = snapshots
        self._key = key
        self._parts = parts
        self._values: dict[str, Any] = {}
        self._max_renewed = max_renewed
        self._stale = {} if needed is None else self._not_renewed(needed)

    def __getitem__(self, name: str) -> Any:
        # All blocks of a page show the same moment.
        if name not in self._values:
            part, known = self._parts[name], self._stale.get(name)
            if known is not None:
                self._values[name] = known.value
            else:
                key = self._key, name
                self._values[name] = self._snapshots.get(
                    key, part.read, kept_s=part.kept_s
                )
        return self._values[name]

    def read(self, names: Iterable[str]) -> None:
        """Read some values now, while a thread reads the report of the frame."""
        for name in names:
            self[name]

    def _not_renewed(self, needed: Collection[str]) -> dict[str, Known]:
        """Return the values that this refresh shows as they are."""
        known = {
            name: value
            for name in needed
            if (value := self._snapshots.known((self._key, name))) is not None
            and value.age_s < _OLDEST_S
        }
        due = [name for name in known if known[name].age_s >= self._parts[name].kept_s]
        for name in sorted(due, key=lambda name: -known[name].age_s)[
            : self._max_renewed
        ]:
            del known[name]
        return known


def is_refresh() -> bool:
    """Return whether this request asks for parts of an open page."""
    return "only" in request.args


def kept_s() -> float:
    """Return how old a read may be: a page that is opened shows the present."""
    return KEPT_S if is_refresh() else 0.0


def read_beside_report(api: Api, read: Callable[[], object]) -> None:
    """Read what a page shows while a thread reads the report of its frame.

    If the report cannot be read either, the page says so in place of its content.
    """
    try:
        with api.storage.database.turn:  # counts while it waits for the thread, too
            ahead = api.attention.read_ahead(api.storage)
            try:
                read()
            finally:
                if ahead is not None:
                    ahead.join()
    except StorageError:
        try:
            report = report_of(api)
        except ForgeJobsError:
            return
        if report.is_read:
            raise


def report_of(api: Api) -> Report:
    """Return the attention report, to all parts of one page the same.

    One that is read a second later would say something else beside it.
    """
    if _REPORT not in g:
        setattr(g, _REPORT, api.attention.report(api.storage, api.scope.queues))
    return cast("Report", getattr(g, _REPORT))


def needed_by(blocks: Mapping[str, Collection[str]]) -> set[str] | None:
    """Return the parts behind the blocks of this refresh; None opens the page.

    ``blocks`` are all blocks of the page, with the names of their parts.
    """
    only = request.args.get("only")
    if only is None:
        return None
    return {part for name in only.split(",") for part in blocks.get(name, ())}
