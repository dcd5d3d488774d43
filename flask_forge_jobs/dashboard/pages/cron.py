"""Schedules: what fires next, what failed last, and what fires together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.etags import schedule_etag
from flask_forge_jobs.dashboard.cron_strip import Axis, Strip, axis, strip
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.parameters import NumberedPage, Parameters
from flask_forge_jobs.dashboard.words import natural
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.cron import ScheduleDetail, get_schedule, preview
from flask_forge_jobs.handlers.cron_history import (
    MAX_SCHEDULES,
    FiringsWindow,
    ScheduleFirings,
    firings_of,
    list_runs,
)
from flask_forge_jobs.handlers.cursors import Page, page_at
from flask_forge_jobs.model.catch_up import DEFAULT_TIME_ZONE, CatchUp
from flask_forge_jobs.model.cron_description import describe
from flask_forge_jobs.model.cron_expression import CronExpression
from flask_forge_jobs.model.cron_history import ScheduleLine, ScheduleRun
from flask_forge_jobs.model.jobs import UNFINISHED, UNSUCCESSFUL
from flask_forge_jobs.model.sentences import count

# Rows with their strips take up to 1.7 kB.
PAGE_SIZE = 30
# Of the strips: a daily schedule has its next firing, and now is a quarter of the axis.
BEHIND, AHEAD = timedelta(hours=8), timedelta(hours=24)
# Firings to come of a page: so many that a schedule with more has a bar, and no marks.
MAX_STEPS = 64 * PAGE_SIZE
RUNS_PER_PAGE = 50
_ASKS = ("run", "delete")
_SORTS: Mapping[str, Callable[[ScheduleLine], object]] = {
    "name": lambda line: natural(line.name),
    "next": lambda line: (
        line.next_fire_at is None,
        line.next_fire_at,
        natural(line.name),
    ),
}


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule of the list.

    ``failures`` of its newest runs failed, one after the other.
    """

    line: ScheduleLine
    words: str
    strip: Strip
    failures: int


