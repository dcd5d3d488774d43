"""Who may do what: every route, asked by eight kinds of callers.

The matrix is made from the route table, so a new route is in it without being named
here. A route whose permission nobody chose cannot be made at all.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.permissions import ROLES, Permission, Principal
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.tokens import client_of_principal, client_with_token
from tests.conformance.requests import Sample, sample
from tests.conformance.seeding import QUEUE
from tests.support.clocks import MovingClock
from tests.support.sql import Sql

ROUTES = all_routes(enable_demo=True)
OUTSIDERS = ("nobody", "wrong token")
LIMITED = ("another queue", "no queue")
CALLERS = (*OUTSIDERS, *ROLES, *LIMITED)
# An operator of this queue only; the data set has no jobs in it.
OTHER_QUEUE = "reports"
# Routes that touch a queue which the request does not name as one.
CHOOSES_A_QUEUE = frozenset({"create_queue", "jobs_enqueue_demo"})
# Reads of what serves other queues only, for a limited caller.
HIDDEN = frozenset({"worker", "bulk_run", "bulk_run_stop", "batch", "batch_jobs"})
HIDDEN |= {"batch_seal", "batch_cancel", "batch_retry", "batch_delete"}
# Routes that mean one queue where none is named.
NEEDS_ONE_QUEUE = frozenset(
    {"jobs_kinds", "jobs_scheduled", "queue_processes", "queue_cleanup"}
)


@pytest.fixture
def storage(storage: Storage) -> Storage:
    """The contract's data set and a queue of the limited caller's own."""
    storage.queues.ensure(OTHER_QUEUE)
    return storage


class Host:
    """An application with one kind of caller, whose storage each test exchanges."""

    def __init__(self, caller: str) -> None:
        self.storage: Storage | None = None
        self.clock = MovingClock()
        role = caller if caller in ROLES else "operator"
        queues = [OTHER_QUEUE] if caller == "another queue" else None
        if caller == "no queue":
            nothing = Principal.with_role(caller, role, queues=())
            self.client = client_of_principal(self._present, nothing)
        else:
            clock = self.clock if caller == "wrong token" else SystemClock()
            self.client = client_with_token(self._present, role, queues, clock=clock)
        if caller == "nobody":
            del self.client.environ_base["HTTP_AUTHORIZATION"]
        elif caller == "wrong token":
            self.client.environ_base["HTTP_AUTHORIZATION"] += "0"

    def _present(self) -> Storage:
        assert self.storage is not None
        return self.storage


def client_of(caller: str, storage: Storage) -> FlaskClient:
    """Return a client with the caller's credential."""
    host = shared_host(caller)
    host.storage = storage
    # An application that sees many wrong tokens within a minute answers 429.
    host.clock.move(60)
    return host.client


shared_host = cache(Host)


def refusal(route: Route, caller: str) -> int | None:
    """Return the status of a caller that does not even get to the view."""
    if route.permission is None:
        return None
    if caller in OUTSIDERS:
        return 401
    role = caller if caller in ROLES else "operator"
    return None if route.permission in ROLES[role] else 403


def expected(route: Route, caller: str, request: Sample) -> set[int]:
    """Return the statuses of a caller whose role allows the route."""
    name = route.endpoint.removeprefix("v1_")
    if caller == "no queue" and name in NEEDS_ONE_QUEUE:
        return {403}
    if caller in LIMITED and name in HIDDEN:
        return {404}
    if caller in LIMITED and route.permission is not None:
        if name in CHOOSES_A_QUEUE or (
            route.reach is Reach.VIEW and request.names_a_queue
        ):
            return {403}
        if route.reach is not Reach.VIEW:
            return {404} if route.reach is Reach.JOB else {403}
    role = ROLES[caller] if caller in ROLES else ROLES["operator"]
    if "payload_search" in str(request.body) and Permission.PAYLOAD_REVEAL not in role:
        return {403}
    return {route.status, *route.other_answers}


def cells(*, refused: bool) -> list[tuple[Route, str]]:
    """Return the cells of callers that a route refuses by itself, or the others."""
    return [
        (route, caller)
        for route in ROUTES
        for caller in CALLERS
        if (refusal(route, caller) is not None) is refused
    ]


def ids_of(cell: object) -> str:
    return cell.endpoint if isinstance(cell, Route) else str(cell)


