"""What every view of one blueprint is given: its options, storage and routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from flask import current_app, request
from marshmallow import Schema

from flask_forge_jobs.api.options import BlueprintOptions
from flask_forge_jobs.api.request import (
    load_body,
    load_optional_body,
    load_query,
)
from flask_forge_jobs.api.request_state import present_state
from flask_forge_jobs.api.response import LastBody
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.scope import Scope
from flask_forge_jobs.api.searches import Searches
from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.auth.principal import Principal
from flask_forge_jobs.handlers.admission import Admission
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.handlers.metrics import job_counters, queue_gauges
from flask_forge_jobs.handlers.redaction import Redactor, Unmasked
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobFilter
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD, RequestKey
from flask_forge_jobs.state import EXTENSION_NAME, ApplicationState
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.units import when_stored

if TYPE_CHECKING:
    from flask_forge_jobs.request_metrics import RequestMetrics

_UNMASKED = Unmasked()


class Api:
    """The parts that the views of one blueprint work with.

    Args:
        storage: The storage, or a function that returns the one to use for the present
            request.
        options: How the blueprint behaves.
        routes: Every route of the blueprint, for its description.
    """

    def __init__(
        self,
        storage: Storage | Callable[[], Storage],
        options: BlueprintOptions,
        routes: Sequence[Route],
    ) -> None:
        self._storage = storage
        self.options = options
        self._routes = routes
        self._searches = Searches()
        self.last_overview = LastBody()
        self.status_links = StatusLinks(options.link_secrets, options.clock)
        names = (*options.redact_default_keys, *options.redact_keys)
        self.masking_redactor = Redactor(names, options.redact)

    @property
    def storage(self) -> Storage:
        """The storage for the present request."""
        return self._storage() if callable(self._storage) else self._storage

    @property
    def redactor(self) -> Redactor:
        """What the present answer's payloads and error texts must go through."""
        return _UNMASKED if present_state().reveals else self.masking_redactor

    @property
    def principal(self) -> Principal:
        """Who sent the present request; only on routes that need a permission."""
        return cast("Principal", present_state().principal)

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
        from flask_forge_jobs.prometheus import (
            JobCollector,
            QueueExposition,
            ServiceCollector,
            SnapshotCollector,
        )

        snapshots = SnapshotCollector(self.storage.oldest_snapshot)
        return QueueExposition(
            lambda: queue_gauges(self.storage, self.now),
            [
                JobCollector(lambda: job_counters(self.storage), self.storage.backend),
                ServiceCollector(self.storage.workers.services),
                *([snapshots] if self.storage.backend == "postgres" else ()),
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

        return document(self._routes)

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

    @cached_property
    def admission(self) -> Admission:
        """What a queue must be like to take in new jobs."""
        return Admission(self.options.strict_queues, self.options.max_queue_depth)

    @staticmethod
    def tell_enqueued(results: Sequence[EnqueueResult]) -> None:
        """Send the signal of jobs that are stored, if the application has signals."""
        state = current_app.extensions.get(EXTENSION_NAME)
        if isinstance(state, ApplicationState):
            when_stored(state.observer.enqueued, results)

    def searching(self, wanted: JobFilter | None) -> AbstractContextManager[None]:
        """Return what a view must hold while it uses a filter.

        Raises:
            Forbidden: It searches in payloads, which are searched as they are stored,
                and the caller may not see them unmasked.
            RateLimitedError: When it is entered and the caller is searching already.
        """
        if wanted is not None and (wanted.payload_search or "").strip():
            self.principal.require(Permission.PAYLOAD_REVEAL)
        return self._searches.alone(self.principal.id, wanted)

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
        return RequestKey(self.principal.key_owner, value, operation)

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
