"""Every route, called for a queue that the caller is not allowed to see.

Reads of the caller's own queue never mention the other one; no mutation, however it is
aimed, changes anything in it. A caller that is limited to no queue at all has even less
to see. A new route that keeps to the scope by itself fails here
until it is listed with a body that aims at the other queue.
"""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.model.batches import Batch, NewBatch
from flask_forge_jobs.model.jobs import Job, JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal, client_with_token
from tests.support.jobs import run

OTHER = "bank-canary"
BATCH = "01K5A3Q8ZR7T2M4N6P8S0V2X60"
OUTCOMES: list[Outcome] = [Done(), Failed(f"{OTHER} failed"), Dead(f"{OTHER} died")]
DAY = "from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z&bucket_secs=3600"
QUERIES = {
    "/queue/timeline": [DAY, f"{DAY}&queue={OTHER}", f"{DAY}&kind={OTHER}"],
    "/queue/metric-series": [f"{DAY}&queue=mail", f"{DAY}&queue={OTHER}", DAY],
    "/queue/processes": ["", f"queue_name={OTHER}"],
    "/jobs/kinds": ["", f"queue_name={OTHER}"],
    "/jobs/scheduled": ["limit=9", f"limit=9&queue_name={OTHER}"],
    "/jobs/failed": ["limit=9"],
    "/v1/jobs": [
        "",
        f"queue={OTHER}",
        f"kind={OTHER}",
        "error=failed",
        f"signature={OTHER}%20failed",
    ],
    "/v1/jobs/counts": ["", f"queue={OTHER}", f"kind={OTHER}", "error=failed"],
    "/v1/events": ["", f"queue={OTHER}", f"kind={OTHER}"],
    "/v1/errors": ["", "range=24h", f"queue={OTHER}", f"kind={OTHER}"],
    "/v1/series": [
        f"by=queue&{DAY}",
        f"by=queue&name={OTHER}&{DAY}",
        f"by=kind&{DAY}",
        f"by=queue&name=&{DAY}",
    ],
    "/v1/workers": ["", f"queue={OTHER}"],
    "/v1/gauges": [DAY, f"name={OTHER}&{DAY}", f"name=&{DAY}"],
    "/v1/kinds": [DAY.rpartition("&")[0], f"{DAY.rpartition('&')[0]}&queue={OTHER}"],
}
# What aims a mutation at the other queue; IDS stands for the ids of its jobs.
IDS = ["IDS"]
BODIES: dict[str, list[dict[str, object]]] = {
    "/queue/cleanup": [{}, {"queue_name": OTHER}],
    "/jobs/list": [
        {"limit": 9, "offset": 0},
        {"limit": 9, "offset": 0, "filter": {"queues": [OTHER]}},
        {"limit": 9, "offset": 0, "filter": {"kinds": [OTHER]}},
        {"limit": 9, "offset": 0, "filter": {"payload_search": OTHER}},
    ],
    "/jobs/enqueue": [{"kind": "k", "payload": {}, "queue_name": OTHER}],
    "/jobs/enqueue-demo": [{}],
    "/jobs/retry": [{"ids": IDS}],
    "/jobs/requeue": [{"ids": IDS}],
    "/jobs/delete": [{"ids": IDS}],
    "/jobs/retry-all-failed": [{}, {"queue_name": OTHER}, {"kind": OTHER}],
    "/jobs/retry-all-by-status": [
        {"status": "dead"},
        {"status": "failed", "queue_name": OTHER},
    ],
    "/jobs/delete-done-older-than": [{"days": 0}, {"days": 0, "queue_name": OTHER}],
    "/jobs/delete-by-status": [
        {"status": "done"},
        {"status": "pending"},
        {"status": "dead", "queue_name": OTHER},
    ],
    "/v1/jobs/actions": [
        {"action": "delete", "ids": IDS},
        {"action": "retry", "ids": IDS},
        {"action": "delete", "filter": {}, "all": True},
        {"action": "delete", "filter": {"statuses": ["dead"]}},
        {"action": "delete", "filter": {"queues": [OTHER]}},
        {"action": "retry", "filter": {"kinds": [OTHER]}},
    ],
    "/v1/bulk-runs": [
        {"action": "delete", "filter": {}, "all": True},
        {"action": "delete", "filter": {"statuses": ["dead"]}},
        {"action": "delete", "filter": {"queues": [OTHER]}},
        {"action": "retry", "filter": {"kinds": [OTHER]}},
    ],
    "/v1/bulk-runs/<run_id>/stop": [{}],
    "/v1/batches": [
        {"name": "n", "jobs": [{"kind": "k", "payload": {}, "queue_name": OTHER}]},
        {"name": "n", "on_success": {"kind": "k", "queue_name": OTHER}},
    ],
    "/v1/batches/<batch_id>": [{}],
    "/v1/batches/<batch_id>/jobs": [
        {"jobs": [{"kind": "k", "payload": {}, "queue_name": OTHER}]},
        {"jobs": [{"kind": "k", "payload": {}, "queue_name": "mail"}]},
    ],
    "/v1/batches/<batch_id>/seal": [{}],
    "/v1/batches/<batch_id>/cancel": [{}],
    "/v1/batches/<batch_id>/retry": [{}],
    "/v1/queues": [{"name": OTHER}, {"name": "new"}],
    "/v1/queues/actions": [
        {"action": "pause"},
        {"action": "pause", "queues": [OTHER]},
        {"action": "pause", "queues": ["mail", OTHER]},
    ],
    "/v1/jobs": [{"kind": "k", "payload": {}, "queue_name": OTHER}],
    "/v1/jobs/bulk": [
        {"items": [{"kind": "k", "payload": {}, "queue_name": OTHER}]},
        {
            "items": [
                {"kind": "k", "payload": {}, "queue_name": "mail"},
                {"kind": "k", "payload": {}, "queue_name": OTHER},
            ]
        },
    ],
    "/v1/cron/preview": [{"cron_expr": "* * * * *"}],
}
ROUTES = [
    route
    for route in all_routes(enable_demo=True)
    if route.permission is not None and route.path != "/v1/openapi.json"
]
GETS = [route for route in ROUTES if route.method == "GET"]
OTHERS = [route for route in ROUTES if route.method != "GET"]


