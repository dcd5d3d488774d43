"""An application that shares its database with the jobs: ``ForgeJobs(app, db=db)``.

Flask-SQLAlchemy makes its engines in its own ``init_app``, which may come after ours,
and Alembic may be imported later still. What needs them waits for the first application
context, without which neither can be used. This module does not import SQLAlchemy until
it is given a database of it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from flask import Flask, appcontext_pushed

from flask_forge_jobs.alembic import old_version, protect_tables
from flask_forge_jobs.config.database import (
    FILE_KEY,
    URL_KEY,
    ChosenDatabase,
    DatabaseSettings,
    Tuning,
)
from flask_forge_jobs.config.engine_urls import engine_location
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.errors import ConfigurationError, InvalidInputError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.sqlite import disable_autocheckpoint

logger = get_logger(__name__)

SOURCE = "SQLALCHEMY_DATABASE_URI"
OPTIONS_KEY = "SQLALCHEMY_ENGINE_OPTIONS"
BINDS_KEY = "SQLALCHEMY_BINDS"
# Of Flask-SQLAlchemy-Lite, in place of the three.
ENGINES_KEY = "SQLALCHEMY_ENGINES"
ALEMBIC_TABLE = "alembic_version"


class FlaskSQLAlchemy(Protocol):
    """``db``, the database of Flask-SQLAlchemy 3 or Flask-SQLAlchemy-Lite."""

    @property
    def engines(self) -> Mapping[Any, Any]:
        """The engines of the current application by name.

        The key of the default is None, and ``default`` in Flask-SQLAlchemy-Lite.
        """


def share(
    app: Flask,
    settings: Settings,
    db: FlaskSQLAlchemy | None,
    chosen: Callable[[], ChosenDatabase],
) -> ChosenDatabase:
    """Return the database of the jobs, and prepare an application that shares it.

    Its Alembic leaves the tables of the jobs alone, and with ``db`` its connections to
    a SQLite file leave the checkpoints to the jobs.

    Args:
        app: The application.
        settings: Its settings.
        db: Its database, if the jobs use that; initialised or not.
        chosen: Chooses a database without ``db``.

    Raises:
        ConfigurationError: The jobs cannot use ``db``, or a setting names another
            database.
        TypeError: ``db`` is something else.
    """
    if db is None:
        database = chosen()
        if not protect_tables():
            _at_first_context(app, lambda: True)
        return database
    if not hasattr(type(db), "engines"):  # its value needs an application context
        raise TypeError(
            "db= takes the SQLAlchemy object of Flask-SQLAlchemy 3 or "
            f"Flask-SQLAlchemy-Lite, not {type(db).__name__}"
        )
    with app.app_context():
        database = _choose(app, settings, db, chosen)
        is_ready = _prepare_engines(db, database)

    def prepare() -> bool:
        if not _prepare_engines(db, database):
            return False
        if _choose(app, settings, db, chosen) != database:
            logger.error(
                "the database of db= is not %s, which it was in ForgeJobs.init_app and "
                "where the jobs are; configure the application before that",
                database.settings.dsn_for_display,
            )
        return True

    if not (protect_tables() and is_ready):
        _at_first_context(app, prepare)
    return database


def _at_first_context(app: Flask, work: Callable[[], bool]) -> None:
    """Run the calls that had to wait, once."""

    def receive(sender: Flask, **_: object) -> None:
        protect_tables()
        if work():
            appcontext_pushed.disconnect(receive, sender)

    appcontext_pushed.connect(receive, app, weak=False)


# -- the address ---------------------------------------------------------------------


def _choose(
    app: Flask,
    settings: Settings,
    db: FlaskSQLAlchemy,
    chosen: Callable[[], ChosenDatabase],
) -> ChosenDatabase:
    if settings.database_file is not None:
        raise ConfigurationError(
            FILE_KEY, "names a database, and so does db=; leave one of them out"
        )
    databases = _Databases(app, settings, db)
    if settings.database_url is None:
        return databases.default()
    database = chosen()
    if not any(_is_same(database.settings, each) for each in databases.all()):
        raise ConfigurationError(
            URL_KEY, "names another database than db=; leave one of them out"
        )
    return database


class _Databases:
    """The databases that Flask-SQLAlchemy has for an application, or will have."""

    def __init__(self, app: Flask, settings: Settings, db: FlaskSQLAlchemy) -> None:
        self._app = app
        self._tuning = Tuning.from_settings(settings)
        self._is_lite = _is_lite(db)
        self._source = ENGINES_KEY if self._is_lite else SOURCE
        self._options = (_lite_options if self._is_lite else _engine_options)(app, db)
        engines = _engines(db) or {}
        self._engines = _by_key(engines) if self._is_lite else engines

    def default(self) -> ChosenDatabase:
        """Return the default database, which must suit the jobs."""
        options = self._options.get(None, {})
        if None not in self._engines and "url" not in options:
            lacks = "has no default" if self._is_lite else "is not set"
            raise ConfigurationError(
                self._source,
                f"{lacks}, but db= takes it; set it before ForgeJobs.init_app",
            )
        if "creator" in options:
            raise ConfigurationError(
                ENGINES_KEY if self._is_lite else OPTIONS_KEY,
                "has a creator, which only SQLAlchemy can call; name the same database "
                f"by {URL_KEY}",
            )
        try:
            settings = self._settings(None)
        except InvalidInputError as error:
            raise ConfigurationError(self._source, error.message) from None
        if settings.is_memory and not self._app.testing:
            raise ConfigurationError(
                self._source,
                "is a database in memory, which no connection of the jobs can see; "
                "name a file, or set TESTING before ForgeJobs.init_app in tests",
            )
        return ChosenDatabase(settings)

    def all(self) -> Iterator[DatabaseSettings]:
        """Yield the databases that jobs could use."""
        for key in self._engines or self._options:
            with contextlib.suppress(InvalidInputError):
                yield self._settings(key)

    def _settings(self, key: str | None) -> DatabaseSettings:
        from sqlalchemy.engine import URL, make_url
        from sqlalchemy.exc import ArgumentError

        options = self._options.get(key, {})
        engine = self._engines.get(key)
        try:
            given = options["url"] if engine is None else engine.url
            url = URL.create(**given) if isinstance(given, dict) else make_url(given)
        except (ArgumentError, TypeError, ValueError):
            raise InvalidInputError("url", "is not a URL of SQLAlchemy") from None
        location = engine_location(
            url, options.get("connect_args") or {}, Path(self._app.instance_path)
        )
        return DatabaseSettings.from_location(location, self._tuning, self._source)


def _engine_options(
    app: Flask, db: FlaskSQLAlchemy
) -> Mapping[str | None, Mapping[str, Any]]:
    """Return the arguments that Flask-SQLAlchemy passes to ``create_engine``."""
    common: Mapping[str, Any] = getattr(db, "_engine_options", {})
    options: dict[str | None, dict[str, Any]] = {}
    for key, bind in (app.config.get(BINDS_KEY) or {}).items():
        options[key] = {**common, **(bind if isinstance(bind, dict) else {"url": bind})}
    default = {**common, **(app.config.get(OPTIONS_KEY) or {})}
    if (url := app.config.get(SOURCE)) is not None:
        default["url"] = url
    if "url" in default:
        options[None] = {**options.get(None, {}), **default}
    return {key: each for key, each in options.items() if "url" in each}


def _is_lite(db: FlaskSQLAlchemy) -> bool:
    return hasattr(type(db), "async_engines")


def _lite_options(
    app: Flask, db: FlaskSQLAlchemy
) -> Mapping[str | None, Mapping[str, Any]]:
    """Return the arguments that Flask-SQLAlchemy-Lite passes to ``create_engine``."""
    common: Mapping[str, Any] = getattr(db, "_engine_options", {})
    options = {
        name: {**common, **(each if isinstance(each, dict) else {"url": each})}
        for name, each in (app.config.get(ENGINES_KEY) or {}).items()
    }
    return _by_key({name: each for name, each in options.items() if "url" in each})


def _by_key(named: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return engines or options by the keys of Flask-SQLAlchemy."""
    return {None if name == "default" else name: each for name, each in named.items()}


