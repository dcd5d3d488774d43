"""The options of the blueprint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.bulk import DEFAULT_MAX_ROWS
from flask_forge_jobs.model.jobs import DEFAULT_MAX_KINDS
from flask_forge_jobs.model.masking import DEFAULT_REDACT_KEYS
from flask_forge_jobs.model.queues import BEHIND_S
from flask_forge_jobs.tasks.routing import DefaultRouter, Router

if TYPE_CHECKING:
    from flask_forge_jobs.auth.access import Authenticator
    from flask_forge_jobs.auth.tokens import TokenSet
    from flask_forge_jobs.config.settings import Settings
    from flask_forge_jobs.handlers.redaction import RedactionHook
    from flask_forge_jobs.tasks.registry import TaskRegistry

DEFAULT_MAX_BODY_BYTES = 2_097_152
MetricsAuth = Literal["same", "token", "none"]


@dataclass(frozen=True, slots=True)
class BlueprintOptions:
    """How the blueprint behaves.

    Args:
        max_body_bytes: Longest accepted request body; default 2 MiB.
        bulk_max: Most jobs that one bulk call acts on; default 50,000.
        strict_queues: Answer 404 to enqueue requests for unregistered queues; default
            False, which registers them.
        max_queue_depth: Most jobs that may wait in a queue for a request to add more;
            default 0, no limit.
        max_kinds: Most kinds of stored jobs and schedules for a request to add one that
            no known task has; default 1000. For a limited caller, only the jobs in its
            queues count.
        enable_demo: Serve ``POST /jobs/enqueue-demo``; default False, which is 404.
        redact_keys: Key names whose values are masked; see
            :mod:`flask_forge_jobs.model.masking`.
        redact_default_keys: Key names that are masked in addition.
        redact: Takes a job and its masked payload and returns the payload to show.
        router: Returns the queue of a kind that is enqueued without one; default
            ``default`` for every kind.
        registry: The known tasks. A job of a known task takes its options, and its
            payload must fit its function. Default None.
        authenticator: Takes the request and returns a
            :class:`~flask_forge_jobs.Principal`, True for a caller with every
            permission, or None to refuse. Any other value, and an exception, refuses
            too. Default None.
        tokens: The bearer tokens, which are tried before ``authenticator``. Default
            None. With neither, only direct requests from this machine are answered, and
            only in debug, in tests or with ``open_to_loopback``.
        open_to_loopback: Answer this machine outside debug mode too. Requests through a
            local proxy that adds no forwarding headers count as local.
        link_secrets: Secrets that sign status links, the newest first; the
            application's ``SECRET_KEY`` by default.
        metrics_auth: Who may read ``/metrics``: ``same`` as the other routes, ``token``
            for bearer tokens only, ``none`` for everybody.
        read_only: Refuse every change.
        allowed_hosts: Names allowed in the ``Host`` of a request without a valid token,
            besides those of this machine; empty allows any.
        cors_origins: Origins whose pages may read the API.
        rate_limits: Rates of the classes ``read``, ``write`` and ``bulk`` per caller
            and process, such as ``{"write": "20/second"}``.
        dashboard: Serve the pages for people.
        dashboard_title: Name of the service in the pages' head.
        dashboard_badge: Names the environment beside it, such as ``production``.
        dashboard_colour: Of the badge: red, amber, green, blue or violet.
        dashboard_logo: Address of an image that replaces the anvil.
        dashboard_home: Address of the link back to the application.
        dashboard_login: Address of the application's own sign-in page.
        dashboard_links: Further links in the navigation, address by text.
        status_template: The application's template for the page of a status link.
        dashboard_streams: How many open pages a process serves as event streams; see
            :class:`~flask_forge_jobs.api.streams.Streams`.
        behind_s: How many seconds the oldest due job of a queue may wait until the
            queue counts as behind.
        clock: Decides whether a cool-down still holds, and measures limits.
    """

    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    bulk_max: int = DEFAULT_MAX_ROWS
    strict_queues: bool = False
    max_queue_depth: int = 0
    max_kinds: int = DEFAULT_MAX_KINDS
    enable_demo: bool = False
    redact_keys: Sequence[str] = ()
    redact_default_keys: Sequence[str] = DEFAULT_REDACT_KEYS
    redact: RedactionHook | None = None
    router: Router = field(default_factory=DefaultRouter)
    registry: TaskRegistry | None = None
    authenticator: Authenticator | None = None
    tokens: TokenSet | None = None
    open_to_loopback: bool = False
    link_secrets: Sequence[str] = ()
    metrics_auth: MetricsAuth = "same"
    read_only: bool = False
    allowed_hosts: Sequence[str] = ()
    cors_origins: Sequence[str] = ()
    rate_limits: Mapping[str, str] = field(default_factory=dict)
    dashboard: bool = True
    dashboard_title: str = "Forge Jobs"
    dashboard_badge: str | None = None
    dashboard_colour: str = "red"
    dashboard_logo: str | None = None
    dashboard_home: str | None = None
    dashboard_login: str | None = None
    dashboard_links: Mapping[str, str] = field(default_factory=dict)
    status_template: str | None = None
    dashboard_streams: int | None = None
    behind_s: float = BEHIND_S
    clock: Clock = field(default_factory=SystemClock)

    def check(self) -> None:
        """Check the options, which are used at the first request only.

        Raises:
            ConfigurationError: An option is invalid, or a token is needed and there is
                none.
        """
        if self.metrics_auth == "token" and self.tokens is None:
            raise ConfigurationError(
                "FORGE_JOBS_METRICS_AUTH", "is 'token', but FORGE_JOBS_TOKENS is empty"
            )
        if self.rate_limits:
            from flask_forge_jobs.auth.limits import RequestLimits

            RequestLimits(self.rate_limits, self.clock)
        if self.link_secrets:
            from flask_forge_jobs.auth.signing import Signer

            Signer(self.link_secrets)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        router: Router,
        registry: TaskRegistry,
        clock: Clock,
        open_to_loopback: bool = False,
    ) -> BlueprintOptions:
        """Return the options that an application's settings ask for.

        Raises:
            ConfigurationError: A token entry is invalid, or a token is needed and there
                is none.
        """
        names = {each.name for each in fields(cls)} - {"tokens"}
        named_alike = {
            each.name: getattr(settings, each.name)
            for each in fields(settings)
            if each.name in names
        }
        return cls(
            **named_alike,
            router=router,
            registry=registry,
            authenticator=None if settings.auth == "bearer" else settings.auth,
            tokens=_tokens(settings, clock),
            open_to_loopback=open_to_loopback,
            clock=clock,
        )


def _tokens(settings: Settings, clock: Clock) -> TokenSet | None:
    if not settings.tokens and settings.auth != "bearer":
        return None
    if not settings.tokens:
        raise ConfigurationError(
            "FORGE_JOBS_TOKENS",
            "must hold a token when FORGE_JOBS_AUTH is 'bearer'; make one with "
            "`flask forge-jobs token new`",
        )
    from flask_forge_jobs.auth.tokens import TokenSet

    return TokenSet.from_config(settings.tokens, clock)
