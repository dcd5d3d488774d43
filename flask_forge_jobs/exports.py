"""The public names of the package.

Imported under its own name once more, a name is public to type checkers.
"""

# ruff: noqa: PLC0414  # on purpose

from __future__ import annotations

from flask_forge_jobs.auth.permissions import Permission as Permission
from flask_forge_jobs.auth.permissions import Principal as Principal
from flask_forge_jobs.auth.tokens import TokenSet as TokenSet
from flask_forge_jobs.blueprint import BlueprintOptions as BlueprintOptions
from flask_forge_jobs.blueprint import create_blueprint as create_blueprint
from flask_forge_jobs.config.database import DatabaseSettings as DatabaseSettings
from flask_forge_jobs.config.paths import EnvironmentPaths as EnvironmentPaths
from flask_forge_jobs.config.paths import QueuePaths as QueuePaths
from flask_forge_jobs.errors import AlreadyRunningError as AlreadyRunningError
from flask_forge_jobs.errors import BatchEndedError as BatchEndedError
from flask_forge_jobs.errors import BatchNotFoundError as BatchNotFoundError
from flask_forge_jobs.errors import BatchUnfinishedError as BatchUnfinishedError
from flask_forge_jobs.errors import ConfigurationError as ConfigurationError
from flask_forge_jobs.errors import ConflictError as ConflictError
from flask_forge_jobs.errors import CountDiffersError as CountDiffersError
from flask_forge_jobs.errors import DedupeKeyTakenError as DedupeKeyTakenError
from flask_forge_jobs.errors import DuplicateJobError as DuplicateJobError
from flask_forge_jobs.errors import ForgeJobsError as ForgeJobsError
from flask_forge_jobs.errors import InvalidInputError as InvalidInputError
from flask_forge_jobs.errors import JobNotFoundError as JobNotFoundError
from flask_forge_jobs.errors import JobStateError as JobStateError
from flask_forge_jobs.errors import MigrationError as MigrationError
from flask_forge_jobs.errors import NotFoundError as NotFoundError
from flask_forge_jobs.errors import QueueExistsError as QueueExistsError
from flask_forge_jobs.errors import QueueFullError as QueueFullError
from flask_forge_jobs.errors import QueueNotEmptyError as QueueNotEmptyError
from flask_forge_jobs.errors import QueueNotFoundError as QueueNotFoundError
from flask_forge_jobs.errors import RateLimitedError as RateLimitedError
from flask_forge_jobs.errors import RateLimitNotFoundError as RateLimitNotFoundError
from flask_forge_jobs.errors import RequestKeyReusedError as RequestKeyReusedError
from flask_forge_jobs.errors import ScheduleExistsError as ScheduleExistsError
from flask_forge_jobs.errors import ScheduleNotFoundError as ScheduleNotFoundError
from flask_forge_jobs.errors import SchemaTooNewError as SchemaTooNewError
from flask_forge_jobs.errors import StaleSettingsError as StaleSettingsError
from flask_forge_jobs.errors import StorageBusyError as StorageBusyError
from flask_forge_jobs.errors import StorageCorruptError as StorageCorruptError
from flask_forge_jobs.errors import StorageError as StorageError
from flask_forge_jobs.errors import (
    StorageOutcomeUnknownError as StorageOutcomeUnknownError,
)
from flask_forge_jobs.errors import StorageUnavailableError as StorageUnavailableError
from flask_forge_jobs.extension import ForgeJobs as ForgeJobs
from flask_forge_jobs.handlers.bulk import BulkLimits as BulkLimits
from flask_forge_jobs.handlers.redaction import Redactor as Redactor
from flask_forge_jobs.model.batches import EndedBatch as EndedBatch
from flask_forge_jobs.model.cron_expression import parse_cron as parse_cron
from flask_forge_jobs.model.jobs import EnqueueResult as EnqueueResult
from flask_forge_jobs.model.jobs import Job as Job
from flask_forge_jobs.model.jobs import JobFilter as JobFilter
from flask_forge_jobs.model.jobs import JobStatus as JobStatus
from flask_forge_jobs.model.jobs import NewJob as NewJob
from flask_forge_jobs.model.outcomes import Dead as Dead
from flask_forge_jobs.model.outcomes import Done as Done
from flask_forge_jobs.model.outcomes import EndedJob as EndedJob
from flask_forge_jobs.model.outcomes import Snooze as Snooze
from flask_forge_jobs.model.outcomes import Throttled as Throttled
from flask_forge_jobs.model.run_end import CancelReason as CancelReason
from flask_forge_jobs.runtime.passes import cron_tick_once as cron_tick_once
from flask_forge_jobs.runtime.passes import fold_metrics_once as fold_metrics_once
from flask_forge_jobs.runtime.passes import reap_once as reap_once
from flask_forge_jobs.runtime.passes import rebalance_once as rebalance_once
from flask_forge_jobs.runtime.runtime import QueueRuntime as QueueRuntime
from flask_forge_jobs.runtime.worker import RuntimeHandle as RuntimeHandle
from flask_forge_jobs.storage.base import DatabaseConfig as DatabaseConfig
from flask_forge_jobs.storage.base import Storage as Storage
from flask_forge_jobs.storage.base import open_storage as open_storage
from flask_forge_jobs.tasks.batch_blocks import BatchBlock as BatchBlock
from flask_forge_jobs.tasks.batches import BatchHandle as BatchHandle
from flask_forge_jobs.tasks.batches import ParentJob as ParentJob
from flask_forge_jobs.tasks.bundled.child_pool import ChildPool as ChildPool
from flask_forge_jobs.tasks.bundled.cmd_exec import CmdExec as CmdExec
from flask_forge_jobs.tasks.bundled.noop_echo import NoopEcho as NoopEcho
from flask_forge_jobs.tasks.cancellation import CancelledError as CancelledError
from flask_forge_jobs.tasks.cancellation import CancelToken as CancelToken
from flask_forge_jobs.tasks.context import TaskContext as TaskContext
from flask_forge_jobs.tasks.context import current_job as current_job
from flask_forge_jobs.tasks.decorator import Task as Task
from flask_forge_jobs.tasks.handles import JobHandle as JobHandle
from flask_forge_jobs.tasks.options import EnqueueOptions as EnqueueOptions
from flask_forge_jobs.tasks.options import TaskOptions as TaskOptions
from flask_forge_jobs.tasks.registry import TaskRegistry as TaskRegistry
from flask_forge_jobs.tasks.retries import exponential as exponential
from flask_forge_jobs.tasks.routing import DefaultRouter as DefaultRouter
from flask_forge_jobs.tasks.routing import KindPrefixRouter as KindPrefixRouter
from flask_forge_jobs.tasks.routing import Router as Router
from flask_forge_jobs.tasks.routing import queues_from_env as queues_from_env
