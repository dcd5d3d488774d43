"""What one application keeps, and how to find it from a view or a command.

The state hangs on the application, never the other way round, so several applications
in one process do not meet.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app, has_app_context

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.database import DatabaseConfig
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.model.masking import Masking
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import Router

EXTENSION_NAME = "forge_jobs"


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """The parts of one application.

    Args:
        name: The application's own name; cron schedules of its code carry it.
        settings: Its checked keys.
        database: The database that was chosen, and what chose it.
        storage: The stores; opened at the first use.
        registry: Kind to task.
        router: Names the queue of a kind that is enqueued without one.
        clock: Source of time.
        task_scope: Opened around each run of a task: a fresh application context.
    """

    name: str
    settings: Settings
    database: DatabaseConfig
    storage: Storage
    registry: TaskRegistry
    router: Router
    clock: Clock
    task_scope: Callable[[], AbstractContextManager[object]]

    def runtime(self, threads: int) -> QueueRuntime:
        """Return a worker runtime for this application.

        Args:
            threads: Most jobs at once.
        """
        return QueueRuntime(
            self.storage,
            self.registry,
            threads=threads,
            scope=self.task_scope,
            lease_s=self.settings.lease_s,
            cancel_grace_s=self.settings.cancel_grace_s,
            clock=self.clock,
            router=self.router,
            mask=Masking(self.settings.masked_keys).text,
        ).with_schedules_of(self.name)


def state_of(app: Flask) -> ApplicationState:
    """Return the state of an application.

    Raises:
        RuntimeError: ``ForgeJobs.init_app`` was not called for it.
    """
    state = app.extensions.get(EXTENSION_NAME)
    if state is None:
        raise RuntimeError(
            "this application has no ForgeJobs; call forge.init_app(app) first"
        )
    return cast("ApplicationState", state)


def current() -> ApplicationState:
    """Return the state of the current application.

    Raises:
        RuntimeError: There is no application context, or no ForgeJobs in it.
    """
    if not has_app_context():
        raise RuntimeError(
            "ForgeJobs works within an application context: in a view, a command, a "
            "task, or under `with app.app_context():`"
        )
    return state_of(current_app)