@pytest.fixture
def jobs(storage: Storage) -> list[Job]:
    """A finished, a failed, a dead and a waiting job of the other queue."""
    storage.queues.ensure("mail")
    for outcome in OUTCOMES:
        new = NewJob(OTHER, f'["{OTHER}"]', queue_name=OTHER)
        parent = storage.jobs.enqueue(new).id
        storage.jobs.enqueue(NewJob("own", queue_name="mail", after=(parent,)))
        run(storage, outcome, queue_name=OTHER)
    storage.jobs.enqueue(NewJob(OTHER, f'["{OTHER}"]', queue_name=OTHER))
    storage.workers.beat(
        "both", None, ["mail", OTHER], [SlotReport(f"{OTHER}-0-both-0", OTHER)]
    )
    storage.workers.beat(OTHER, OTHER, [OTHER], [])
    storage.batches.create(
        NewBatch(OTHER, batch_id=BATCH), [NewJob(OTHER, queue_name=OTHER)]
    )
    return _jobs(storage)


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    return client_with_token(storage, "admin", ["mail"])


@pytest.fixture
def idle_client(storage: Storage) -> FlaskClient:
    """A client that is limited to no queue at all."""
    nothing = Principal.with_role("nothing", "admin", queues=())
    return client_of_principal(storage, nothing)


def _jobs(storage: Storage) -> list[Job]:
    page = storage.job_reader.page(JobFilter(queues=(OTHER,)), 99)
    return [storage.job_reader.get(row.id) for row in page.rows]


def _batches(storage: Storage) -> list[Batch]:
    return storage.batches.page(9)


def _settings(storage: Storage) -> list[QueueSettings]:
    return [queue for queue in storage.queues.all() if queue.name != "mail"]


def _paths(route: Route, jobs: list[Job]) -> list[str]:
    names = [job.id for job in jobs] if "job_id>" in route.path else [OTHER]
    if "worker_id>" in route.path:
        names = ["both"]
    if "<batch_id>" in route.path:
        names = [BATCH]
    return [PREFIX + re.sub("<.*?>", name, route.path) for name in names]


def test_no_read_mentions_the_other_queue(client: FlaskClient, jobs: list[Job]) -> None:
    for route in GETS:
        _assert_unmentioned(client, jobs, route)


def test_no_read_of_a_caller_without_queues_mentions_one(
    idle_client: FlaskClient, jobs: list[Job]
) -> None:
    for route in GETS:
        _assert_unmentioned(idle_client, jobs, route)


def _assert_unmentioned(client: FlaskClient, jobs: list[Job], route: Route) -> None:
    for path in _paths(route, jobs):
        for query in QUERIES.get(route.path.removeprefix("/v1"), [""]) + QUERIES.get(
            route.path, []
        ):
            answer = client.get(f"{path}?{query}")

            assert OTHER not in answer.text, (path, query)
            for job in jobs:
                assert job.id in path or job.id not in answer.text, (path, query)
            assert answer.status_code in {200, 400, 403, 404}, (path, query)
            if OTHER in query and answer.status_code == 200:
                assert answer.get_json() is not None


@pytest.mark.parametrize("route", OTHERS, ids=lambda route: route.endpoint)
def test_nothing_changes_in_the_other_queue(
    client: FlaskClient, storage: Storage, jobs: list[Job], route: Route
) -> None:
    _assert_unchanged(client, storage, jobs, route)


def test_a_caller_without_queues_changes_nothing(
    idle_client: FlaskClient, storage: Storage, jobs: list[Job]
) -> None:
    for route in OTHERS:
        _assert_unchanged(idle_client, storage, jobs, route)


def _assert_unchanged(
    client: FlaskClient, storage: Storage, jobs: list[Job], route: Route
) -> None:
    path = route.path if route.path in BODIES else route.path.removeprefix("/v1")
    bodies = BODIES[path] if route.reach is Reach.VIEW else [{}]
    settings, batches = _settings(storage), _batches(storage)
    ids = [job.id for job in jobs]

    for url in _paths(route, jobs):
        for body in bodies:
            sent = {key: ids if value is IDS else value for key, value in body.items()}
            answer = client.open(url, method=route.method, json=sent)

            assert answer.status_code < 500
            assert _jobs(storage) == jobs
            assert _batches(storage) == batches
            assert _settings(storage) == settings
            if route.reach is not Reach.VIEW:
                assert answer.status_code in {403, 404}


def test_every_route_that_keeps_to_the_scope_itself_is_aimed_at_it() -> None:
    unaimed = [
        route.path
        for route in OTHERS
        if route.reach is Reach.VIEW
        and route.path not in BODIES
        and route.path.removeprefix("/v1") not in BODIES
    ]

    assert unaimed == []
