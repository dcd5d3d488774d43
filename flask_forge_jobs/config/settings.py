"""Every ``FORGE_JOBS_`` key of a Flask application, in one table.

The fields of :class:`Settings` are the table: default, unit, check and explanation
stand beside the name, and the reference page of the documentation is generated from
them. A key that is not in the table is refused, because a misspelt key would otherwise
be a setting that nobody applies.
"""

# ruff: noqa: RUF009  # what stands for a default is a field

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from flask_forge_jobs.config import checks
from flask_forge_jobs.config.hints import near_match
from flask_forge_jobs.config.libpq import CONNECT_TIMEOUT_RANGE_S
from flask_forge_jobs.config.urls import url_or_none
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.masking import DEFAULT_REDACT_KEYS
from flask_forge_jobs.model.queues import DEFAULT_MAX_QUEUES

T = TypeVar("T")
PREFIX = "FORGE_JOBS_"
MASK = "***"
POOL_SIZE = checks.integer(1, 1_000)


@dataclass(frozen=True, slots=True)
class Option:
    """What the table says about one key.

    Args:
        key: The name in ``app.config``.
        default: The value when the key is absent.
        accepts: The values that pass the check, in words.
        unit: Unit of the value; empty when it has none.
        meaning: What the key does.
        secret: Whether the value must never be shown.
    """

    key: str
    default: object
    accepts: str
    unit: str
    meaning: str
    secret: bool


