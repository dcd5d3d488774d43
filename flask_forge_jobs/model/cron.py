"""A cron schedule: what an operator decides, when it fires, the job of one firing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.cron_expression import LAST_YEAR, CronExpression
from flask_forge_jobs.model.cron_times import next_after
from flask_forge_jobs.model.jobs import DEFAULT_MAX_ATTEMPTS, NewJob
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.model.time_zones import (
    DEFAULT_TIME_ZONE,
    check_time_zone,
    load_time_zone,
)

# Begins the stored error of a schedule that its own expression has disabled.
BAD_EXPRESSION = "invalid cron expression: "


@dataclass(frozen=True, slots=True)
class ScheduleDefinition:
    """What an operator decides; :meth:`check` tells whether it may be stored.

    Args:
        name: Identity; the same rules as for a queue's name.
        kind: Selects the task.
        cron_expr: See :mod:`flask_forge_jobs.model.cron_expression`.
        payload: Canonical JSON text, given to each job.
        queue_name: Where the jobs wait; None asks the router at each firing.
        timezone: IANA zone whose clock the expression is read by.
        enabled: Whether it fires.
        max_attempts: How often a job may run, 1 to 1000; None means 5.
        dedupe_key: While an unfinished job holds the key, a firing enqueues nothing;
            None enqueues always.
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

    def check(self) -> None:
        """Check every field against its bounds.

        Raises:
            InvalidInputError: A value is outside them; the field is named.
        """
        check_queue_name(self.name, "name")
        self.job(lambda _kind: DEFAULT_QUEUE)
        CronExpression.parse(self.cron_expr)
        check_time_zone(self.timezone)

    def deduped(self, dedupe: bool) -> ScheduleDefinition:  # noqa: FBT001  # the value
        """Return the same with or without a key; one that it has is kept."""
        key = (self.dedupe_key or self.name) if dedupe else None
        return replace(self, dedupe_key=key)

    def job(self, router: Callable[[str], str]) -> NewJob:
        """Return the job of one firing: due at once, with priority 0.

        Args:
            router: Names the queue of a kind; asked when the schedule names none.

        Raises:
            InvalidInputError: A value is outside its bounds.
        """
        queue_name = self.queue_name
        return NewJob(
            kind=self.kind,
            payload=self.payload,
            queue_name=router(self.kind) if queue_name is None else queue_name,
            max_attempts=(
                DEFAULT_MAX_ATTEMPTS if self.max_attempts is None else self.max_attempts
            ),
            dedupe_key=self.dedupe_key,
            schedule_name=self.name,
        )

    def next_firing(self, now: datetime) -> datetime:
        """Return the first firing after an instant, in UTC.

        Raises:
            InvalidInputError: The expression or the zone does not parse, or it never
                fires again.
        """
        expression = CronExpression.parse(self.cron_expr)
        zone = load_time_zone(check_time_zone(self.timezone))
        found = next_after(expression, now, zone)
        if found is None:
            raise InvalidInputError(
                "cron_expr", f"has no occurrence from now to the end of {LAST_YEAR}"
            )
        return found


@dataclass(frozen=True, slots=True)
class Schedule:
    """A stored schedule.

    Args:
        definition: What an operator decided.
        created_at: When it was stored first.
        updated_at: When it was changed or fired last.
        last_fired_at: When it fired last; None before the first time.
        next_fire_at: When it fires next; None while it is disabled, and only then.
        last_error: What went wrong last.
    """

    definition: ScheduleDefinition
    created_at: datetime
    updated_at: datetime
    last_fired_at: datetime | None = None
    next_fire_at: datetime | None = None
    last_error: str | None = None

    @classmethod
    def new(cls, definition: ScheduleDefinition, now: datetime) -> Schedule:
        """Return a schedule that has not fired yet.

        Raises:
            InvalidInputError: A value is outside its bounds, or the expression never
                fires again.
        """
        definition.check()
        first = definition.next_firing(now)
        return cls(
            definition, now, now, next_fire_at=first if definition.enabled else None
        )

    @property
    def is_disabled_by_its_expression(self) -> bool:
        """Whether nobody but the expression is why it does not fire (D55)."""
        error = self.last_error or ""
        return not self.definition.enabled and error.startswith(BAD_EXPRESSION)

    def with_expression(self, cron_expr: str) -> ScheduleDefinition:
        """Return the definition with an expression that should fire."""
        wanted = replace(self.definition, cron_expr=cron_expr)
        if self.is_disabled_by_its_expression:
            return replace(wanted, enabled=True)
        return wanted

    def revised(self, wanted: ScheduleDefinition, now: datetime) -> Schedule:
        """Return the schedule with another definition; itself when it is the same.

        A firing that is due stays due unless expression, zone or ``enabled`` change:
        then the series begins anew from now, and what was missed is not made up.

        Raises:
            InvalidInputError: A value is outside its bounds, or what should fire never
                fires again.
        """
        old = self.definition
        if wanted == old:
            return self
        new_times = (wanted.cron_expr, wanted.timezone) != (old.cron_expr, old.timezone)
        begins_anew = new_times or (wanted.enabled and not old.enabled)
        next_fire_at, last_error = self.next_fire_at, self.last_error
        if begins_anew:
            wanted.check()
            next_fire_at, last_error = wanted.next_firing(now), None
        else:
            wanted.job(lambda _kind: DEFAULT_QUEUE)
        return replace(
            self,
            definition=wanted,
            updated_at=now,
            next_fire_at=next_fire_at if wanted.enabled else None,
            last_error=last_error,
        )
