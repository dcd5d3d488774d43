"""Puts the parts of an application together: storage, worker, API, command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, current_app, url_for
from werkzeug.serving import is_running_from_reloader

from flask_forge_jobs.api.addresses import STATUS_ENDPOINT
from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.blueprint import BLUEPRINT_NAME, create_blueprint
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.config.database import ChosenDatabase
from flask_forge_jobs.config.paths import FixedPaths, QueuePaths
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.config.variables import (
    CHANNEL_VARIABLE,
    CHILD_VARIABLE,
    PARENT_PIPE_VARIABLE,
    warn_of_ignored_variables,
)
from flask_forge_jobs.embedded import embed_worker
from flask_forge_jobs.model.masking import Masking
from flask_forge_jobs.runtime.hints import Hints
from flask_forge_jobs.sharing import FlaskSQLAlchemy, share
from flask_forge_jobs.signals import SignalObserver
from flask_forge_jobs.state import EXTENSION_NAME, ApplicationState, inline_rule
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.tasks.bundled import noop_echo

if TYPE_CHECKING:
    from flask_forge_jobs.clock import Clock
    from flask_forge_jobs.storage.base import Storage
    from flask_forge_jobs.storage.standby import Standby
    from flask_forge_jobs.tasks.registry import TaskRegistry
    from flask_forge_jobs.tasks.routing import Router

# Variables that only a child process of a worker or of the demo server has.
_OF_CHILDREN = frozenset({CHILD_VARIABLE, CHANNEL_VARIABLE, PARENT_PIPE_VARIABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The arguments of :class:`.ForgeJobs`, which makes the parts of applications."""

    registry: TaskRegistry
    router: Router
    clock: Clock
    paths: QueuePaths | None
    database: ChosenDatabase | None
    db: FlaskSQLAlchemy | None
    open_to_loopback: bool

    def add_to(self, app: Flask) -> None:
        """Add the parts to an application; errors as of :meth:`.ForgeJobs.init_app`."""
        if EXTENSION_NAME in app.extensions:
            raise RuntimeError(
                "ForgeJobs.init_app was called twice for one application; "
                "ForgeJobs(app) calls it too, and a second database needs a second "
                "application"
            )
        _warn_of_variables(app.config)
        state = self._state(app, Settings.from_mapping(app.config))
        settings = state.settings
        embed_worker(app, state)
        app.register_blueprint(
            create_blueprint(
                state.storage,
                options=BlueprintOptions.from_settings(
                    settings,
                    router=self.router,
                    registry=self.registry,
                    clock=self.clock,
                    open_to_loopback=self.open_to_loopback,
                ),
                standby=state.standby,
            ),
            url_prefix=settings.url_prefix,
        )
        if settings.enable_demo and self.registry.get(noop_echo.KIND) is None:
            self.registry.add(noop_echo.NoopEcho())
        # Last, so that a failed setup can be tried again.
        app.extensions[EXTENSION_NAME] = state
        app.cli.add_command(forge_jobs_group)

    def _state(self, app: Flask, settings: Settings) -> ApplicationState:
        if self.database is not None and self.db is not None:
            raise TypeError("database= and db= both name the database; leave one out")
        database = share(
            app,
            settings,
            self.db,
            lambda: self.database or _choose_database(app, settings, self.paths),
        )
        storage = open_storage(
            database.settings,
            clock=self.clock,
            migrate=settings.migrate,
            in_memory=lambda: app.testing and database.settings.is_unnamed,
            masking=Masking(settings.masked_keys),
        )
        # Every enqueue reads it, and app.testing costs two calls.
        is_testing = partial(app.config.__getitem__, "TESTING")
        return ApplicationState(
            name=app.name,
            settings=settings,
            database=database,
            storage=storage,
            registry=self.registry,
            router=self.router,
            clock=self.clock,
            observer=SignalObserver(app),
            standby=self._standby(storage, database, settings),
            task_scope=app.app_context,
            status_url=_status_url_of(settings, self.clock),
            is_inline=inline_rule(settings, is_testing),
            hints=Hints(
                storage,
                database.settings,
                self.registry.kinds,
                enabled_by=partial(itemgetter("DEBUG", "TESTING"), app.config),
                is_testing=is_testing,
            ),
        )

    def _standby(
        self, storage: Storage, database: ChosenDatabase, settings: Settings
    ) -> Standby | None:
        if settings.read_database_url is None:
            return None
        # Most applications have none.
        from flask_forge_jobs.storage.standby import Standby

        return Standby(
            storage,
            database.settings.standby(settings.read_database_url),
            max_lag_s=settings.read_max_lag_s,
            clock=self.clock,
        )


def _warn_of_variables(config: Mapping[str, object]) -> None:
    # A process whose parent has loaded the same application repeats nothing.
    if not (is_running_from_reloader() or _OF_CHILDREN & os.environ.keys()):
        warn_of_ignored_variables(config, os.environ)


def _status_url(links: StatusLinks, job_id: str, expires_in_s: float) -> str:
    token = links.token(current_app, job_id, expires_in_s)
    return url_for(f"{BLUEPRINT_NAME}.{STATUS_ENDPOINT}", token=token)


def _status_url_of(settings: Settings, clock: Clock) -> Callable[[str, float], str]:
    return partial(_status_url, StatusLinks(Signer(settings.link_secrets), clock))


def _choose_database(
    app: Flask, settings: Settings, paths: QueuePaths | None
) -> ChosenDatabase:
    """Choose by setting, by file, or the SQLite file in the instance folder."""
    instance = Path(app.instance_path)
    return ChosenDatabase.resolve(settings, paths or FixedPaths(instance, instance))
