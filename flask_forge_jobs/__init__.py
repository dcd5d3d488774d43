"""Durable background jobs for Flask on SQLite and PostgreSQL."""

from __future__ import annotations

import sys

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
from flask_forge_jobs.config.paths import QueuePaths
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
    SchemaTooNewError,
    StaleSettingsError,
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.extension import ForgeJobs
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, PutOff, Throttled
from flask_forge_jobs.runtime.handle import RuntimeHandle
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.connect import DatabaseConfig, open_storage
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

# The build reads it from here, without an import.
__version__ = "0.1.0"

__all__ = [
    "AlreadyRunningError",
    "BlueprintOptions",
    "CancelReason",
    "CancelToken",
    "CancelledError",
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
    "ForgeJobs",
    "ForgeJobsError",
    "InvalidInputError",
    "JobNotFoundError",
    "JobStateError",
    "JobStatus",
    "KindPrefixRouter",
    "MigrationError",
    "NewJob",
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
    "RequestKeyReusedError",
    "Router",
    "RuntimeHandle",
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
    "current_job",
    "open_storage",
    "queues_from_env",
]
