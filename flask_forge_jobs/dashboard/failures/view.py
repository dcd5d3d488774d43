"""The groups of failures as rows, and what the page says of them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.charts.small import Spark, spark_bars
from flask_forge_jobs.dashboard.job.failures import Failure, Failures, failures_of
from flask_forge_jobs.dashboard.reads import kept_s
from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers import errors as handlers
from flask_forge_jobs.handlers.job_record import JobRecord, read_job
from flask_forge_jobs.model.error_groups import (
    ErrorDetail,
    ErrorGroup,
    ErrorOrder,
    ErrorRange,
    KindFailures,
)
from flask_forge_jobs.model.sentences import count

PAGE_SIZE = 25
# Names of kinds in a row, and of queues.
MAX_NAMES = 4
MAX_KINDS = 20
_SPANS: Mapping[ErrorRange, tuple[str, timedelta, str]] = {
    ErrorRange.DAY: ("24 hours", timedelta(hours=1), "the last hour"),
    ErrorRange.WEEK: ("7 days", timedelta(days=1), "the last day"),
    ErrorRange.MONTH: ("30 days", timedelta(days=1), "the last day"),
}


@dataclass(frozen=True, slots=True)
class ErrorQuery:
    """The state of the page in its address."""

    within: ErrorRange = ErrorRange.DAY
    sort: ErrorOrder = ErrorOrder.COUNT
    queues: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    cursor: str | None = None
    signature: str | None = None

    @property
    def kept(self) -> Mapping[str, object]:
        """The parameters that links back to the page keep."""
        return {
            "range": None if self.within is ErrorRange.DAY else str(self.within),
            "sort": None if self.sort is ErrorOrder.COUNT else str(self.sort),
            "queue": self.queues or None,
            "kind": self.kinds or None,
            "cursor": self.cursor,
            "signature": self.signature,
        }

    @property
    def is_whole(self) -> bool:
        """Whether it is about all errors of a day, which the navigation counts."""
        return self.within is ErrorRange.DAY and not (self.queues or self.kinds)

    @property
    def span(self) -> str:
        """The range in words."""
        return _SPANS[self.within][0]

    @property
    def bucket(self) -> str:
        """What a bar of a trend stands for."""
        return "hours" if self.within is ErrorRange.DAY else "days"


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group with its trend, its share of the failures, and whether it is new."""

    group: ErrorGroup
    spark: Spark
    share: str
    is_new: bool

    @property
    def kinds(self) -> Sequence[str]:
        """The first kinds."""
        return self.group.kinds[:MAX_NAMES]

    @property
    def more_kinds(self) -> int:
        """How many kinds follow."""
        return max(len(self.group.kinds) - MAX_NAMES, 0)

    @property
    def queues(self) -> str:
        """The queues in words."""
        names = self.group.queues
        shown = ", ".join(names[:MAX_NAMES])
        more = len(names) - MAX_NAMES
        return f"{shown} and {more} more" if more > 0 else shown

    @property
    def tone(self) -> str:
        """The colour of the trend."""
        return tone_of(self.group)

    @property
    def trend(self) -> str:
        """The trend in words."""
        now, highest = self.group.trend[-1], max(self.group.trend)
        return f"at most {highest:,} in one bar, {now:,} in the last"


def tone_of(group: ErrorGroup) -> str:
    """Return the colour of a trend: red once none of its jobs comes again."""
    return "red" if group.dead and not group.retrying else "amber"


def row_of(group: ErrorGroup, total: int, new_since: datetime) -> GroupRow:
    """Return a group as a row."""
    share = _percent(group.count, total)
    return GroupRow(
        group,
        spark_bars(group.trend),
        f"{share}%" if share else "<1%",
        group.first_seen >= new_since,
    )


def _percent(part: int, whole: int) -> int:
    """Return a share in whole percents, never more than it is."""
    return 100 * part // whole if whole else 0