def _option(
    default: T,
    check: checks.Check,
    meaning: str,
    *,
    unit: str = "",
    secret: bool = False,
) -> T:
    """Return a field with its row of the table."""
    row = {
        "check": check.read,
        "accepts": check.words,
        "meaning": meaning,
        "unit": unit,
        "secret": secret,
    }
    if isinstance(default, dict):
        return cast("T", field(default_factory=dict, metadata=row))
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The settings of one application, checked.

    Each field is the key of the same name in capitals behind ``FORGE_JOBS_``.
    """

    database_url: str | None = _option(
        None,
        url_or_none(),
        "The database. A relative SQLite path starts in the instance folder. Without "
        "it ``queue_database.toml`` is looked for, and without that a SQLite file "
        "``queue.sqlite`` in the instance folder is used.",
        secret=True,
    )
    database_file: Path | None = _option(
        None,
        checks.file_or_none(),
        "A ``queue_database.toml`` to use instead of looking for one. "
        "``FORGE_JOBS_DATABASE_URL`` comes first.",
    )
    listen_url: str | None = _option(
        None,
        url_or_none(backend="postgres"),
        "A connection for wake-ups that can ``LISTEN``, when the database is reached "
        "through a pooler. Without it ``LISTEN`` uses the database's own address, and "
        "workers that find a pooler there poll.",
        secret=True,
    )
    url_prefix: str = _option(
        "/forge-jobs",
        checks.url_prefix(),
        "Where the routes are mounted.",
    )
    auth: Callable[..., object] | Literal["bearer"] | None = _option(
        None,
        checks.authenticator(),
        "``'bearer'``: only the tokens of ``FORGE_JOBS_TOKENS``. A callable takes the "
        "request and returns a :class:`~flask_forge_jobs.Principal`, True for a caller "
        "that may do everything, or None to refuse; it is asked after the tokens. With "
        "neither callable nor tokens only the local machine is answered, and only in "
        "debug mode, in tests and by ``forge-jobs-server --open``.",
    )
    tokens: tuple[Mapping[str, object], ...] = _option(
        (),
        checks.entries(),
        "The bearer tokens: for each ``id``, ``sha256``, ``role`` (``metrics``, "
        "``viewer``, ``operator`` or ``admin``) and, if wanted, ``queues`` and "
        "``expires_at``. ``flask forge-jobs token new`` prints an entry. They count "
        "whether or not ``FORGE_JOBS_AUTH`` is set.",
        secret=True,
    )
    max_body_bytes: int = _option(
        2 * 1024 * 1024,
        checks.integer(1024, 1024**3),
        "Largest request body; a longer one is answered with 413.",
        unit="bytes",
    )
    bulk_max: int = _option(
        50_000,
        checks.integer(1, 10_000_000),
        "Most jobs that one bulk call acts on; what is left needs another call.",
        unit="jobs",
    )
    strict_queues: bool = _option(
        False,
        checks.boolean(),
        "Whether a request to enqueue to a queue that is not registered is 404 instead "
        "of registering it.",
    )
    max_queue_depth: int = _option(
        0,
        checks.integer(0, 1_000_000_000),
        "How many jobs may wait in one queue, those for later and for a retry "
        "included, for a request to add more; it is answered with 429 otherwise. 0 "
        "means no limit but the queue's own. What Python code enqueues is not refused.",
        unit="jobs",
    )
    max_queues: int = _option(
        DEFAULT_MAX_QUEUES,
        checks.integer(1, 1_000_000),
        "How many queues there may be. Whoever names one more is refused, whether to "
        "enqueue to it or to register it, over HTTP with 400. Each queue has its "
        "gauges in ``/metrics``.",
        unit="queues",
    )
    enable_demo: bool = _option(
        False,
        checks.boolean(),
        "Whether ``POST /jobs/enqueue-demo`` exists.",
    )
    redact_keys: tuple[str, ...] = _option(
        (),
        checks.names(),
        "Keys whose values are masked before they leave the process, besides those of "
        "``FORGE_JOBS_REDACT_DEFAULT_KEYS``.",
    )
    redact_default_keys: tuple[str, ...] = _option(
        DEFAULT_REDACT_KEYS,
        checks.names(),
        "Keys that are masked in any case; a list of your own replaces it.",
    )
    redact: Callable[..., object] | None = _option(
        None,
        checks.callable_or_none(),
        "Takes a job (None for the payload of a schedule) and its payload, masked by "
        "key, and returns the payload to show. When it fails the whole payload is "
        "masked.",
    )
    link_secrets: tuple[str, ...] = _option(
        (),
        checks.names(),
        "What status links are signed with, the newest secret first. An empty list "
        "takes ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``.",
        secret=True,
    )
    metrics_auth: Literal["same", "token", "none"] = _option(
        "same",
        checks.one_of("same", "token", "none"),
        "Who may read ``/metrics``: ``same`` as the other routes, ``token`` for bearer "
        "tokens only, ``none`` for everybody.",
    )
    read_only: bool = _option(
        False,
        checks.boolean(),
        "Whether every change over HTTP is refused, whatever the caller's role.",
    )
    allowed_hosts: tuple[str, ...] = _option(
        (),
        checks.names(),
        "Names that the ``Host`` of a request without a valid token must be one of, "
        "such as ``jobs.example.org`` or ``jobs.example.org:8443``, besides those of "
        "this machine. An empty list allows every host.",
    )
    cors_origins: tuple[str, ...] = _option(
        (),
        checks.origins(),
        "Origins whose pages may read the answers, such as "
        "``https://ops.example.org``. They have to send a bearer token.",
    )
    rate_limits: Mapping[str, str] = _option(
        {},
        checks.texts_by_name(),
        "Rates for the classes ``read``, ``write`` and ``bulk``, such as ``{'write': "
        "'20/second', 'bulk': '10/minute; 100/day'}``, by the second, minute, hour or "
        "day. They count for each caller in each process.",
    )
    sqlite_synchronous: Literal["FULL", "NORMAL"] = _option(
        "FULL",
        checks.one_of("FULL", "NORMAL"),
        "``FULL`` waits for the disk at each commit. ``NORMAL`` is faster and may lose "
        "the last commits when the power fails.",
    )
    sqlite_busy_timeout_s: float = _option(
        30.0,
        checks.seconds(0, 600),
        "How long to wait for another writer of the SQLite file.",
        unit="seconds",
    )
    pool_size: int = _option(
        30,
        POOL_SIZE,
        "Most PostgreSQL connections of one process.",
        unit="connections",
    )
    connect_timeout_s: int = _option(
        5,
        checks.integer(*CONNECT_TIMEOUT_RANGE_S),
        "How long to wait for a PostgreSQL connection.",
        unit="seconds",
    )
    statement_timeout_s: float = _option(
        10.0,
        checks.seconds(0.1, 3600),
        "After which time a PostgreSQL statement is given up.",
        unit="seconds",
    )
    lease_s: float = _option(
        60.0,
        checks.seconds(1, 3600),
        "How long a running job may go without a heartbeat before its worker counts as "
        "lost and the job is given to another.",
        unit="seconds",
    )
    shutdown_grace_s: float = _option(
        30.0,
        checks.seconds(0, 3600),
        "How long a stopping worker waits for its running jobs before it gives them "
        "back.",
        unit="seconds",
    )
    cancel_grace_s: float = _option(
        10.0,
        checks.seconds(0, 3600),
        "How long a task that ran out of time may take to end after it was told to, "
        "before its slot is replaced.",
        unit="seconds",
    )
    migrate: bool = _option(
        True,
        checks.boolean(),
        "Whether the schema is brought up to date at the first use. With False nothing "
        "is created or altered, and a schema that does not fit is an error: run "
        "``flask forge-jobs db migrate`` first.",
    )
    inline: Literal["auto", "on", "off"] = _option(
        "auto",
        checks.one_of("auto", "on", "off"),
        "Whether a job that Python code enqueues runs at once, where it is enqueued, "
        "if it is due and its task is registered here. ``auto``: under ``TESTING``. "
        "What is enqueued over HTTP or with ``connection=`` waits for a worker in any "
        "case.",
    )
    embedded_worker: Literal["auto", "on", "off"] = _option(
        "auto",
        checks.one_of("auto", "on", "off"),
        "Whether the process that serves the application runs its jobs too. ``auto``: "
        "under ``flask run`` and ``app.run()``. ``on``: under gunicorn and other "
        "servers as well; see :doc:`/howto/embed`.",
    )

    @property
    def masked_keys(self) -> tuple[str, ...]:
        """Every key whose values are masked."""
        return (*self.redact_default_keys, *self.redact_keys)

    @classmethod
    def from_mapping(cls, config: Mapping[str, object]) -> Settings:
        """Read the settings of an application.

        Raises:
            ConfigurationError: A key with our prefix is unknown, or its value does
                not pass. The message never repeats a value.
        """
        names = {f"{PREFIX}{each.name.upper()}": each for each in fields(cls)}
        values: dict[str, Any] = {}
        for key in config:
            if not key.startswith(PREFIX):
                continue
            if key not in names:
                raise ConfigurationError(key, f"is no setting{near_match(key, names)}")
            column = names[key]
            try:
                values[column.name] = column.metadata["check"](config[key])
            except checks.RefusedError as error:
                raise ConfigurationError(key, str(error)) from None
        return cls(**values)

    def __repr__(self) -> str:
        """Return the settings with every secret masked."""
        shown = (
            f"{each.name}={self._display(each.name, secret=each.metadata['secret'])}"
            for each in fields(self)
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def _display(self, name: str, *, secret: bool) -> str:
        value = getattr(self, name)
        return repr(MASK if secret and value is not None else value)


def options() -> Iterator[Option]:
    """Yield the table row by row, in the order of the reference page."""
    for each in fields(Settings):
        yield Option(
            key=f"{PREFIX}{each.name.upper()}",
            default=_default(each),
            accepts=each.metadata["accepts"],
            unit=each.metadata["unit"],
            meaning=each.metadata["meaning"],
            secret=each.metadata["secret"],
        )


def _default(column: Field[Any]) -> object:
    if column.default_factory is not MISSING:
        return column.default_factory()
    return column.default
