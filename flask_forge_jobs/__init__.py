"""Durable background jobs for Flask on SQLite and PostgreSQL.

Importing the package costs next to nothing: every ``flask`` command and every run of
pytest in an environment that has it does. The public names come with the first use of
one of them.
"""

# ruff: noqa: F403, F405  # each name is in both lists, which a test compares

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":
    raise ImportError(
        "flask-forge-jobs does not run on Windows, which has neither fork nor the "
        "signals that it needs; use Linux, macOS, WSL or a container"
    )

if TYPE_CHECKING:
    from flask_forge_jobs.exports import *

# The build reads it from here, without an import.
__version__ = "0.1.0"

__all__ = [
    "AlreadyRunningError",
    "BatchBlock",
    "BatchEndedError",
    "BatchHandle",
    "BatchNotFoundError",
    "BatchUnfinishedError",
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
    "EndedBatch",
    "EndedJob",
    "EnqueueOptions",
    "EnqueueResult",
    "EnvironmentPaths",
    "ForgeJobs",
    "ForgeJobsError",
    "InvalidInputError",
    "Job",
    "JobFilter",
    "JobHandle",
    "JobNotFoundError",
    "JobStateError",
    "JobStatus",
    "KindPrefixRouter",
    "MigrationError",
    "NewJob",
    "NoopEcho",
    "NotFoundError",
    "ParentJob",
    "Permission",
    "Principal",
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
    "Snooze",
    "StaleSettingsError",
    "Storage",
    "StorageBusyError",
    "StorageCorruptError",
    "StorageError",
    "StorageOutcomeUnknownError",
    "StorageUnavailableError",
    "Task",
    "TaskContext",
    "TaskOptions",
    "TaskRegistry",
    "Throttled",
    "TokenSet",
    "create_blueprint",
    "cron_tick_once",
    "current_job",
    "exponential",
    "fold_metrics_once",
    "open_storage",
    "parse_cron",
    "queues_from_env",
    "reap_once",
    "rebalance_once",
]

if not TYPE_CHECKING:  # type checkers would accept any name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from flask_forge_jobs import exports

        globals().update((each, getattr(exports, each)) for each in __all__)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