class ErrorsView:
    """The groups of a range, the largest or the newest first."""

    def __init__(self, api: Api, query: ErrorQuery) -> None:
        self._api = api
        self.query = query
        self.page = self._read(query)

    def _read(self, query: ErrorQuery) -> handlers.ErrorListing:
        queues = self._api.scope.names(query.queues)

        def read() -> handlers.ErrorListing:
            return handlers.list_errors(
                self._api.storage,
                queue_names=queues,
                kinds=query.kinds,
                within=query.within,
                sort=query.sort,
                limit=PAGE_SIZE,
                cursor=query.cursor,
            )

        key = ("errors", query, queues)
        try:
            return self._api.snapshots.get(key, read, kept_s=kept_s())
        except InvalidInputError:
            # Such as a cursor of other filters: the first page of everything.
            self.query = ErrorQuery(query.within, query.sort)
            if query == self.query:
                raise
            return self._read(self.query)

    @property
    def place(self) -> str:
        """Which of the groups the page has; between the ends it has no number."""
        shown, total = len(self.rows), f"{self.page.total:,}"
        if not self.query.cursor:
            return f"1\u2013{shown} of {total}"
        if not self.page.next_cursor:
            return f"{self.page.total - shown + 1:,}\u2013{total} of {total}"
        return f"{shown} more of {total}"

    @cached_property
    def rows(self) -> Sequence[GroupRow]:
        """The groups of the page."""
        since = self._api.now - _SPANS[self.query.within][1]
        return [row_of(each, self.page.failures, since) for each in self.page.groups]

    @property
    def headline(self) -> str:
        """The answer to: which one error explains most failures?"""
        if not self.page.total:
            nothing = "No error matches" if self.is_filtered else "Nothing has failed"
            return f"{nothing} in {self.query.span}"
        failures = count(self.page.failures, "failure")
        largest = max((group.count for group in self.page.groups), default=0)
        if self.page.total == 1:
            return f"One error made {failures} in {self.query.span}"
        # One that makes the most of them is on this page, or it is not the first page.
        if 2 * largest > self.page.failures:
            percent = _percent(largest, self.page.failures)
            makes = f"One of {self.page.total:,} errors makes {percent}%"
            return f"{makes} of {failures} in {self.query.span}"
        return f"{self.page.total:,} errors made {failures} in {self.query.span}"

    @property
    def note(self) -> str:
        """How many groups are new."""
        new, when = self.page.fresh, _SPANS[self.query.within][2]
        return f"{new or 'none'} new in {when}" if self.page.total else ""

    @property
    def is_filtered(self) -> bool:
        """Whether the reader has chosen queues or kinds."""
        return bool(self.query.queues or self.query.kinds)


class ErrorView:
    """One group; ``detail`` is None if it is unknown."""

    def __init__(self, api: Api, query: ErrorQuery) -> None:
        self._api = api
        self.query = query
        self.signature = query.signature or ""
        queues = api.scope.names()

        def read() -> ErrorDetail | None:
            return handlers.one_error(
                api.storage, self.signature, queue_names=queues, within=query.within
            )

        key = ("error", self.signature, query.within, queues)
        try:
            self.detail = api.snapshots.get(key, read, kept_s=kept_s())
        except InvalidInputError:
            self.detail = None

    @property
    def group(self) -> ErrorGroup | None:
        """The group."""
        return None if self.detail is None else self.detail.group

    @property
    def is_new(self) -> bool:
        """Whether it failed for the first time a short while ago."""
        since = self._api.now - _SPANS[self.query.within][1]
        return self.group is not None and self.group.first_seen >= since

    @cached_property
    def spark(self) -> Spark:
        """Its trend."""
        return spark_bars(() if self.group is None else self.group.trend)

    @property
    def tone(self) -> str:
        """The colour of its trend."""
        return "amber" if self.group is None else tone_of(self.group)

    @property
    def kinds(self) -> Sequence[KindFailures]:
        """Its kinds, that with the most failures first."""
        return () if self.detail is None else self.detail.kinds[:MAX_KINDS]

    @property
    def left_out(self) -> int:
        """How many kinds are left out."""
        return 0 if self.detail is None else len(self.detail.kinds) - len(self.kinds)

    @cached_property
    def sample(self) -> JobRecord | None:
        """The job that failed last; None if it is deleted."""
        group = self.group
        if group is None or group.sample_id is None:
            return None
        try:
            self._api.scope.require_job(group.sample_id)
            return read_job(
                self._api.storage, group.sample_id, redactor=self._api.redactor
            )
        except JobNotFoundError:
            return None

    @property
    def example(self) -> Failure | None:
        """Its last failure with this error, with the traceback."""
        if self.sample is None:
            return None
        run = next(
            (
                attempt.run
                for attempt in reversed(self.sample.attempts)
                if attempt.signature == self.signature
            ),
            None,
        )
        failures: Failures | None = failures_of(self.sample, run)
        return None if failures is None else failures.shown
