"""The public names of the package."""

from __future__ import annotations

from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
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
from flask_forge_jobs.model.outcomes import Dead, Done, EndedJob, Snooze, Throttled
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.runtime.passes import (
    cron_tick_once,
    fold_metrics_once,
    reap_once,
    rebalance_once,
)
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.runtime.worker import RuntimeHandle
from flask_forge_jobs.storage.base import DatabaseConfig, Storage, open_storage
from flask_forge_jobs.tasks.bundled.child_pool import ChildPool
from flask_forge_jobs.tasks.bundled.cmd_exec import CmdExec
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho
from flask_forge_jobs.tasks.context import (
    CancelledError,
    CancelToken,
    TaskContext,
    current_job,
)
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.handles import JobHandle
from flask_forge_jobs.tasks.options import EnqueueOptions, TaskOptions
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.retries import exponential
from flask_forge_jobs.tasks.routing import (
    DefaultRouter,
    KindPrefixRouter,
    Router,
    queues_from_env,
)

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
    "EndedJob",
    "EnqueueOptions",
    "EnqueueResult",
    "EnvironmentPaths",
    "ForgeJobs",
    "ForgeJobsError",
    "InvalidInputError",
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
