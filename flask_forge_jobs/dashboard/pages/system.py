"""The system: health of the database, its facts, settings in force, versions."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from flask import current_app
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.config.settings import MASK, options
from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.health import Health, in_words, needs_of
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.handlers.readiness import readiness
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.standby import StandbyState
from flask_forge_jobs.state import EXTENSION_NAME, ApplicationState

# A person waits for this page.
LIMIT_S = 1.0
# Of a setting, such as a long list of hosts.
LONGEST_VALUE = 1_000
PACKAGES = (
    "flask-forge-jobs", "Flask", "Werkzeug", "SQLAlchemy", "psycopg2-binary",
    "psycopg2", "psycopg", "gunicorn",
)  # fmt: skip

# Facts of the database that the list of versions, a check or its driver has.
_SAID = frozenset(
    ("package_version", "python_version", "schema_version", "sqlite_version")
)
# Settings whose zero does not mean none.
_ZEROS: Mapping[str, str] = {"FORGE_JOBS_MAX_QUEUE_DEPTH": "no bound"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in force; ``is_changed`` says that it is not the default."""

    key: str
    value: str
    is_changed: bool


class SystemView:
    """Everything about the installation; each part is read when it is shown."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @cached_property
    def health(self) -> Health:
        """The results of the readiness checks."""
        api = self._api
        ready = readiness(api.storage, api.scope.queues, limit_s=LIMIT_S)
        return in_words(ready, *needs_of(api))

    @cached_property
    def facts(self) -> Sequence[tuple[str, str]]:
        """Names and values of the database; none if it does not answer."""
        try:
            info = self._api.storage.describe()
            sizes = self._api.storage.samples.health()
        except StorageError:
            return ()
        own = [each for each in info.fields if each[0] not in _SAID]
        facts = [("backend", info.backend), *map(_in_words, own)]
        log = f", {words.size(sizes.wal_bytes)} of log" if sizes.wal_bytes else ""
        facts.append(("size", f"{words.size(sizes.db_size_bytes)} of data{log}"))
        if sizes.pool_max:
            used, idle = sizes.pool_active, sizes.pool_idle
            connections = f"{used:,} busy, {idle:,} idle, {sizes.pool_max:,} possible"
            facts.append(("connections", connections))
        if self._api.standby is not None:
            facts.append(("standby for reads", _of_standby(self._api.standby.look())))
        return [(f"{name[:1].upper()}{name[1:]}", value) for name, value in facts]

    @cached_property
    def settings(self) -> Sequence[Setting]:
        """The settings of the application by name.

        None for callers that are limited to some queues, and in an application that
        mounts the blueprint by itself.
        """
        state = current_app.extensions.get(EXTENSION_NAME)
        is_limited = self._api.scope.queues is not None
        if is_limited or not isinstance(state, ApplicationState):
            return ()
        mask = self._api.masking_redactor.text
        rows = []
        for option in options():
            name = option.key.lower().removeprefix("forge_jobs_")
            value = getattr(state.settings, name)
            is_changed = value != option.default
            text = _ZEROS.get(option.key) if value == 0 else None
            text = text or mask(_text(value, option.unit))
            shown = MASK if option.secret and value else text
            rows.append(Setting(option.key, one_line(shown, LONGEST_VALUE), is_changed))
        return sorted(rows, key=lambda row: row.key)


def system(api: Api) -> Mapping[str, object]:
    """Show the health of the database, its facts, settings in force and versions."""
    return {"view": SystemView(api), "versions": versions()}


@cache  # a process keeps what it has imported, and their files take milliseconds
def versions() -> Sequence[tuple[str, str]]:
    """Return Python, and the packages that are installed, with their versions."""
    known = [("Python", platform.python_version())]
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            known.append((name, version(name)))
    return known


def _in_words(field: tuple[str, str]) -> tuple[str, str]:
    name, value = field
    if name.endswith("_secs"):
        name, value = name.removesuffix("_secs"), f"{value} seconds"
    return name.replace("_", " ").replace("sqlite", "SQLite"), value


def _of_standby(state: StandbyState) -> str:
    lag = "far behind" if state.lag_s is None else f"{state.lag_s:.1f} s behind"
    condition = f"not used: {state.fault}" if state.fault else lag
    asked = state.answered + state.instead
    return f"{condition}; this process: {state.answered:,} of {asked:,} reads"


def _text(value: object, unit: str) -> str:
    if value is None or value in ((), {}):
        return "none"
    if value == "":
        return "empty"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        whole = int(value)
        return f"{whole if whole == value else value:,} {unit}".rstrip()
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {each}" for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value))
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    return str(value)


ROUTES = (
    # Not refreshed: its checks ask the database several times.
    page(
        "/system", system, reach=Reach.VIEW, nav="System", icon="system", order=44,
        key="y", is_current=True,
    ),
)  # fmt: skip
