"""Cron schedules: list, create, change, delete, preview, trigger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from flask_forge_jobs.errors import (
    InvalidInputError,
    ScheduleNotFoundError,
    StaleSettingsError,
)
from flask_forge_jobs.handlers.jobs import payload_value
from flask_forge_jobs.handlers.kinds import KindLimit
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.bounds import check_integer, check_queue_name
from flask_forge_jobs.model.catch_up import DEFAULT_TIME_ZONE
from flask_forge_jobs.model.cron import Schedule, ScheduleDefinition
from flask_forge_jobs.model.cron_description import describe
from flask_forge_jobs.model.cron_expression import CronExpression
from flask_forge_jobs.model.cron_history import ScheduleRun
from flask_forge_jobs.model.cron_times import next_after
from flask_forge_jobs.model.jobs import EnqueueResult
from flask_forge_jobs.model.masking import REDACTED
from flask_forge_jobs.model.payloads import dump, load_text
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.registry import (
    TaskRegistry,
    TaskRouter,
    attempts_of_kind,
    check_payload_of_kind,
)
from flask_forge_jobs.tasks.routing import Router

PREVIEW_RANGE = (1, 100)
DEFAULT_PREVIEW = 5
MAX_LISTED = 1000
MAX_LISTED_BYTES = 4_194_304
# Changes are checked on this before the schedule is looked up.
_SOME_SCHEDULE = ScheduleDefinition(name="any", kind="any", cron_expr="* * * * *")
_MASKED = (
    f"has {REDACTED} in place of a secret, as a read shows it; send the secret itself, "
    "or leave the payload out"
)


@dataclass(frozen=True, slots=True)
class ScheduleDetail:
    """A schedule and its payload as a JSON value; secrets are masked.

    ``last_run`` is the newest job that it made; None without one, or unless asked for.
    """

    schedule: Schedule
    payload: object
    last_run: ScheduleRun | None = None


@dataclass(frozen=True, slots=True)
class ScheduleEdit:
    """A schedule before and after an edit."""

    before: ScheduleDefinition
    after: Schedule

    @property
    def digests(self) -> tuple[str, str]:
        """Digests of both definitions for the audit trail."""
        return self.before.digest(), self.after.definition.digest()


@dataclass(frozen=True, slots=True)
class Preview:
    """The description of an expression and its next firings."""

    description: str
    next: Sequence[datetime]


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """The first schedules, and how many there are in all.

    The schedules can be iterated once. Each is masked when its turn comes, which takes
    0.05 s for a payload of 1 MiB.
    """

    schedules: Iterable[ScheduleDetail]
    total: int


def list_schedules(
    storage: Storage, *, redactor: Redactor, with_runs: bool = False
) -> ScheduleList:
    """Return the first schedules, by name; secrets are masked.

    They are at most 1,000, and no more follow once their payloads have 4 MiB.
    ``with_runs`` looks the last run of each up.
    """
    first = storage.cron_history.first(
        MAX_LISTED, MAX_LISTED_BYTES, with_runs=with_runs
    )
    shown = sum(len(each.schedule.definition.payload) for each in first)
    is_whole = shown < MAX_LISTED_BYTES and len(first) < MAX_LISTED
    total = len(first) if is_whole else storage.cron.count()
    details = (detail(each.schedule, redactor, each.last_run) for each in first)
    return ScheduleList(details, total)


def get_schedule(storage: Storage, name: str, *, redactor: Redactor) -> ScheduleDetail:
    """Return one schedule; secrets are masked."""
    require_possible_name(name)
    return detail(storage.cron.get(name), redactor)


def create_schedule(
    storage: Storage,
    *,
    redactor: Redactor,
    payload: object,
    dedupe: bool = False,
    registry: TaskRegistry | None = None,
    kinds: KindLimit | None = None,
    **values: Any,
) -> ScheduleDetail:
    """Store a new schedule; ``values`` are fields of :class:`.ScheduleDefinition`.

    ``payload`` is any JSON value. ``dedupe`` skips a firing while a job of an earlier
    one is unfinished. A task in ``registry`` checks the payload. ``kinds`` bounds the
    kinds of schedules and jobs; None allows any number. A queue and attempts that
    ``values`` do not name stay open: each job takes its task's.

    Raises:
        ScheduleExistsError: The name is taken.
    """
    definition = ScheduleDefinition(payload=dump(payload), **values).deduped(dedupe)
    definition.check()
    check_payload_of_kind(registry, definition.kind, payload)
    if kinds is not None:
        kinds.check(storage, [definition.kind])
    return detail(storage.cron.create(definition), redactor)


def change_schedule(
    storage: Storage,
    name: str,
    changes: Mapping[str, Any],
    *,
    registry: TaskRegistry | None = None,
    kinds: KindLimit | None = None,
    is_expected: Callable[[Schedule], bool] | None = None,
) -> ScheduleEdit:
    """Change some fields of a schedule, all or none.

    ``changes`` are arguments of :func:`create_schedule` except the name. ``dedupe``
    keeps an existing key. A new expression enables a schedule that a bad one had
    disabled. ``registry`` and ``kinds`` as for :func:`create_schedule`.
    ``is_expected`` is asked about the present schedule first; None expects any.

    Raises:
        StaleSettingsError: The present schedule is not the expected one, and is not
            just switched to the state that it has.
    """
    values = dict(changes)
    if "payload" in values:
        values["payload"] = dump(values["payload"])
    dedupe = values.pop("dedupe", None)
    replace(_SOME_SCHEDULE, **values).check()
    require_possible_name(name)
    if kinds is not None and "kind" in values:
        kinds.check(storage, [values["kind"]])
    before: list[ScheduleDefinition] = []

    def decide(schedule: Schedule) -> ScheduleDefinition:
        before.append(schedule.definition)
        is_so = changes == {"enabled": schedule.definition.enabled}
        if is_expected is not None and not (is_expected(schedule) or is_so):
            msg = f"the settings of schedule {name!r} have changed"
            raise StaleSettingsError(msg)
        return _changed(schedule, values, dedupe, registry)

    after = storage.cron.change(name, decide)
    return ScheduleEdit(before[-1], after)


def _changed(
    schedule: Schedule,
    values: Mapping[str, Any],
    dedupe: bool | None,  # noqa: FBT001  # the value
    registry: TaskRegistry | None,
) -> ScheduleDefinition:
    definition = schedule.definition
    if "cron_expr" in values:
        definition = schedule.with_expression(values["cron_expr"])
    definition = replace(definition, **values)
    if REDACTED in definition.payload and REDACTED not in schedule.definition.payload:
        raise InvalidInputError("payload", _MASKED)
    # Disabling a schedule does not require a valid payload.
    if not values.keys().isdisjoint(("kind", "payload")):
        payload = load_text(definition.payload)
        check_payload_of_kind(registry, definition.kind, payload)
    return definition if dedupe is None else definition.deduped(dedupe)


def delete_schedule(storage: Storage, name: str) -> None:
    """Delete a schedule; its jobs stay."""
    require_possible_name(name)
    storage.cron.delete(name)


def trigger(
    storage: Storage, name: str, *, router: Router, registry: TaskRegistry | None = None
) -> EnqueueResult:
    """Enqueue the job of a schedule now; later firings do not change.

    A task in ``registry`` checks the payload, and gives the queue and attempts that the
    schedule does not name.

    Raises:
        DuplicateJobError: A job of another kind holds the dedupe key.
    """
    require_possible_name(name)
    definition = storage.cron.get(name).definition
    tasks = TaskRegistry() if registry is None else registry
    check_payload_of_kind(tasks, definition.kind, load_text(definition.payload))
    job = definition.job(TaskRouter(tasks, router), partial(attempts_of_kind, tasks))
    return storage.jobs.enqueue(job)


def preview(
    now: datetime,
    *,
    cron_expr: str,
    timezone: str = DEFAULT_TIME_ZONE,
    count: int = DEFAULT_PREVIEW,
) -> Preview:
    """Return the meaning of an expression and ``count`` firings after ``now``.

    ``count`` is 1 to 100; there may be fewer firings.
    """
    check_integer("count", count, *PREVIEW_RANGE)
    definition = replace(_SOME_SCHEDULE, cron_expr=cron_expr, timezone=timezone)
    firings = [definition.next_firing(now)]
    expression, zone = CronExpression.parse(cron_expr), ZoneInfo(timezone)
    while len(firings) < count:
        following = next_after(expression, firings[-1], zone)
        if following is None:
            break
        firings.append(following)
    return Preview(describe(expression), firings)


def detail(
    schedule: Schedule, redactor: Redactor, last_run: ScheduleRun | None = None
) -> ScheduleDetail:
    """Return a schedule with the secrets in its payload masked."""
    payload = payload_value(schedule.definition.payload, redactor, None)
    return ScheduleDetail(schedule, payload, last_run)


def require_possible_name(name: str) -> None:
    """Refuse text that cannot be a schedule's name as one that does not exist."""
    try:
        check_queue_name(name, "name")
    except InvalidInputError as error:
        raise ScheduleNotFoundError(name) from error
