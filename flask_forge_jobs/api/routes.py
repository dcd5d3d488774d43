"""One line of the route table: what a route is, before Flask knows of it."""

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
# Where a job and a schedule stand; see :mod:`flask_forge_jobs.api.converters`.
JOB_PATH = f"{V1_PREFIX}/jobs/<forge_job_id:job_id>"
SCHEDULE_PATH = f"{V1_PREFIX}/cron/<forge_schedule:name>"
QUEUE_PATH = f"{V1_PREFIX}/queues/<forge_queue:name>"
V1_ENDPOINT_PREFIX = "v1_"
Answer = Schema | Field[Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method and a path, the view behind them, and what both sides may say.

    The blueprint, the access check, the OpenAPI description and the reference page of
    the documentation all read this one record.

    Args:
        method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``; ``GET`` answers
            ``HEAD`` too.
        path: Below the mount point, with Flask's placeholders.
        endpoint: Unique name.
        view: Takes the ``Api`` and the placeholders; the first line of its docstring is
            the route's summary.
        permission: What the caller needs; None opens the route to everybody.
        reach: What a caller that is limited to some queues may touch by it; see
            :mod:`flask_forge_jobs.api.scope`. By default nothing: 403.
        body: Shape of the request's body; None means that it is ignored.
        is_body_optional: Whether no body at all is as good as an empty object.
        query: Shape of the query; None means that there are no parameters.
        answer: Shape of a successful answer: a schema for an object, a field for an
            array or a bare value; None for an answer without a body.
        status: Status of success.
        other_answers: Further statuses of success and the shapes of their answers.
        content_type: Media type of a successful answer that has a body.
        errors: Statuses of refusals besides those any route may give.
        takes: Headers of a request that the view honours.
        gives: Headers that a successful answer may have, besides those that follow
            from the rest of this record.
        is_compared: Whether a read is 304 to who has its answer already. Not what
            scrapers and balancers read, some of which take a 304 for a failure, and
            not what has an ``ETag`` of its own.
        can_reveal: Whether ``?reveal=1`` shows what is otherwise masked, to a caller
            with the permission ``payload.reveal``.
        is_bulk: Whether one call may touch any number of rows.
        in_batches: Whether a change is stored in several transactions, by
            :meth:`.Pace.write` or :func:`.write_batch`; else in one.
        is_deprecated: Whether another route should be used instead.
    """

    method: str
    path: str
    endpoint: str
    view: Callable[..., Response]
    permission: Permission | None
    reach: Reach = Reach.CLUSTER
    body: Schema | None = None
    is_body_optional: bool = False
    query: Schema | None = None
    answer: Answer = None
    status: int = 200
    other_answers: Mapping[int, Answer] = field(default_factory=dict)
    content_type: str = "application/json"
    errors: tuple[int, ...] = ()
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    is_compared: bool = True
    can_reveal: bool = False
    is_bulk: bool = False
    in_batches: bool = False
    is_deprecated: bool = False

    def __post_init__(self) -> None:
        """Refuse a route that nobody thought about.

        Raises:
            TypeError: Its permission is none of ours, or it reaches for a placeholder
                that its path does not have.
        """
        if self.permission is not None and not isinstance(self.permission, Permission):
            raise TypeError(f"{self.endpoint}: {self.permission!r} is no permission")
        placeholder = {Reach.QUEUE: "name", Reach.JOB: "job_id"}.get(self.reach)
        if placeholder is not None and f"{placeholder}>" not in self.path:
            raise TypeError(f"{self.endpoint}: the path has no <{placeholder}>")

    @property
    def mutates(self) -> bool:
        """Whether a success may change what is stored."""
        return self.method != "GET" and self.permission not in {
            None,
            Permission.READ,
            Permission.METRICS_READ,
            Permission.PAYLOAD_REVEAL,
        }

    def under_v1(self) -> Route:
        """Return the same route below ``/v1``."""
        return replace(
            self,
            path=V1_PREFIX + self.path,
            endpoint=V1_ENDPOINT_PREFIX + self.endpoint,
        )
