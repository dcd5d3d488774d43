"""How the blueprint behaves, as the application's keys or a caller want it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from flask_forge_jobs.api.request import DEFAULT_MAX_BODY_BYTES
from flask_forge_jobs.auth.access import Authenticator
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.handlers.bulk import DEFAULT_MAX_ROWS
from flask_forge_jobs.handlers.job_actions import Router
from flask_forge_jobs.handlers.redaction import RedactionHook
from flask_forge_jobs.model.masking import DEFAULT_REDACT_KEYS
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.tasks.registry import TaskRegistry

MetricsAuth = Literal["same", "token", "none"]


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
        max_queue_depth: Most jobs that may wait in a queue for a request to add more;
            default 0, no limit.
        enable_demo: Serve ``POST /jobs/enqueue-demo``; default False, which is 404.
        redact_keys: Key names whose values are masked; see
            :mod:`flask_forge_jobs.model.masking`.
        redact_default_keys: Key names that are masked besides them.
        redact: Takes a job and its masked payload and returns the payload to show.
        router: Names the queue of a kind that is enqueued without one; default
            ``default`` for every kind.
        registry: The tasks that are known: a job of one of them takes its options
            and has to fit its function. Default None.
        authenticator: Takes the request and returns a
            :class:`~flask_forge_jobs.Principal`, True for a caller that may do
            everything, or None to refuse. Anything else, and an exception, refuses
            too. Default None.
        tokens: The bearer tokens that are known; they are asked before
            ``authenticator``. Default None. With neither of the two only direct
            requests from this machine are answered, and only in debug, in tests, or
            with ``open_to_loopback``.
        open_to_loopback: Answer this machine outside debug mode too. A proxy on it
            that does not say that it is one looks the same.
        link_secrets: What status links are signed with, the newest first; the
            application's ``SECRET_KEY`` by default.
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
    max_queue_depth: int = 0
    enable_demo: bool = False
    redact_keys: Sequence[str] = ()
    redact_default_keys: Sequence[str] = DEFAULT_REDACT_KEYS
    redact: RedactionHook | None = None
    router: Router = _default_router
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
    clock: Clock = field(default_factory=SystemClock)

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
        """Return what an application's keys ask for.

        Args:
            settings: The checked keys.
            router: See the class.
            registry: See the class.
            clock: See the class.
            open_to_loopback: See the class.

        Raises:
            ConfigurationError: A token's entry is wrong, or there is none where one is
                needed.
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
    return TokenSet.from_config(settings.tokens, clock)
