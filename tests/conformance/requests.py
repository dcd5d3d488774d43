"""A request for every route, from the examples of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.api.addresses import PLACEHOLDER
from flask_forge_jobs.api.openapi.document import document
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.clock import SystemClock
from tests.api.mounting import LINK_SECRETS, PREFIX
from tests.conformance.seeding import (
    BATCH_ID,
    ENDED_BATCH_ID,
    HOST_ID,
    JOB_ID,
    QUEUE,
    RUN_ID,
    SCHEDULE,
    WAITING_ID,
)

_QUEUE_KEYS = frozenset({"queue", "queues", "queue_name"})
# Changes to the examples, where the data set would make them fail.
_BODIES: Mapping[str, Mapping[str, object]] = {
    "create_queue": {"name": "exports"},
    "bulk_run_begin": {"filter": {"queues": [QUEUE], "statuses": ["dead"]}},
}
# Parameters that may be left out, and are needed with this data set.
_QUERIES: Mapping[str, Mapping[str, object]] = {"delete_queue": {"force": "1"}}


@dataclass(frozen=True, slots=True)
class Sample:
    """One request that a route should answer with success.

    Args:
        method: The method.
        path: Below the mount point.
        query: Its parameters; empty without.
        body: A JSON document, or None to send none.
    """

    method: str
    path: str
    query: Mapping[str, Any]
    body: Any

    @property
    def names_a_queue(self) -> bool:
        """Whether query or body name the data set's queue."""
        return any(_queues({"query": self.query, "body": self.body}))

    def send(
        self, client: FlaskClient, headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """Send it.

        Args:
            client: Who sends it.
            headers: Further headers.
        """
        extra: dict[str, Any] = {} if self.body is None else {"json": self.body}
        return client.open(
            f"{PREFIX}{self.path}",
            method=self.method,
            query_string=self.query,
            headers=headers,
            **extra,
        )


@cache
def described() -> dict[str, Any]:
    """Return the OpenAPI document of every route."""
    return document(all_routes(enable_demo=True))


def sample(route: Route) -> Sample:
    """Return a request of a route; only parameters that must be there are sent."""
    path = route.template
    operation = described()["paths"][path][route.method.lower()]
    name = SCHEDULE if "/cron/" in path else QUEUE
    placeholders = {each: quote(name) for each in PLACEHOLDER.findall(route.path)}
    known = {
        "job_id": JOB_ID, "token": _link_token(), "worker_id": HOST_ID,
        "run_id": RUN_ID, "batch_id": BATCH_ID,
    }  # fmt: skip
    placeholders |= {each: known[each] for each in placeholders.keys() & known.keys()}
    if route.endpoint == "v1_job_release":
        placeholders["job_id"] = WAITING_ID
    if route.endpoint == "v1_batch_delete":
        placeholders["batch_id"] = ENDED_BATCH_ID
    query = {
        each["name"]: each["example"]
        for each in operation.get("parameters", ())
        if each["in"] == "query" and each.get("required")
    }
    content = operation.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("example")
    name = route.endpoint.removeprefix("v1_")
    query |= _QUERIES.get(name, {})
    changes = _BODIES.get(name)
    return Sample(
        route.method,
        path.format(**placeholders),
        query,
        body if changes is None else {**body, **changes},
    )


@cache
def _link_token() -> str:
    links = StatusLinks(Signer(LINK_SECRETS), SystemClock())
    return links.token(Flask("host"), JOB_ID, 3600)


def _queues(value: object) -> Iterator[bool]:
    """Yield for each key that names queues whether it names the data set's."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _QUEUE_KEYS:
                yield QUEUE in (item if isinstance(item, list) else [item])
            yield from _queues(item)
    elif isinstance(value, list):
        for item in value:
            yield from _queues(item)
