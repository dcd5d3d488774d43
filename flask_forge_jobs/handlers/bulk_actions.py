"""One call for every bulk action, with a dry run and an expected number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.bulk import (
    BulkLimits,
    BulkReport,
    change_matching,
    change_named,
    check_expected,
)
from flask_forge_jobs.handlers.cursors import (
    from_text_cursor,
    from_walk_cursor,
    to_text_cursor,
    to_walk_cursor,
)
from flask_forge_jobs.handlers.filters import IN_BODY, checked_filter
from flask_forge_jobs.handlers.job_actions import distinct_ids
from flask_forge_jobs.model.bounds import check_run_at
from flask_forge_jobs.model.bulk import ChangeOptions, JobAction, Skip, SkipReason
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.storage.base import Storage

# For a filter; for ids all skipped jobs are listed.
MAX_LISTED_SKIPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """The request of a caller."""

    action: JobAction
    # Either ids, at most 10,000, or a filter.
    job_ids: Sequence[str] | None = None
    job_filter: JobFilter | None = None
    # Confirms a filter without conditions.
    is_all: bool | None = None
    # How many jobs the caller expects.
    expected: int | None = None
    # New start of a reschedule; the past means now.
    run_at: datetime | None = None
    # Whether a retry drops the steps that jobs have kept.
    restart: bool | None = None
    # Whether a retry lets the jobs wait again that died with the retried ones.
    dependents: bool | None = None
    dry_run: bool | None = None
    # Where an earlier, incomplete call of the same instruction ended.
    cursor: str | None = None

    @property
    def options(self) -> ChangeOptions:
        """What the action takes besides the jobs."""
        return {
            "run_at": self.run_at,
            "restart": bool(self.restart),
            "dependents": bool(self.dependents),
        }

    def filter_within(self, queues: Sequence[str] | None) -> JobFilter:
        """Return the checked filter; without queues of its own it has these.

        Raises:
            InvalidInputError: It has no condition, and does not say ``all``.
        """
        job_filter = checked_filter(self.job_filter or JobFilter(), IN_BODY)
        # Checked here, because the filter drops blank searches.
        if job_filter == JobFilter() and not self.is_all:
            raise InvalidInputError("all", "must be true to act on every job")
        if job_filter.queues is None:
            job_filter = replace(job_filter, queues=queues)
        return job_filter

    def __post_init__(self) -> None:
        """Check for either ids or a filter, and for options of other actions."""
        has_filter = self.job_filter is not None or bool(self.is_all)
        if self.job_ids is not None and has_filter:
            raise InvalidInputError("ids", "cannot be combined with a filter")
        if self.job_ids is None and not has_filter:
            raise InvalidInputError("ids", "is required without a filter")
        for name in ("restart", "dependents"):
            if getattr(self, name) and self.action is not JobAction.RETRY:
                raise InvalidInputError(name, "is only for retry")
        if self.action is not JobAction.RESCHEDULE:
            if self.run_at is not None:
                raise InvalidInputError("run_at", "is only for reschedule")
        elif self.run_at is None:
            raise InvalidInputError("run_at", "is required to reschedule")
        else:
            check_run_at(self.run_at)


@dataclass(frozen=True, slots=True)
class ActionReport:
    """The result of an instruction."""

    matched: int
    # Jobs that were asked to stop included.
    changed: int = 0
    # All for ids; for a filter at most 1,000, without those in a wrong state.
    skipped: Sequence[Skip] = ()
    # How many were skipped in all.
    skips: int = 0
    is_complete: bool = True
    next_cursor: str | None = None


def act(
    storage: Storage,
    instruction: Instruction,
    *,
    limits: BulkLimits,
    within: Sequence[str] | None = None,
) -> ActionReport:
    """Carry out an instruction, as far as one call may.

    A filter without queues means ``within``; None means all. Ids must belong to jobs
    that the caller may change. ``expected`` is checked by :func:`.check_expected`.

    Raises:
        StorageUnavailableError: A search exceeded the statement time limit.
    """
    if instruction.job_ids is not None:
        return _on_named(storage, instruction, instruction.job_ids, limits)
    job_filter = instruction.filter_within(within)
    return _on_matching(storage, instruction, job_filter, limits)


def _on_named(
    storage: Storage,
    instruction: Instruction,
    job_ids: Sequence[str],
    limits: BulkLimits,
) -> ActionReport:
    distinct = sorted(distinct_ids(job_ids))
    action, cursor = instruction.action, instruction.cursor
    binding = [str(action), *distinct]
    after_id = "" if cursor is None else from_text_cursor(cursor, binding)
    matched = None
    if instruction.dry_run or instruction.expected is not None or after_id:
        matched = _count(storage, distinct)
        if _is_only_counted(instruction, matched):
            return ActionReport(matched)
    report = change_named(
        storage, action, distinct, limits, after_id=after_id, **instruction.options
    )
    last_id = report.last_id
    if matched is None:  # as the change has met them
        left = [] if last_id is None else [each for each in distinct if each > last_id]
        skipped = report.change.skipped
        missing = sum(each.reason is SkipReason.NOT_FOUND for each in skipped)
        matched = len(distinct) - len(left) - missing + _count(storage, left)
    return _report(
        matched,
        report,
        None if last_id is None else to_text_cursor(last_id, binding),
        listed=len(report.change.skipped),
    )


def _count(storage: Storage, job_ids: Sequence[str]) -> int:
    return len(storage.job_reader.ids_in(job_ids)) if job_ids else 0


def _on_matching(
    storage: Storage,
    instruction: Instruction,
    job_filter: JobFilter,
    limits: BulkLimits,
) -> ActionReport:
    action, cursor = instruction.action, instruction.cursor
    after = None if cursor is None else from_walk_cursor(cursor, action, job_filter)
    matched = storage.job_reader.total(job_filter)
    if _is_only_counted(instruction, matched):
        return ActionReport(matched)
    report = change_matching(
        storage, action, job_filter, limits, after=after, **instruction.options
    )
    position = report.position
    return _report(
        matched,
        report,
        None if position is None else to_walk_cursor(position, action, job_filter),
        listed=MAX_LISTED_SKIPS,
    )


def _is_only_counted(instruction: Instruction, matched: int) -> bool:
    if instruction.expected is not None:
        check_expected(instruction.expected, matched)
    return bool(instruction.dry_run)


def _report(
    matched: int, report: BulkReport, next_cursor: str | None, *, listed: int
) -> ActionReport:
    skipped = report.change.skipped
    return ActionReport(
        matched=matched,
        changed=report.change.changed,
        skipped=skipped[:listed],
        skips=len(skipped),
        is_complete=report.is_complete,
        next_cursor=next_cursor,
    )
