"""A route as data, before Flask knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import cached_property
from typing import Any

from flask import Response
from marshmallow import Schema
from marshmallow.fields import Field

from flask_forge_jobs.api.addresses import (
    PLACEHOLDER,
    V1_ENDPOINT_PREFIX,
    V1_PREFIX,
    Address,
    address_of,
    form_path,
)
from flask_forge_jobs.auth.permissions import Permission

FORM_ENDPOINT_PREFIX = "form_"
Answer = Schema | Field[Any] | None
PAGE_CONTENT_TYPE = "text/html; charset=utf-8"
# A browser that shows data as a page runs nothing in it.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Reach(Enum):
    """The reach of a route, which decides where the queues of a caller are checked."""

    # All queues: the guard answers 403.
    CLUSTER = auto()
    # The queue in the placeholder ``name``, which the guard checks.
    QUEUE = auto()
    # The job in the placeholder ``job_id``. The guard looks up its queue; a job in
    # another queue is 404, as if it did not exist.
    JOB = auto()
    # The view checks this with ``api.scope``, which lets callers without a limit pass.
    VIEW = auto()


# Without slots, because what requests ask it for is computed once.
@dataclass(frozen=True, kw_only=True)
class Route:
    """A method and a path, the view behind them, and the shapes of request and answer.

    Blueprint, guard, audit trail, OpenAPI document and reference page all read this
    record; the last two leave pages out.
    """

    # By default, the address of the view in :mod:`.addresses`. The path is below the
    # mount point, with Flask's placeholders.
    method: str = ""
    path: str = ""
    endpoint: str = ""
    # Takes the Api and the placeholders; its docstring is the route's summary.
    view: Callable[..., Response]
    # None opens the route to everybody.
    permission: Permission | None
    # The reach of callers that are limited to some queues.
    reach: Reach = Reach.CLUSTER
    # None takes no body.
    body: Schema | None = None
    # That of the same route below /v1; None means ``body``.
    v1_body: Schema | None = None
    # Whether no body means an empty object.
    is_body_optional: bool = False
    query: Schema | None = None
    # A field for an array or a bare value; None for an empty body.
    answer: Answer = None
    status: int = 200
    # Further statuses of success.
    other_answers: Mapping[int, Answer] = field(default_factory=dict)
    content_type: str = "application/json"
    # Its Content-Security-Policy.
    policy: str = DATA_POLICY
    # Statuses of errors besides those of every route.
    errors: tuple[int, ...] = ()
    # Headers besides those that follow from the other fields.
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    # Whether a read may answer 304. Not for scrapers and load balancers, some of which
    # treat 304 as a failure, and not for routes with an ETag of their own.
    is_compared: bool = True
    # Whether an open page depends on its caller; strangers see it as well.
    knows_caller: bool = False
    # Whether the primary answers it although it lists things: its caller acts on the
    # answer, or it is about the primary.
    is_current: bool = False
    # Whether ?reveal=1 shows secrets, to callers with payload.reveal.
    can_reveal: bool = False
    # Whether one call may touch any number of rows.
    is_bulk: bool = False
    # Whether a change is stored in several transactions.
    in_batches: bool = False
    is_deprecated: bool = False
    # Whether its body is a form, which stands for the JSON of ``body``; see
    # flask_forge_jobs.api.forms.
    is_form: bool = False
    # Groups routes in the OpenAPI document; None is the module of the view.
    tag: str | None = None

    def __post_init__(self) -> None:
        """Refuse a permission that is not ours, and a reach without its placeholder."""
        if not self.path:
            for name, value in address_of(self.view)._asdict().items():
                object.__setattr__(self, name, value)
        if self.permission is not None and not isinstance(self.permission, Permission):
            raise TypeError(f"{self.endpoint}: {self.permission!r} is not a permission")
        placeholder = {Reach.QUEUE: "name", Reach.JOB: "job_id"}.get(self.reach)
        if placeholder is not None and f"{placeholder}>" not in self.path:
            raise TypeError(f"{self.endpoint}: the path has no <{placeholder}>")

    @cached_property
    def address(self) -> Address:
        """What an application knows of it from its start."""
        return Address(self.method, self.path, self.endpoint)

    @cached_property
    def template(self) -> str:
        """The path with its placeholders in braces."""
        return PLACEHOLDER.sub(r"{\g<name>}", self.path)

    @cached_property
    def mutates(self) -> bool:
        """Whether the route may change the database."""
        return self.method != "GET" and self.permission not in {
            None,
            Permission.READ,
            Permission.METRICS_READ,
            Permission.PAYLOAD_REVEAL,
        }

    @cached_property
    def may_lag(self) -> bool:
        """Whether a standby may answer it: lists and figures, nothing by its id.

        Its caller may have just made the thing of that id.
        """
        is_read = self.permission is Permission.READ or self.knows_caller
        is_question = self.method != "GET" and self.is_page  # before a change
        is_one = "<" in self.path
        return is_read and not (
            self.mutates or self.is_current or is_question or is_one
        )

    @cached_property
    def is_page(self) -> bool:
        """Whether its responses are pages, errors included."""
        return self.content_type == PAGE_CONTENT_TYPE

    @cached_property
    def is_exact(self) -> bool:
        """Whether a parameter in the query that the route does not know is an error.

        Not on open routes: mail programs and load balancers add some of their own.
        """
        is_v1 = self.path.startswith(f"{V1_PREFIX}/")
        return self.mutates or (is_v1 and self.permission is not None)

    @cached_property
    def action(self) -> str:
        """The name of the change in the audit trail, however it is sent."""
        name = self.endpoint.removeprefix(FORM_ENDPOINT_PREFIX)
        return name.removeprefix(V1_ENDPOINT_PREFIX)

    @cached_property
    def limit_class(self) -> str:
        """Which of a caller's rates its requests count against."""
        if self.is_bulk:
            return "bulk"
        return "write" if self.mutates else "read"

    def as_form(self) -> Route:
        """Return the same route for forms, whose errors are pages."""
        return replace(
            self,
            method="POST",
            path=form_path(self.method, self.path),
            endpoint=FORM_ENDPOINT_PREFIX + self.endpoint,
            is_form=True,
            content_type=PAGE_CONTENT_TYPE,
        )

    def under_v1(self) -> Route:
        """Return the same route below ``/v1``."""
        return replace(
            self,
            path=V1_PREFIX + self.path,
            endpoint=V1_ENDPOINT_PREFIX + self.endpoint,
            body=self.v1_body or self.body,
        )
