"""Every ``FORGE_JOBS_`` setting of a Flask application, in one table.

The fields of :class:`Settings` are the table, from which the reference page is
generated. A setting that is not in the table is refused, because a misspelt one would
silently have no effect.
"""

# ruff: noqa: RUF009  # each default is a field

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from flask_forge_jobs.config import checks
from flask_forge_jobs.config.checks import is_service_link, near_match, with_prefix
from flask_forge_jobs.config.option import Option, option
from flask_forge_jobs.config.urls import CONNECT_TIMEOUT_RANGE_S, url_or_none
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.jobs import DEFAULT_MAX_KINDS
from flask_forge_jobs.model.masking import DEFAULT_REDACT_KEYS
from flask_forge_jobs.model.queues import BEHIND_S, DEFAULT_MAX_QUEUES

PREFIX = "FORGE_JOBS_"
MASK = "***"
POOL_SIZE = checks.integer(1, 1_000)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LinesLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "off"]


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The checked settings of one application."""

    database_url: str | None = option(
        None,
        url_or_none(),
        "The database. A relative SQLite path starts in the instance folder. By "
        "default ``queue_database.toml`` names it; without that file it is "
        "``queue.sqlite`` in the instance folder.",
        secret=True,
    )
    database_file: Path | None = option(
        None,
        checks.FILE_OR_NONE,
        "A ``queue_database.toml`` to use instead of searching for one. "
        "``FORGE_JOBS_DATABASE_URL`` overrides it.",
    )
    listen_url: str | None = option(
        None,
        url_or_none(backend="postgres"),
        "A PostgreSQL URL that supports ``LISTEN``, if the database is behind a "
        "pooler. By default ``LISTEN`` uses the address of the database, and workers "
        "behind a pooler poll.",
        secret=True,
    )
    read_database_url: str | None = option(
        None,
        url_or_none(backend="postgres"),
        "A hot standby of the PostgreSQL database, for the lists and figures of the "
        "dashboard and the API; see :doc:`/howto/standby`. By default the primary "
        "answers everything.",
        secret=True,
    )
    read_max_lag_s: float = option(
        5.0,
        checks.seconds(1, 3600),
        "How old an answer of the standby may be. While it is further behind, the "
        "primary answers.",
        unit="seconds",
    )
    url_prefix: str = option(
        "/forge-jobs", checks.URL_PREFIX, "The URL prefix of the routes."
    )
    auth: Callable[..., object] | Literal["bearer"] | None = option(
        None,
        checks.AUTHENTICATOR,
        "``'bearer'`` accepts only the tokens of ``FORGE_JOBS_TOKENS``. A callable "
        "takes the request and returns a :class:`~flask_forge_jobs.Principal`, True to "
        "allow everything, or None to refuse; a valid token comes first. Without "
        "tokens and callable, only clients on this machine are allowed, and only in "
        "debug mode, in tests and by ``forge-jobs-server --open``.",
    )
    tokens: tuple[Mapping[str, object], ...] = option(
        (),
        checks.ENTRIES,
        "The bearer tokens, each with ``id``, ``sha256``, ``role`` (``metrics``, "
        "``viewer``, ``operator`` or ``admin``) and optionally ``queues`` and "
        "``expires_at``. ``flask forge-jobs token new`` prints an entry. Tokens work "
        "whether or not ``FORGE_JOBS_AUTH`` is set.",
        secret=True,
    )
    max_body_bytes: int = option(
        2 * 1024 * 1024,
        checks.integer(1024, 1024**3),
        "Largest request body; a longer one gets 413.",
        unit="bytes",
    )
    bulk_max: int = option(
        50_000,
        checks.integer(1, 10_000_000),
        "Most jobs of one bulk call; repeat the call for the rest.",
        unit="jobs",
    )
    strict_queues: bool = option(
        False,
        checks.BOOLEAN,
        "Whether a request to enqueue to an unknown queue gets 404 instead of creating "
        "the queue.",
    )
    max_queue_depth: int = option(
        0,
        checks.integer(0, 1_000_000_000),
        "Most jobs that may wait in a queue, including scheduled jobs and retries, "
        "before a request to enqueue gets 429. 0 means no limit but the queue's own. "
        "It does not apply to Python code.",
        unit="jobs",
    )
    max_queues: int = option(
        DEFAULT_MAX_QUEUES,
        checks.integer(1, 1_000_000),
        "Most queues. Enqueueing to or creating one more is refused, over HTTP with "
        "400. Each queue adds gauges to ``/metrics``.",
        unit="queues",
    )
    max_kinds: int = option(
        DEFAULT_MAX_KINDS,
        checks.integer(1, 1_000_000),
        "Most kinds of stored jobs and schedules. A request that names one more gets "
        "400, unless the application has a task of that kind. A kind is free again "
        "once it has no job and no schedule. For a credential with ``queues``, only "
        "jobs in these count. It does not apply to Python code.",
        unit="kinds",
    )
    enable_demo: bool = option(
        False, checks.BOOLEAN, "Whether ``POST /jobs/enqueue-demo`` exists."
    )
    redact_keys: tuple[str, ...] = option(
        (),
        checks.NAMES,
        "Keys whose values are masked, in addition to "
        "``FORGE_JOBS_REDACT_DEFAULT_KEYS``.",
    )
    redact_default_keys: tuple[str, ...] = option(
        DEFAULT_REDACT_KEYS,
        checks.NAMES,
        "Keys whose values are masked by default; set it to replace the list.",
    )
    redact: Callable[..., object] | None = option(
        None,
        checks.CALLABLE_OR_NONE,
        "Takes a job (None for a schedule) and its payload, masked by key, and returns "
        "the payload to show. If it fails, the whole payload is masked.",
    )
    link_secrets: tuple[str, ...] = option(
        (),
        checks.SECRETS,
        "Secrets that sign status links, the newest first. An empty list uses "
        "``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``.",
        secret=True,
    )
    metrics_auth: Literal["same", "token", "none"] = option(
        "same",
        checks.one_of("same", "token", "none"),
        "Who may read ``/metrics``: ``same`` as for other routes, ``token`` for bearer "
        "tokens only, ``none`` for everybody.",
    )
    read_only: bool = option(
        False,
        checks.BOOLEAN,
        "Whether to refuse every change over HTTP, whatever the caller's role.",
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        checks.NAMES,
        "Allowed ``Host`` headers of requests without a valid token, such as "
        "``jobs.example.org`` or ``jobs.example.org:8443``, in addition to this "
        "machine's. An empty list allows every host.",
    )
    cors_origins: tuple[str, ...] = option(
        (),
        checks.ORIGINS,
        "Origins whose pages may read responses, such as ``https://ops.example.org``. "
        "They must send a bearer token.",
    )
    rate_limits: Mapping[str, str] = option(
        {},
        checks.TEXTS_BY_NAME,
        "Rate limits of the classes ``read``, ``write`` and ``bulk``, such as "
        "``{'write': '20/second', 'bulk': '10/minute; 100/day'}``, per second, minute, "
        "hour or day. They apply per caller and process.",
    )
    dashboard: bool = option(
        True,
        checks.BOOLEAN,
        "Whether to serve the pages for people; see :doc:`/howto/dashboard`. The API "
        "stays either way.",
    )
    dashboard_title: str = option(
        "Forge Jobs", checks.TEXT, "The name at the top of the pages."
    )
    dashboard_badge: str | None = option(
        None,
        checks.or_none(checks.TEXT),
        "The name of the environment beside the title, such as ``production``.",
    )
    dashboard_colour: Literal["red", "amber", "green", "blue", "violet"] = option(
        "red",
        checks.one_of("red", "amber", "green", "blue", "violet"),
        "The colour of the badge.",
    )
    dashboard_logo: str | None = option(
        None, checks.LINK_OR_NONE, "The address of an image beside the title."
    )
    dashboard_home: str | None = option(
        None, checks.LINK_OR_NONE, "The address of the link back to the application."
    )
    dashboard_login: str | None = option(
        None,
        checks.LINK_OR_NONE,
        "The address of the application's own sign-in page, for visitors.",
    )
    dashboard_links: Mapping[str, str] = option(
        {},
        checks.LINKS,
        "Further links in the navigation, such as ``{'Runbook': '/runbook'}``.",
    )
    status_template: str | None = option(
        None,
        checks.or_none(checks.TEXT),
        "Template of status links: :doc:`/howto/results`.",
    )
    dashboard_streams: int | None = option(
        None,
        checks.or_none(checks.integer(0, 64)),
        "How many open pages a process serves as event streams, with a thread each; "
        "others poll. None: a quarter of forge-jobs-server's threads, or 8 of flask's.",
    )
    behind_s: float = option(
        BEHIND_S,
        checks.seconds(1, 30 * 86_400),
        "From which wait of its oldest due job on a queue is behind; a fifth is amber.",
        unit="seconds",
    )
    sqlite_synchronous: Literal["FULL", "NORMAL"] = option(
        "FULL",
        checks.one_of("FULL", "NORMAL"),
        "``FULL`` waits for the disk at each commit. ``NORMAL`` is faster and may lose "
        "the last commits in a power failure.",
    )
    sqlite_busy_timeout_s: float = option(
        30.0,
        checks.seconds(0, 600),
        "How long to wait for another writer of the SQLite file.",
        unit="seconds",
    )
    pool_size: int = option(
        30, POOL_SIZE, "Most PostgreSQL connections per process.", unit="connections"
    )
    connect_timeout_s: int = option(
        5,
        checks.integer(*CONNECT_TIMEOUT_RANGE_S),
        "How long to wait for a PostgreSQL connection.",
        unit="seconds",
    )
    statement_timeout_s: float = option(
        10.0,
        checks.seconds(0.1, 3600),
        "Time limit of a PostgreSQL statement.",
        unit="seconds",
    )
    lease_s: float = option(
        60.0,
        checks.seconds(1, 3600),
        "How long a worker may be silent before another one rescues its jobs.",
        unit="seconds",
    )
    batch_open_s: float = option(
        3600.0,
        checks.seconds(1, 86_400 * 30),
        "How long a batch stays open to which its producer adds nothing, or up to a "
        "minute longer. Then it is cancelled, for its producer has died.",
        unit="seconds",
    )
    shutdown_grace_s: float = option(
        30.0,
        checks.seconds(0, 3600),
        "How long a stopping worker waits for its running jobs before it returns them "
        "to the queue.",
        unit="seconds",
    )
    cancel_grace_s: float = option(
        10.0,
        checks.seconds(0, 3600),
        "How long a task may take to stop after its time limit, before its slot is "
        "freed.",
        unit="seconds",
    )
    log_lines: LinesLevel = option(
        "INFO",
        checks.one_of(*LOG_LEVELS, "off"),
        "From which level on the lines that a task logs are kept with its job; "
        "``off`` keeps none. See :doc:`/howto/log_lines`.",
    )
    log_print: bool = option(
        False,
        checks.BOOLEAN,
        "Whether what a task prints is kept, too, unless ``FORGE_JOBS_LOG_LINES`` is "
        "``off``.",
    )
    migrate: bool = option(
        True,
        checks.BOOLEAN,
        "Whether the first use migrates the schema. With False, run ``flask forge-jobs "
        "db migrate`` first; an old schema is an error.",
    )
    inline: Literal["auto", "on", "off"] = option(
        "auto",
        checks.one_of("auto", "on", "off"),
        "Whether jobs run at once where Python code enqueues them, if they are due and "
        "their task is registered here. ``auto``: under ``TESTING``. Jobs enqueued "
        "over HTTP or with ``connection=`` always wait for a worker.",
    )
    embedded_worker: Literal["auto", "on", "off"] = option(
        "auto",
        checks.one_of("auto", "on", "off"),
        "Whether the process that serves the application also runs its jobs. ``auto``: "
        "under ``flask run`` and ``app.run()``. ``on``: also under gunicorn and other "
        "servers; see :doc:`/howto/embed`.",
    )

    @property
    def log_level(self) -> int | None:
        """The level from which on lines are kept; None keeps none."""
        return logging.getLevelNamesMapping().get(self.log_lines)

    @property
    def masked_keys(self) -> tuple[str, ...]:
        """Every key whose values are masked."""
        return (*self.redact_default_keys, *self.redact_keys)

    @classmethod
    def from_mapping(cls, config: Mapping[str, object]) -> Settings:
        """Read the settings of an application, ignoring keys without our prefix.

        Raises:
            ConfigurationError: A setting is unknown, its prefix misspelt or its value
                invalid. The message never repeats a value.
        """
        names = {f"{PREFIX}{each.name.upper()}": each for each in fields(cls)}
        values: dict[str, Any] = {}
        for key in config:
            if not key.startswith(PREFIX):
                _check_prefix(key, names)
                continue
            if is_service_link(key, config[key]):
                continue
            if key not in names:
                raise ConfigurationError(
                    key, f"unknown setting{near_match(key, names, PREFIX)}"
                )
            column = names[key]
            try:
                values[column.name] = column.metadata["check"](config[key])
            except checks.RefusedError as error:
                raise ConfigurationError(key, str(error)) from None
        return cls(**values)

    def __repr__(self) -> str:
        values = ((each, getattr(self, each.name)) for each in fields(self))
        shown = (
            f"{e.name}={MASK if e.metadata['secret'] and v is not None else v!r}"
            for e, v in values
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def options() -> Iterator[Option]:
    """Yield the rows of the table."""
    default = Settings()
    for each in fields(Settings):
        row = {name: value for name, value in each.metadata.items() if name != "check"}
        key = f"{PREFIX}{each.name.upper()}"
        yield Option(key=key, default=getattr(default, each.name), **row)


def _check_prefix(key: str, names: Container[str]) -> None:
    if key == PREFIX.rstrip("_"):
        raise ConfigurationError(key, f"write a key for each, as {PREFIX}DATABASE_URL")
    if meant := with_prefix(PREFIX, key, names):
        raise ConfigurationError(key, f"unknown setting; did you mean {meant!r}")
