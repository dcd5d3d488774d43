"""A route as data, before Flask knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Response
from marshmallow import Schema
from marshmallow.fields import Field

from flask_forge_jobs.api.scope import Reach
from flask_forge_jobs.auth.permissions import Permission

V1_PREFIX = "/v1"
# Their converters are in api/converters.py.
JOB_PATH = f"{V1_PREFIX}/jobs/<forge_job_id:job_id>"
SCHEDULE_PATH = f"{V1_PREFIX}/cron/<forge_schedule:name>"
QUEUE_PATH = f"{V1_PREFIX}/queues/<forge_queue:name>"
V1_ENDPOINT_PREFIX = "v1_"
Answer = Schema | Field[Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method and a path, the view behind them, and what both sides may send.

    Blueprint, guard, audit trail, OpenAPI document and reference page all read this
    record.
    """

    method: str
    # Below the mount point, with Flask's placeholders.
    path: str
    endpoint: str
    # Takes the Api and the placeholders; its docstring is the route's summary.
    view: Callable[..., Response]
    # None opens the route to everybody.
    permission: Permission | None
    # What callers that are limited to some queues may touch.
    reach: Reach = Reach.CLUSTER
    # None ignores the body.
    body: Schema | None = None
    # Whether no body means an empty object.
    is_body_optional: bool = False
    query: Schema | None = None
    # A field for an array or a bare value; None for an empty body.
    answer: Answer = None
    status: int = 200
    # Further statuses of success.
    other_answers: Mapping[int, Answer] = field(default_factory=dict)
    content_type: str = "application/json"
    # Statuses of errors besides those of every route.
    errors: tuple[int, ...] = ()
    # Headers besides those that follow from the other fields.
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    # Whether a read may answer 304. Not for scrapers and load balancers, some of which
    # treat 304 as a failure, and not for routes with an ETag of their own.
    is_compared: bool = True
    # Whether ?reveal=1 shows secrets, to callers with payload.reveal.
    can_reveal: bool = False
    # Whether one call may touch any number of rows.
    is_bulk: bool = False
    # Whether a change is stored in several transactions.
    in_batches: bool = False
    is_deprecated: bool = False

    def __post_init__(self) -> None:
        """Refuse a permission that is not ours, and a reach without its placeholder."""
        if self.permission is not None and not isinstance(self.permission, Permission):
            raise TypeError(f"{self.endpoint}: {self.permission!r} is not a permission")
        placeholder = {Reach.QUEUE: "name", Reach.JOB: "job_id"}.get(self.reach)
        if placeholder is not None and f"{placeholder}>" not in self.path:
            raise TypeError(f"{self.endpoint}: the path has no <{placeholder}>")

    @property
    def mutates(self) -> bool:
        """Whether the route may change what is stored."""
        return self.method != "GET" and self.permission not in {
            None,
            Permission.READ,
            Permission.METRICS_READ,
            Permission.PAYLOAD_REVEAL,
        }

    @property
    def limit_class(self) -> str:
        """Which of a caller's rates its requests count against."""
        if self.is_bulk:
            return "bulk"
        return "write" if self.mutates else "read"

    def under_v1(self) -> Route:
        """Return the same route below ``/v1``."""
        return replace(
            self,
            path=V1_PREFIX + self.path,
            endpoint=V1_ENDPOINT_PREFIX + self.endpoint,
        )
