"""A cron schedule: its definition in code or by hand, its firings, their jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_QUEUE,
    check_integer,
    check_queue_name,
)
from flask_forge_jobs.model.catch_up import (
    CATCH_UP_LIMIT_RANGE,
    DEFAULT_CATCH_UP_LIMIT,
    DEFAULT_TIME_ZONE,
    CatchUp,
    check_catch_up,
)
from flask_forge_jobs.model.cron_expression import LAST_YEAR, CronExpression
from flask_forge_jobs.model.cron_times import (
    NextAfter,
    check_time_zone,
    due_instants,
    next_after,
)
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.payloads import canonical

# Prefix of the stored error of a schedule that its own expression has disabled.
BAD_EXPRESSION = "invalid cron expression: "
_CLOCK_WAS_AHEAD = timedelta(minutes=1)
_NEVER = f"has no occurrence from now to the end of {LAST_YEAR}"
# A schedule's identity, and the fields that only operators decide.
_NOT_DECLARED = ("name", "enabled")


@dataclass(frozen=True, slots=True)
class ScheduleDefinition:
    """The part of a schedule that an operator decides; :meth:`check` validates it.

    A ``queue_name`` of None asks the router at each firing; ``max_attempts`` of None
    asks the task then, and is 5 without one. While an unfinished job holds the
    ``dedupe_key``, a firing enqueues nothing. ``catch_up_limit`` is how many missed
    firings ``all`` makes up for.
    """

    name: str
    kind: str
    cron_expr: str
    payload: str = "{}"
    queue_name: str | None = None
    timezone: str = DEFAULT_TIME_ZONE
    enabled: bool = True
    max_attempts: int | None = None
    dedupe_key: str | None = None
    catch_up: str = CatchUp.ONCE
    catch_up_limit: int = DEFAULT_CATCH_UP_LIMIT

    def check(self) -> None:
        """Check every field, or raise :class:`InvalidInputError`."""
        check_queue_name(self.name, "name")
        self.check_beside_times()
        CronExpression.parse(self.cron_expr)
        check_time_zone(self.timezone)

    def check_beside_times(self) -> None:
        """Check all fields that do not decide when it fires; as :meth:`check`."""
        canonical(self.payload)
        self.job(lambda _kind: DEFAULT_QUEUE)
        check_catch_up(self.catch_up)
        check_integer("catch_up_limit", self.catch_up_limit, *CATCH_UP_LIMIT_RANGE)

    @property
    def series(self) -> tuple[str, str]:
        """The fields that decide when it fires: its expression and its time zone."""
        return self.cron_expr, self.timezone

    def digest(self) -> str:
        """Return 16 hexadecimal digits that identify this definition."""
        text = json.dumps(asdict(self), sort_keys=True)
        return sha256(text.encode()).hexdigest()[:16]

    def deduped(self, dedupe: bool) -> ScheduleDefinition:  # noqa: FBT001  # the value
        """Return the definition with a dedupe key (its own, or its name) or none."""
        key = (self.dedupe_key or self.name) if dedupe else None
        return replace(self, dedupe_key=key)

    def job(
        self,
        router: Callable[[str], str],
        attempts_of: Callable[[str], int] = lambda _kind: DEFAULT_MAX_ATTEMPTS,
    ) -> NewJob:
        """Return the job of one firing: due at once, with priority 0.

        ``router`` and ``attempts_of`` are asked for what the definition does not name.
        """
        queue_name, attempts = self.queue_name, self.max_attempts
        if queue_name is None:
            queue_name = check_queue_name(router(self.kind))  # it may return None
        return NewJob.of_canonical(
            self.payload,
            kind=self.kind,
            queue_name=queue_name,
            max_attempts=attempts_of(self.kind) if attempts is None else attempts,
            dedupe_key=self.dedupe_key,
            schedule_name=self.name,
        )

    def next_firing(self, now: datetime) -> datetime:
        """Return the next firing in UTC, or raise :class:`InvalidInputError`."""
        firing = self._series()(now)
        if firing is None:
            raise InvalidInputError("cron_expr", _NEVER)
        return firing

    def due(self, first: datetime, now: datetime) -> list[datetime]:
        """Return the firings to make now, oldest first, from the first one not made."""
        check_catch_up(self.catch_up)
        return due_instants(
            self._series(),
            first,
            now,
            catch_up=CatchUp(self.catch_up),
            limit=self.catch_up_limit,
        )

    def _series(self) -> NextAfter:
        expression = CronExpression.parse(self.cron_expr)
        zone = ZoneInfo(check_time_zone(self.timezone))
        return lambda instant: next_after(expression, instant, zone)


@dataclass(frozen=True, slots=True)
class FiringReport:
    """The result of one check for due schedules.

    Args:
        fired: Jobs that were stored.
        skipped: Firings without a job, because an unfinished one held the key.
        errors: Schedules that could not fire.
    """

    fired: int = 0
    skipped: int = 0
    errors: int = 0

    def __add__(self, other: FiringReport) -> FiringReport:
        return FiringReport(
            self.fired + other.fired,
            self.skipped + other.skipped,
            self.errors + other.errors,
        )


@dataclass(frozen=True, slots=True)
class DeclarationReport:
    """The schedules of one application, by name; ``refused`` ones with the reason."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class FiringsAhead:
    """Seconds that the oldest firing is overdue, and until the next one, or None."""

    overdue_s: float | None
    next_s: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A stored schedule; ``next_fire_at`` is None exactly while it is disabled.

    ``declared_by`` is the application whose code has it, None for an operator's;
    ``declared_as`` is its last :func:`declaration`.
    """

    definition: ScheduleDefinition
    created_at: datetime
    updated_at: datetime
    last_fired_at: datetime | None = None
    next_fire_at: datetime | None = None
    last_error: str | None = None
    declared_by: str | None = None
    declared_as: str | None = None

    @classmethod
    def new(cls, definition: ScheduleDefinition, now: datetime) -> Schedule:
        """Return a schedule that has not fired yet, if its definition is valid."""
        definition.check()
        first = definition.next_firing(now)
        return cls(
            definition, now, now, next_fire_at=first if definition.enabled else None
        )

    @property
    def is_disabled_by_its_expression(self) -> bool:
        """Whether its expression, not an operator, has disabled it."""
        error = self.last_error or ""
        return not self.definition.enabled and error.startswith(BAD_EXPRESSION)

    def with_expression(self, cron_expr: str) -> ScheduleDefinition:
        """Return the definition with a new expression that ends such a disabling."""
        definition = replace(self.definition, cron_expr=cron_expr)
        if self.is_disabled_by_its_expression:
            return replace(definition, enabled=True)
        return definition

    def revised(self, definition: ScheduleDefinition, now: datetime) -> Schedule:
        """Return the schedule with another definition; itself if nothing changes.

        A due firing stays due, unless expression, zone or ``enabled`` change: then the
        series restarts from now, and missed firings are dropped.
        """
        old = self.definition
        if definition == old:
            return self
        new_times = definition.series != old.series
        begins_anew = new_times or (definition.enabled and not old.enabled)
        next_fire_at, last_error = self.next_fire_at, self.last_error
        if begins_anew:
            definition.check()
            next_fire_at, last_error = definition.next_firing(now), None
        else:
            definition.check_beside_times()
        return replace(
            self,
            definition=definition,
            updated_at=now,
            next_fire_at=next_fire_at if definition.enabled else None,
            last_error=last_error,
        )

    def masked(self, mask: Callable[[str], str]) -> Schedule:
        """Return the schedule with the secrets in its last error masked."""
        if self.last_error is None:
            return self
        return replace(self, last_error=str(mask(self.last_error)))

    def fired(self, now: datetime) -> tuple[list[datetime], Schedule]:
        """Return the firings to make now, and the schedule after them.

        Without a later occurrence, it fires for the last time and is disabled. If it
        was fired or changed more than a minute in the future, the clock was ahead then:
        the series goes on from now.
        """
        if self.next_fire_at is None:
            return [], self
        if self.next_fire_at > now:
            if self.updated_at - now <= _CLOCK_WAS_AHEAD:
                return [], self
            following = self.definition.next_firing(now)
            return [], replace(self, next_fire_at=following, updated_at=now)
        instants = self.definition.due(self.next_fire_at, now)
        try:
            following = self.definition.next_firing(now)
        except InvalidInputError as error:
            after = self.disabled_by(error, now)
        else:
            after = replace(
                self, next_fire_at=following, last_error=None, updated_at=now
            )
        return instants, replace(
            after, last_fired_at=now if instants else self.last_fired_at
        )

    def disabled_by(self, error: InvalidInputError, now: datetime) -> Schedule:
        """Return the schedule disabled by its own expression."""
        return replace(
            self,
            definition=replace(self.definition, enabled=False),
            next_fire_at=None,
            last_error=f"{BAD_EXPRESSION}{error.message}",
            updated_at=now,
        )


def declaration(definition: ScheduleDefinition) -> str:
    """Return the definition as JSON text; equal definitions have equal texts."""
    values = asdict(definition)
    for name in _NOT_DECLARED:
        del values[name]
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def followed(stored: Schedule, declared: ScheduleDefinition) -> ScheduleDefinition:
    """Return the new definition of a stored schedule that the code has declared.

    The last declaration is stored beside the schedule. It tells values that the code
    has changed, which follow the code, from values that an operator has changed, which
    stay.
    """
    before = _values(stored.declared_as)
    now = _values(declaration(declared))
    has = asdict(stored.definition)
    changes = {
        name: value
        for name, value in now.items()
        if value != has[name] and has[name] == before.get(name)
    }
    definition = stored.definition
    if "cron_expr" in changes:
        definition = stored.with_expression(changes["cron_expr"])
    return replace(definition, **changes)


def _values(text: str | None) -> dict[str, Any]:
    """Return the declared values; none if the stored text is not ours."""
    try:
        values = json.loads(text or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
