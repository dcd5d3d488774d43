"""The context of the views of one blueprint: options, storage and routes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from flask import Response, current_app
from marshmallow import Schema
from marshmallow.fields import Field

from flask_forge_jobs.api.composer import Composer
from flask_forge_jobs.api.forms import document_of
from flask_forge_jobs.api.loading import loaded
from flask_forge_jobs.api.options import BlueprintOptions, MetricsAuth
from flask_forge_jobs.api.request import (
    RequestState,
    load_body,
    load_query,
    present_state,
)
from flask_forge_jobs.api.response import LastBody, counted, dumper, json_response
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.scope import Scope
from flask_forge_jobs.api.streams import Streams
from flask_forge_jobs.auth.form_tokens import FormTokens
from flask_forge_jobs.auth.hosts import is_debugged_from_afar
from flask_forge_jobs.auth.limits import ExpensiveReads, FailureLimit
from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.auth.sessions import Sessions
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.handlers.attention.cache import Attention
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.handlers.bulk_runs import BulkRunner
from flask_forge_jobs.handlers.job_actions import Admission
from flask_forge_jobs.handlers.jobs import is_expensive
from flask_forge_jobs.handlers.kinds import KindLimit
from flask_forge_jobs.handlers.metrics import job_counters, queue_gauges, read_ahead
from flask_forge_jobs.handlers.redaction import UNMASKED, Redactor
from flask_forge_jobs.handlers.snapshots import Snapshots
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobFilter
from flask_forge_jobs.model.request_keys import REQUEST_KEY_FIELD, RequestKey
from flask_forge_jobs.state import EXTENSION_NAME, ApplicationState
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Database

if TYPE_CHECKING:
    from flask_forge_jobs.request_metrics import RequestMetrics
    from flask_forge_jobs.storage.standby import Standby

_REQUEST_KEY = f"HTTP_{REQUEST_KEY_FIELD.upper().replace('-', '_')}"


def _scraped() -> Storage:
    """Return the stores of the current scrape."""
    return cast("Storage", present_state().scraped)


class Api:
    """The context that the views of one blueprint share.

    ``storage`` may be a function that returns the storage of the current request.
    ``routes`` are all routes of the API, for its description; ``pages`` returns
    those of the pages for people. ``standby`` may answer reads.
    """

    def __init__(
        self,
        storage: Storage | Callable[[], Storage],
        options: BlueprintOptions,
        routes: Sequence[Route],
        pages: Callable[[], Sequence[Route]] = tuple,
        standby: Standby | None = None,
    ) -> None:
        self._storage = storage
        self._state: RequestState | None = None
        self.standby = standby
        self.options = options
        self.routes = routes
        self._pages = pages
        self._expensive_reads = ExpensiveReads()
        self.bulk_runner = BulkRunner()
        self.streams = Streams(options.dashboard_streams)
        self.composer = Composer(options.clock)
        # Renders the metrics, by backend.
        self._renderers: dict[str, Callable[[], str]] = {}
        self.last_overview = LastBody()
        self._snapshots: WeakKeyDictionary[Database, Snapshots] = WeakKeyDictionary()
        signer = Signer(options.link_secrets)
        self.status_links = StatusLinks(signer, options.clock)
        self.form_tokens = FormTokens(signer)
        self.sessions = Sessions(options.tokens, signer, options.clock)
        self.failures = FailureLimit(options.clock)
        """Counts wrong credentials."""
        names = (*options.redact_default_keys, *options.redact_keys)
        self.masking_redactor = Redactor(names, options.redact)
        self.kind_limit = KindLimit(options.max_kinds, options.registry, options.clock)
        """How many kinds requests may invent."""

    def on(self, storage: Storage, state: RequestState | None = None) -> Api:
        """Return the same over other stores, perhaps for the request of a state."""
        api = Api.__new__(Api)  # in a fifth of the time of copy()
        vars(api).update(vars(self), _storage=storage, _state=state)
        return api

    @property
    def state(self) -> RequestState:
        """The state of the current request."""
        return self._state or present_state()

    @property
    def storage(self) -> Storage:
        """The storage of the current request."""
        return self._storage() if callable(self._storage) else self._storage

    @property
    def pages(self) -> Sequence[Route]:
        """The routes of the pages for people."""
        return self._pages()

    @property
    def attention(self) -> Attention:
        """The attention report of the current request's storage."""
        options = self.options
        return Attention(self.snapshots, options.clock, behind_s=options.behind_s)

    @property
    def snapshots(self) -> Snapshots:
        """The last reads of the current request's storage that pages repeat."""
        database = self.storage.database
        # Those that another thread has just put there stay.
        return self._snapshots.get(database) or self._snapshots.setdefault(
            database, Snapshots(database, self.options.clock)
        )

    @property
    def redactor(self) -> Redactor:
        """Masks the payloads and error texts of the current response."""
        return UNMASKED if self.state.reveals else self.masking_redactor

    @property
    def principal(self) -> Principal:
        """The caller; only on routes that need a permission."""
        return cast("Principal", self.state.principal)

    @property
    def scope(self) -> Scope:
        """The queues of the caller; see :mod:`flask_forge_jobs.api.scope`."""
        return Scope(self.principal.queues, self.storage)

    @property
    def is_read_only(self) -> bool:
        """Whether nobody, or nobody from where the request comes, may change things."""
        return self.options.read_only or is_debugged_from_afar(self.state.request)

    def metrics_auth(self, route: Route) -> MetricsAuth | None:
        """Return the access rule of a route that reads metrics; None for others."""
        is_metrics = route.permission is Permission.METRICS_READ
        return self.options.metrics_auth if is_metrics else None

    def may_open(self, route: Route) -> bool:
        """Return whether the caller, perhaps a stranger, may use another route, too.

        Only of reads without placeholders: a page offers no link that is refused.
        """
        state = self.state
        rule = self.metrics_auth(route)
        if route.permission is None or rule == "none":
            return True
        caller = state.principal
        return (
            caller is not None
            and caller.may(route.permission)
            and (rule != "token" or state.has_token)
            and (caller.queues is None or route.reach is Reach.VIEW)
        )

    def render_metrics(self) -> str:
        """Return the Prometheus text of the storage of the current request."""
        backend = self.storage.backend
        if backend not in self._renderers:
            self._renderers[backend] = self._metrics_renderer(backend)
        self.state.scraped = read_ahead(self.storage)
        return self._renderers[backend]()

    def _metrics_renderer(self, backend: str) -> Callable[[], str]:
        # Imported at the first scrape, because workers never need it.
        from flask_forge_jobs.prometheus import (
            BatchCollector,
            JobCollector,
            QueueExposition,
            ServiceCollector,
            SnapshotCollector,
            StandbyCollector,
        )

        # Each scrape asks for the storage, which is that of its request.
        services = ServiceCollector(lambda: _scraped().workers.services())  # noqa: PLW0108
        snapshots = SnapshotCollector(lambda: _scraped().oldest_snapshot())
        return QueueExposition(
            lambda: queue_gauges(self.storage),
            [
                JobCollector(lambda: job_counters(_scraped()), backend),
                services,
                BatchCollector(lambda: _scraped().batches.overview()),  # noqa: PLW0108
                *([snapshots] if backend == "postgres" else ()),
                *([StandbyCollector(self.standby.look)] if self.standby else ()),
                self.request_metrics,
            ],
        ).render

    @cached_property
    def request_metrics(self) -> RequestMetrics:
        """Counts the requests that this process answers."""
        # Imported at the first request, because workers never need it.
        from flask_forge_jobs.request_metrics import RequestMetrics

        return RequestMetrics()

    @cached_property
    def description(self) -> dict[str, Any]:
        """The OpenAPI document, without a server."""
        # Imported at the first request for it: most processes never see one.
        from flask_forge_jobs.api.openapi.document import document

        return document(self.routes)

    def body(self) -> dict[str, Any]:
        """Return the request's body as keyword arguments, by the schema of its route.

        Raises as :func:`.load_body` or :func:`.document_of`.
        """
        state = self.state
        route = state.route
        schema = cast("Schema", route.body)
        if state.form is not None:
            state.document = document_of(state.form, schema)
            return loaded(state.document, schema)
        return load_body(
            state.request,
            schema,
            self.options.max_body_bytes,
            is_optional=route.is_body_optional,
        )

    def query(self) -> dict[str, Any]:
        """Return the request's query as keyword arguments, by the schema of its route.

        Raises as :func:`.load_query`.
        """
        state = self.state
        return load_query(state.request, cast("Schema", state.route.query))

    def answer(self, value: object, status: int | None = None) -> Response:
        """Return a value as the response, dumped by the schema of the request's route.

        ``status`` is by default that of the route.
        """
        route = self.state.route
        dump = dumper(cast("Schema | Field[Any]", route.answer))
        return json_response(dump(value), route.status if status is None else status)

    def listing(self, values: Sequence[object], total: int | None = None) -> Response:
        """Return values as the response; ``total`` is None if they are all."""
        return counted(self.answer(values), len(values) if total is None else total)

    @property
    def bulk_limits(self) -> BulkLimits:
        """How much one bulk call may do."""
        return BulkLimits(max_rows=self.options.bulk_max, clock=self.options.clock)

    @property
    def admission(self) -> Admission:
        """Which jobs the queues take from the caller."""
        options = self.options
        return Admission(
            options.strict_queues,
            options.max_queue_depth,
            self.kind_limit,
            self.principal.queues,
        )

    def tell_enqueued(self, results: Sequence[EnqueueResult]) -> None:
        """Send the signal for stored jobs, if the application has signals."""
        state = current_app.extensions.get(EXTENSION_NAME)
        if isinstance(state, ApplicationState):
            self.storage.when_stored(state.observer.enqueued, results)

    def reading(
        self, job_filter: JobFilter | None, **page: Any
    ) -> AbstractContextManager[None]:
        """Return the lock that a view holds while it uses a filter.

        ``page`` is passed to :func:`.is_expensive`.

        Raises:
            Forbidden: A search in payloads, which are searched unmasked, needs
                ``payload.reveal``.
            RateLimitedError: On entry: the read is expensive, and the caller has
                another such read under way.
        """
        if job_filter is not None and (job_filter.payload_search or "").strip():
            self.principal.require(Permission.PAYLOAD_REVEAL)
        if job_filter is None or not is_expensive(job_filter, **page):
            return contextlib.nullcontext()
        return self.reading_much()

    def reading_much(self) -> AbstractContextManager[None]:
        """Return the lock of an expensive read; raises as :meth:`reading`."""
        return self._expensive_reads.alone(self.principal.id)

    def request_key(self, operation: str) -> RequestKey | None:
        """Return the request's idempotency key for an operation, if it has one.

        Raises:
            InvalidInputError: It is not a valid key.
        """
        value = self.state.request.environ.get(_REQUEST_KEY)
        if value is None:
            return None
        return RequestKey(self.principal.caller_id, value, operation)

    @property
    def now(self) -> datetime:
        """The current time."""
        return from_micros(self.options.clock.now_us())