@dataclass(frozen=True, slots=True)
class Firing:
    """An instant to come, in the schedule's time zone, too."""

    at: datetime
    there: datetime


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The meaning of an expression and its next firings, or its ``error``."""

    words: str = ""
    firings: Sequence[Firing] = ()
    error: str | None = None


class Trial:
    """An expression and a time zone, and their meaning.

    The address may name others than the stored ones, which tries them out.
    """

    def __init__(
        self, now: datetime, parameters: Parameters, expression: str, zone: str
    ) -> None:
        self.expression = parameters.text("expr") or expression
        self.zone = parameters.text("zone") or zone
        self._now = now

    @cached_property
    def result(self) -> TrialResult:
        """What they mean; nothing without an expression."""
        if not self.expression:
            return TrialResult()
        try:
            seen = preview(self._now, cron_expr=self.expression, timezone=self.zone)
        except InvalidInputError as error:
            return TrialResult(error=f"{error.field} {error.message}")
        zone = ZoneInfo(self.zone)
        firings = [Firing(at, at.astimezone(zone)) for at in seen.next]
        return TrialResult(seen.description, firings)

    @property
    def zones(self) -> Sequence[str]:
        """All time zones."""
        return sorted(available_timezones())


class ScheduleList:
    """The schedules with the axis of 32 hours that their strips share."""

    def __init__(self, api: Api, parameters: Parameters) -> None:
        self._api = api
        self.part = parameters.text("q")
        orders = [sign + name for name in _SORTS for sign in ("", "-")]
        self.sort = parameters.one_of("sort", orders) or "next"
        self.number = parameters.number("page", range(1, 1_000), 1)

    @cached_property
    def _known(self) -> Sequence[ScheduleLine]:
        """The first schedules; one more than are listed if there are more."""
        history = self._api.storage.cron_history
        return self._api.snapshots.get(
            "schedules", lambda: history.lines(MAX_SCHEDULES + 1)
        )

    @cached_property
    def lines(self) -> Sequence[ScheduleLine]:
        """Every schedule, at most 1,000."""
        return self._known[:MAX_SCHEDULES]

    @cached_property
    def matching(self) -> Sequence[ScheduleLine]:
        """The schedules whose name or kind has the part that is looked for."""
        part = self.part.casefold()
        matches = [
            line
            for line in self.lines
            if part in line.name.casefold() or part in line.kind.casefold()
        ]
        by = _SORTS[self.sort.removeprefix("-")]
        return sorted(matches, key=by, reverse=self.sort.startswith("-"))  # type: ignore[arg-type]

    @cached_property
    def window(self) -> FiringsWindow:
        """The schedules on this page with their firings."""
        api = self._api
        shown = self.page.of(self.matching)

        def read() -> FiringsWindow:
            return firings_of(
                api.storage, shown, api.now, steps=MAX_STEPS,
                start=api.now - BEHIND, end=api.now + AHEAD,
            )  # fmt: skip

        key = "firings", *(line.name for line in shown)
        return api.snapshots.get(key, read)

    @cached_property
    def axis(self) -> Axis:
        """The axis of all strips."""
        return axis(self.window)

    @cached_property
    def page(self) -> NumberedPage:
        """Where this page lies among the schedules that match."""
        return NumberedPage(self.number, PAGE_SIZE, len(self.matching))

    @property
    def rows(self) -> Sequence[ScheduleRow]:
        """The schedules on this page."""
        return [self._row(each) for each in self.window.schedules]

    def _row(self, each: ScheduleFirings) -> ScheduleRow:
        failures = 0
        for fired in reversed(each.fired):
            if fired.status not in UNSUCCESSFUL:
                break
            failures += 1
        words = meaning(each.line.cron_expr)
        return ScheduleRow(each.line, words, strip(each, self.axis), failures)

    @property
    def headline(self) -> str:
        """How many schedules there are, and how many of them are on."""
        if not self.lines:
            return "No schedule is registered"
        on = sum(line.enabled for line in self.lines)
        more = "the first " if len(self._known) > MAX_SCHEDULES else ""
        return f"{more}{count(len(self.lines), 'schedule')}, {on:,} on".capitalize()

    @property
    def next_at(self) -> datetime | None:
        """The next firing of all."""
        lines = [line for line in self.lines if line.enabled]
        instants = [at for line in lines if (at := line.next_fire_at)]
        return min(instants, default=None)


class ScheduleInFull:
    """One schedule: its definition, its next firings, and its runs."""

    def __init__(self, api: Api, name: str, parameters: Parameters) -> None:
        self._api = api
        self.name = name
        self._cursor = parameters.text("cursor") or None
        definition = self.detail.schedule.definition
        self.trial = Trial(
            api.now, parameters, definition.cron_expr, definition.timezone
        )

    @cached_property
    def detail(self) -> ScheduleDetail:
        """The schedule; secrets in its payload are masked."""
        api = self._api
        return api.snapshots.get(
            ("schedule", self.name),
            lambda: get_schedule(api.storage, self.name, redactor=api.masking_redactor),
        )

    @cached_property
    def runs(self) -> Page[ScheduleRun]:
        """The jobs that it made, the newest first; the first page for a bad cursor."""
        key = ("runs", self.name, self._cursor)
        return self._api.snapshots.get(key, self._read_runs)

    def _read_runs(self) -> Page[ScheduleRun]:
        storage, name, limit = self._api.storage, self.name, RUNS_PER_PAGE
        return page_at(
            lambda at: list_runs(storage, name, limit=limit, cursor=at), self._cursor
        )

    @property
    def etag(self) -> str:
        """The tag of its definition, which a form sends back."""
        return schedule_etag(self.detail.schedule, self._api.masking_redactor)

    @property
    def running(self) -> ScheduleRun | None:
        """Its newest run, if that is unfinished."""
        rows = self.runs.rows
        return rows[0] if rows and rows[0].status in UNFINISHED else None

    @property
    def words(self) -> str:
        """The meaning of its expression."""
        return meaning(self.detail.schedule.definition.cron_expr)

    @property
    def payload(self) -> str:
        """The payload as text; None of it is lost if it is saved again."""
        return json.dumps(self.detail.payload, ensure_ascii=False, indent=2)

    @property
    def is_payload_masked(self) -> bool:
        """Whether the payload that is shown is not the stored one."""
        stored = self.detail.schedule.definition.payload
        return bool(json.loads(stored) != self.detail.payload)


def meaning(expression: str) -> str:
    """Return an expression in words; empty for one that is invalid."""
    try:
        return describe(CronExpression.parse(expression))
    except InvalidInputError:
        return ""


def cron(api: Api) -> Mapping[str, object]:
    """Show all schedules; where the address says so, the form of a new one."""
    parameters = Parameters(request)
    is_new = parameters.one_of("new", ("1",)) is not None
    return {
        "schedules": ScheduleList(api, parameters),
        "is_new": is_new,
        "trial": Trial(api.now, parameters, "", DEFAULT_TIME_ZONE),
        "catch_ups": [each.value for each in CatchUp],
        "query": parameters.kept,
    }


def schedule(api: Api, name: str) -> Mapping[str, object]:
    """Show one schedule: the form of its settings, its next firings and its runs."""
    parameters = Parameters(request)
    return {
        "shown": ScheduleInFull(api, name, parameters),
        "verb": parameters.one_of("ask", _ASKS),
        "catch_ups": [each.value for each in CatchUp],
        "query": parameters.kept,
    }


ROUTES = (
    page(
        "/cron", cron, blocks=("headline", "list"),
        nav="Cron", icon="cron", order=31, key="c",
    ),
    page(
        "/cron/<name>", schedule, noun="Schedule",
        blocks=("headline", "settings", "runs"),
    ),
)  # fmt: skip