def _is_same(first: DatabaseSettings, second: DatabaseSettings) -> bool:
    """Return whether two addresses may be one database.

    A server has several addresses: its own and that of a pooler, for instance.
    """
    if first.backend != second.backend:
        return False
    if first.backend == "postgres":
        return first.database == second.database
    if first.path is None or second.path is None:
        return first.path is second.path
    return os.path.realpath(first.path) == os.path.realpath(second.path)


# -- the engines ---------------------------------------------------------------------


def _engines(db: FlaskSQLAlchemy) -> Mapping[Any, Any] | None:
    """Return the engines of the current application, None before ``db.init_app``."""
    try:
        return db.engines
    except RuntimeError:
        return None


def _prepare_engines(db: FlaskSQLAlchemy, database: ChosenDatabase) -> bool:
    """Leave checkpoints to the jobs; return False if there is no engine yet."""
    engines = _engines(db)
    path = database.settings.path
    for engine in (engines or {}).values():
        file = _sqlite_file(engine)
        if (
            path is not None
            and file is not None
            and os.path.realpath(file) == os.path.realpath(path)
        ):
            _leave_checkpoints(engine)
    return engines is not None


def _sqlite_file(engine: Any) -> Path | None:
    """Return the file of an engine, whose URL may hold a ``file:`` URI."""
    if engine.dialect.name != "sqlite":
        return None
    try:
        return engine_location(engine.url, {}, Path()).get("path")
    except InvalidInputError:  # encrypted or read-only
        return None


def _leave_checkpoints(engine: Any) -> None:
    from sqlalchemy import event

    if not event.contains(engine, "connect", disable_autocheckpoint):
        event.listen(engine, "connect", disable_autocheckpoint)
        engine.dispose()  # connections that were opened before


def warn_of_old_alembic(app: Flask, settings: DatabaseSettings) -> None:
    """Log :func:`alembic_hazard`."""
    if hazard := alembic_hazard(app, settings):
        logger.warning("%s", hazard)


def alembic_hazard(app: Flask, settings: DatabaseSettings) -> str | None:
    """Return that an Alembic without plug-ins keeps the tables beside ours, or None.

    Its ``env.py`` may do without the application. With Flask-Migrate it does not.
    """
    installed = old_version()
    if installed is None or "migrate" in app.extensions:
        return None
    from flask_forge_jobs.storage.administration import contents

    with contextlib.suppress(StorageError):
        existing = contents(settings)
        if existing is not None and ALEMBIC_TABLE in existing.others:
            return (
                f"Alembic {installed} drops the tables of the jobs with its next "
                "autogenerated migration, unless env.py imports your ForgeJobs() or "
                "passes include_name of flask_forge_jobs.alembic; install Alembic 1.18 "
                "or newer, which leaves them alone"
            )
    return None
