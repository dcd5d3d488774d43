"""Durable background jobs for Flask on SQLite and PostgreSQL.

Importing the package costs next to nothing: every ``flask`` command and every run of
pytest in an environment that has it does. The public names come with the first use of
one of them.
"""

# ruff: noqa: F403  # type checkers see the names there, which a test compares

from __future__ import annotations

import sys
from importlib import import_module
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

# The modules below this package and their public names. A name is imported alone,
# because a program rarely needs more than a few.
_HOMES: dict[str, tuple[str, ...]] = {
    "auth.permissions": ("Permission", "Principal"),
    "auth.tokens": ("TokenSet",),
    "blueprint": ("BlueprintOptions", "create_blueprint"),
    "config.database": ("DatabaseSettings",),
    "config.paths": ("EnvironmentPaths", "QueuePaths"),
    "errors": (
        "AlreadyRunningError", "BatchEndedError", "BatchNotFoundError",
        "BatchUnfinishedError", "ConfigurationError", "ConflictError",
        "CountDiffersError", "DedupeKeyTakenError", "DuplicateJobError",
        "ForgeJobsError", "InvalidInputError", "JobNotFoundError", "JobStateError",
        "MigrationError", "NotFoundError", "QueueExistsError", "QueueFullError",
        "QueueNotEmptyError", "QueueNotFoundError", "RateLimitedError",
        "RateLimitNotFoundError", "RequestKeyReusedError", "ScheduleExistsError",
        "ScheduleNotFoundError", "SchemaTooNewError", "StaleSettingsError",
        "StorageBusyError", "StorageCorruptError", "StorageError",
        "StorageOutcomeUnknownError", "StorageUnavailableError",
    ),
    "extension": ("ForgeJobs",),
    "handlers.bulk": ("BulkLimits",),
    "handlers.redaction": ("Redactor",),
    "model.batches": ("EndedBatch",),
    "model.cron_expression": ("parse_cron",),
    "model.jobs": ("EnqueueResult", "Job", "JobFilter", "JobStatus", "NewJob"),
    "model.outcomes": ("Dead", "Done", "EndedJob", "Snooze", "Throttled"),
    "model.run_end": ("CancelReason",),
    "runtime.passes": (
        "cron_tick_once", "fold_metrics_once", "reap_once", "rebalance_once",
    ),
    "runtime.runtime": ("QueueRuntime",),
    "runtime.worker": ("RuntimeHandle",),
    "storage.base": ("DatabaseConfig", "Storage", "open_storage"),
    "tasks.batch_blocks": ("BatchBlock",),
    "tasks.batches": ("BatchHandle", "ParentJob"),
    "tasks.bundled.child_pool": ("ChildPool",),
    "tasks.bundled.cmd_exec": ("CmdExec",),
    "tasks.bundled.noop_echo": ("NoopEcho",),
    "tasks.cancellation": ("CancelledError", "CancelToken"),
    "tasks.context": ("TaskContext", "current_job"),
    "tasks.decorator": ("Task",),
    "tasks.handles": ("JobHandle",),
    "tasks.options": ("EnqueueOptions", "TaskOptions"),
    "tasks.registry": ("TaskRegistry",),
    "tasks.retries": ("exponential",),
    "tasks.routing": ("DefaultRouter", "KindPrefixRouter", "Router", "queues_from_env"),
}  # fmt: skip

if not TYPE_CHECKING:  # type checkers would accept any name
    __all__ = sorted(name for names in _HOMES.values() for name in names)  # noqa: PLE0605

    def __getattr__(name: str) -> object:
        for module, names in _HOMES.items():
            if name in names:
                home = import_module(f"{__name__}.{module}")
                globals()[name] = getattr(home, name)
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