@pytest.mark.parametrize("caller", [*OUTSIDERS, "metrics", "viewer", "operator"])
def test_a_caller_is_refused_before_the_storage_is_asked(caller: str) -> None:
    unasked = faulty_storage(AssertionError("the storage was asked"))
    refused = [route for route, who in cells(refused=True) if who == caller]

    for route in refused:
        answer = sample(route).send(client_of(caller, unasked))
        assert answer.status_code == refusal(route, caller), (route, answer.text)
        kind = json.loads(answer.data)["kind"]
        assert kind == ("unauthorized" if answer.status_code == 401 else "forbidden")
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"].lower().startswith("bearer")
    assert refused


@pytest.mark.parametrize(("route", "caller"), cells(refused=False), ids=ids_of)
def test_a_caller_with_the_permission_is_let_in_or_kept_to_its_queue(
    storage: Storage, route: Route, caller: str
) -> None:
    request = sample(route)

    answer = request.send(client_of(caller, storage))

    assert answer.status_code in expected(route, caller, request), answer.text


@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller in ROLES])
def test_text_after_bearer_and_a_cookie_change_nothing_for_another_site(
    storage: Storage, database_settings: DatabaseSettings, caller: str
) -> None:
    """An authenticator of the host may have looked at the cookie only."""
    client = client_of_principal(storage, Principal.with_role(caller, caller))
    sent = {
        "Authorization": "Bearer x",
        "Cookie": "session=x",
        "Sec-Fetch-Site": "cross-site",
    }
    before = _content(database_settings)

    for route in ROUTES:
        if route.mutates:
            assert sample(route).send(client, sent).status_code == 403, route
    assert _content(database_settings) == before


TAKES_KEYS = [route for route in ROUTES if "dedupe_key" in str(sample(route).body)]


@pytest.mark.parametrize("route", TAKES_KEYS, ids=ids_of)
@pytest.mark.parametrize("caller", ["another queue", "operator"])
def test_keys_of_another_queue_are_neither_met_nor_told(
    storage: Storage, route: Route, caller: str
) -> None:
    """Those of jobs and those of requests; who is limited to nothing meets the job."""
    theirs = sample(route).send(client_of("admin", storage), {"Idempotency-Key": "1"})
    (held,) = _ids_in(theirs.text)
    body = json.loads(json.dumps(sample(route).body).replace(QUEUE, OTHER_QUEUE))
    request = replace(sample(route), body=body)

    first = request.send(client_of(caller, storage), {"Idempotency-Key": "1"})
    again = request.send(client_of(caller, storage), {"Idempotency-Key": "2"})

    ids = _ids_in(first.text) | _ids_in(again.text)
    assert len(ids) == 1
    assert (held in ids) is (caller not in LIMITED)
    assert "Idempotency-Replayed" not in {*first.headers.keys(), *again.headers.keys()}


def test_there_are_routes_that_take_keys() -> None:
    assert len(TAKES_KEYS) >= 4


def _ids_in(text: str) -> set[str]:
    answer = json.loads(text)
    if isinstance(answer, dict) and "results" in answer:
        return {each["id"] for each in answer["results"]}  # not that of the batch
    return set(re.findall(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", text))


def _content(settings: DatabaseSettings) -> list[object]:
    sql = Sql(settings)
    return [
        sorted(map(repr, sql.run(f"SELECT * FROM {table}")))
        for table in (
            "forge_job",
            "forge_queue",
            "forge_rate_limit",
            "forge_cron",
            "forge_batch",
        )
    ]


def test_only_health_and_signed_links_are_open() -> None:
    open_routes = {route.path for route in ROUTES if route.permission is None}

    assert open_routes <= {
        "/health", "/v1/health", "/v1/health/ready", "/v1/job-status/<token>"
    }  # fmt: skip


def test_every_permission_is_needed_somewhere() -> None:
    needed = {route.permission for route in ROUTES}
    unused = set(Permission) - needed

    # Looked at by views and by the configuration, not by the table.
    assert unused <= {
        Permission.PAYLOAD_REVEAL, Permission.CRON_EDIT, Permission.LIMITS_EDIT
    }  # fmt: skip


def test_a_route_without_a_permission_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        Route(method="GET", path="/new", endpoint="new", view=lambda: None)  # type: ignore[call-arg, arg-type, return-value]
    with pytest.raises(TypeError, match="is not a permission"):
        Route(
            method="GET", path="/new", endpoint="new", view=lambda: None,  # type: ignore[arg-type, return-value]
            permission="read",  # type: ignore[arg-type]
        )  # fmt: skip
