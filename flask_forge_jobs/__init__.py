"""Durable background jobs for Flask on SQLite and PostgreSQL."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError(
        "flask-forge-jobs does not run on Windows, which has neither fork nor the "
        "signals that it needs; use Linux, macOS, WSL or a container"
    )

from flask_forge_jobs.api.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.auth.principal import Principal
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.config.paths import EnvironmentPaths, QueuePaths
from flask_forge_jobs.errors import (
    AlreadyRunningError,
    ConfigurationError,
    ConflictError,
    CountDiffersError,
    DedupeKeyTakenError,
    DuplicateJobError,
    ForgeJobsError,
    InvalidInputError,
    JobNotFoundError,
    JobStateError,
    MigrationError,
    NotFoundError,
    QueueExistsError,
    QueueFullError,
    QueueNotEmptyError,
    QueueNotFoundError,
    RateLimitedError,
    RateLimitNotFoundError,
    RequestKeyReusedError,
    ScheduleExistsError,
    ScheduleNotFoundError,
    SchemaTooNewError,
    StaleSettingsError,
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.extension import ForgeJobs
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.cron_expression import parse_cron
from flask_forge_jobs.model.jobs import EnqueueResult, JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, PutOff, Throttled
from flask_forge_jobs.runtime.handle import RuntimeHandle
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.connect import DatabaseConfig, open_storage
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho
from flask_forge_jobs.tasks.cancellation import (
    CancelledError,
    CancelReason,
    CancelToken,
)
from flask_forge_jobs.tasks.context import TaskContext, current_job
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import (
    DefaultRouter,
    KindPrefixRouter,
    Router,
    queues_from_env,
)

if TYPE_CHECKING:
    from flask_forge_jobs.runtime.once import (
        cron_tick_once,
        fold_metrics_once,
        reap_once,
        rebalance_once,
    )
    from flask_forge_jobs.tasks.bundled.child_pool import ChildPool
    from flask_forge_jobs.tasks.bundled.cmd_exec import CmdExec

# The build reads it from here, without an import.
__version__ = "0.1.0"

__all__ = [
    "AlreadyRunningError",
    "BlueprintOptions",
    "BulkLimits",
    "CancelReason",
    "CancelToken",
    "CancelledError",
    "ChildPool",
    "CmdExec",
    "ConfigurationError",
    "ConflictError",
    "CountDiffersError",
    "DatabaseConfig",
    "DatabaseSettings",
    "Dead",
    "DedupeKeyTakenError",
    "DefaultRouter",
    "Done",
    "DuplicateJobError",
    "EnqueueResult",
    "EnvironmentPaths",
    "ForgeJobs",
    "ForgeJobsError",
    "InvalidInputError",
    "JobFilter",
    "JobNotFoundError",
    "JobStateError",
    "JobStatus",
    "KindPrefixRouter",
    "MigrationError",
    "NewJob",
    "NoopEcho",
    "NotFoundError",
    "Permission",
    "Principal",
    "PutOff",
    "QueueExistsError",
    "QueueFullError",
    "QueueNotEmptyError",
    "QueueNotFoundError",
    "QueuePaths",
    "QueueRuntime",
    "RateLimitNotFoundError",
    "RateLimitedError",
    "Redactor",
    "RequestKeyReusedError",
    "Router",
    "RuntimeHandle",
    "ScheduleExistsError",
    "ScheduleNotFoundError",
    "SchemaTooNewError",
    "StaleSettingsError",
    "Storage",
    "StorageBusyError",
    "StorageCorruptError",
    "StorageError",
    "StorageOutcomeUnknownError",
    "StorageUnavailableError",
    "Task",
    "TaskContext",
    "TaskRegistry",
    "Throttled",
    "TokenSet",
    "create_blueprint",
    "cron_tick_once",
    "current_job",
    "fold_metrics_once",
    "open_storage",
    "parse_cron",
    "queues_from_env",
    "reap_once",
    "rebalance_once",
]

# What few programs need is imported when it is asked for: every ``flask`` command pays
# for the rest.
_LATER = (
    "ChildPool",
    "CmdExec",
    "cron_tick_once",
    "fold_metrics_once",
    "reap_once",
    "rebalance_once",
)


if not TYPE_CHECKING:  # else any name would do for a type checker

    def __getattr__(name: str) -> Any:
        """Import a public name that is not there yet."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from flask_forge_jobs.runtime import once
        from flask_forge_jobs.tasks.bundled import child_pool, cmd_exec

        found = {**vars(once), **vars(child_pool), **vars(cmd_exec)}
        globals().update((each, found[each]) for each in _LATER)
        return found[name]


def __dir__() -> list[str]:
    """Return the names that are there and those that will be."""
    return sorted({*globals(), *_LATER})
