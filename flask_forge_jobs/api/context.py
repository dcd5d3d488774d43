"""What every view of one blueprint is given: its options and its storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from flask import g, request
from marshmallow import Schema

from flask_forge_jobs.api.query import load_query
from flask_forge_jobs.api.request import (
    DEFAULT_MAX_BODY_BYTES,
    load_body,
    load_optional_body,
)
from flask_forge_jobs.api.scope import Scope
from flask_forge_jobs.auth.access import Authenticator
from flask_forge_jobs.auth.principal import Principal
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.settings import DEFAULT_REDACT_KEYS
from flask_forge_jobs.handlers.bulk import DEFAULT_MAX_ROWS, BulkLimits
from flask_forge_jobs.handlers.job_actions import Router
from flask_forge_jobs.handlers.metrics import job_counters, queue_gauges
from flask_forge_jobs.handlers.redaction import RedactionHook, Redactor, Unmasked
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD, RequestKey
from flask_forge_jobs.storage.base import Storage

if TYPE_CHECKING:
    from flask_forge_jobs.request_metrics import RequestMetrics

MetricsAuth = Literal["same", "token", "none"]
_UNMASKED = Unmasked()


def _default_router(_kind: str) -> str:
    return DEFAULT_QUEUE


@dataclass(frozen=True, slots=True)
class BlueprintOptions:
    """How the blueprint behaves.

    Args:
        max_body_bytes: Longest accepted request body; default 2 MiB.
        bulk_max: Most jobs that one bulk call acts on; default 50,000.
        strict_queues: Answer 404 to a request to enqueue to a queue that is not
            registered; default False, which registers it.
        enable_demo: Serve ``POST /jobs/enqueue-demo``; default False, which is 404.
        redact_keys: Key names whose values are masked; see
            :mod:`flask_forge_jobs.handlers.redaction`.
        redact: Takes a job and its masked payload and returns the payload to show.
        router: Names the queue of a kind that is enqueued without one; default
            ``default`` for every kind.
        authenticator: Takes the request and returns a
            :class:`~flask_forge_jobs.Principal`, True for a caller that may do
            everything, or None to refuse. Anything else, and an exception, refuses
            too. Default None.
        tokens: The bearer tokens that are known; they are asked before
            ``authenticator``. Default None. With neither of the two only direct
            requests from this machine are answered, and only in debug, in tests, or
            with ``open_to_loopback``.
        open_to_loopback: The server promises to listen on loopback only.
        metrics_auth: Who may read ``/metrics``: ``same`` as the other routes, ``token``
            for bearer tokens only, ``none`` for everybody.
        read_only: Refuse every mutation.
        allowed_hosts: Names that the ``Host`` of a request without a valid token must
            be one of, besides those of this machine; none means any.
        cors_origins: Origins whose pages may read the answers.
        rate_limits: Rates for the classes ``read``, ``write`` and ``bulk``, such as
            ``{"write": "20/second"}``, for each caller and process.
        clock: Decides whether a cool-down still holds, and measures limits.
    """

    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    bulk_max: int = DEFAULT_MAX_ROWS
    strict_queues: bool = False
    enable_demo: bool = False
    redact_keys: Sequence[str] = DEFAULT_REDACT_KEYS
    redact: RedactionHook | None = None
    router: Router = _default_router
    authenticator: Authenticator | None = None
    tokens: TokenSet | None = None
    open_to_loopback: bool = False
    metrics_auth: MetricsAuth = "same"
    read_only: bool = False
    allowed_hosts: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    rate_limits: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)


class Api:
    """The parts that the views of one blueprint work with.

    Args:
        storage: The storage, or a function that returns the one to use for the present
            request.
        options: How the blueprint behaves.
    """

    def __init__(
        self, storage: Storage | Callable[[], Storage], options: BlueprintOptions
    ) -> None:
        self._storage = storage
        self.options = options
        self.masking_redactor = Redactor(options.redact_keys, options.redact)

    @property
    def storage(self) -> Storage:
        """The storage for the present request."""
        return self._storage() if callable(self._storage) else self._storage

    @property
    def redactor(self) -> Redactor:
        """What the present answer's payloads and error texts must go through."""
        return _UNMASKED if g.get("forge_jobs_reveals") else self.masking_redactor

    @property
    def principal(self) -> Principal:
        """Who sent the present request; only on routes that need a permission."""
        principal: Principal = g.forge_jobs_principal
        return principal

    @property
    def scope(self) -> Scope:
        """The queues of the caller; every view that touches several must ask it.

        See :mod:`flask_forge_jobs.api.scope`.
        """
        return Scope(self.principal.queues, self.storage)

    @cached_property
    def render_metrics(self) -> Callable[[], str]:
        """A function that returns the Prometheus text of the queues."""
        # Imported at the first scrape: a worker never needs it and starts sooner.
        from flask_forge_jobs.prometheus import JobCollector, QueueExposition

        return QueueExposition(
            lambda: queue_gauges(self.storage, self.now),
            [
                JobCollector(lambda: job_counters(self.storage), self.storage.backend),
                self.request_metrics,
            ],
        ).render

    @cached_property
    def request_metrics(self) -> RequestMetrics:
        """Counts the requests that this process answers."""
        # Imported at the first request, for the same reason.
        from flask_forge_jobs.request_metrics import RequestMetrics

        return RequestMetrics()

    @cached_property
    def description(self) -> dict[str, Any]:
        """The OpenAPI document, without a server."""
        # Imported at the first reading: few processes are ever asked for it.
        from flask_forge_jobs.api.openapi.document import document
        from flask_forge_jobs.api.table import all_routes

        return document(all_routes(enable_demo=self.options.enable_demo))

    def body(self, schema: Schema) -> dict[str, Any]:
        """Return the present request's body as a handler's keyword arguments.

        Raises:
            InvalidInputError: Bad syntax or the wrong shape.
            UnsupportedMediaType: It is not declared as JSON.
            RequestEntityTooLarge: It is too long.
        """
        return load_body(request, schema, self.options.max_body_bytes)

    def optional_body(self, schema: Schema) -> dict[str, Any]:
        """Return the present request's body like :meth:`body`; none is an object."""
        return load_optional_body(request, schema, self.options.max_body_bytes)

    @property
    def bulk_limits(self) -> BulkLimits:
        """How much one bulk call may do."""
        return BulkLimits(max_rows=self.options.bulk_max, clock=self.options.clock)

    def request_key(self, operation: str) -> RequestKey | None:
        """Return the key that makes the present request safe to repeat, if it has one.

        Args:
            operation: What is asked for.

        Raises:
            InvalidInputError: It cannot be a key.
        """
        value = request.headers.get(REQUEST_KEY_FIELD)
        if value is None:
            return None
        return RequestKey(self.principal.id, value, operation)

    def query(self, schema: Schema) -> dict[str, Any]:
        """Return the present request's query as a handler's keyword arguments.

        Raises:
            InvalidInputError: A parameter is unknown, repeated, missing or unfit.
        """
        return load_query(request, schema)

    @property
    def now(self) -> datetime:
        """The present instant."""
        return from_micros(self.options.clock.now_us())
