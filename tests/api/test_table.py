from __future__ import annotations

from marshmallow import Schema
from marshmallow.fields import List

from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.table import all_routes

# Lists without a limit in the query and without X-Result-Truncated, each with what
# bounds it.
BOUNDED = {
    "storage_info": "the facts of a backend",
    "queue_overview": "FORGE_JOBS_MAX_QUEUES",
    "v1_queues": "FORGE_JOBS_MAX_QUEUES",
    "v1_stats": "FORGE_JOBS_MAX_QUEUES",
    "v1_queue": "the workers, 1,024 slots",
    "v1_bulk_runs": "the 100 newest",
    "queue_workers": "the workers",
    "queue_timeline": "2,000 buckets",
    "queue_metric_series": "2,000 buckets",
    "queue_resource_series": "2,000 buckets of each worker",
    "queue_db_series": "2,000 buckets of each worker",
    "jobs_kinds": "1,000 kinds; X-Total-Count tells of more",
    "job_inspect": "32 errors",
    "v1_job_read": "32 errors",
    "v1_attention": "20 sentences",
    "v1_worker": "its slots",
    "v1_me": "the roles, permissions and routes of this package",
    "v1_ready": "the checks and services of this package",
}


def has_lists(route: Route) -> bool:
    answer = route.answer
    fields = answer.fields.values() if isinstance(answer, Schema) else [answer]
    return route.method == "GET" and any(isinstance(each, List) for each in fields)


def test_no_two_routes_share_an_endpoint_or_a_place() -> None:
    routes = all_routes(enable_demo=True)

    assert len({route.endpoint for route in routes}) == len(routes)
    assert len({(route.method, route.path) for route in routes}) == len(routes)


def test_every_route_of_the_reference_stands_below_v1_too() -> None:
    places = {(route.method, route.path) for route in all_routes(enable_demo=True)}

    for method, path in places:
        if not path.startswith("/v1/"):
            assert (method, f"/v1{path}") in places


def test_sec_S29_no_list_is_endless() -> None:
    by_view = {route.view: route for route in reversed(all_routes(enable_demo=False))}
    endless = {
        route.endpoint
        for route in by_view.values()
        if has_lists(route)
        and (route.query is None or "limit" not in route.query.fields)
        and "X-Result-Truncated" not in route.gives
    }

    assert endless == BOUNDED.keys()


def test_the_demo_route_must_be_asked_for() -> None:
    without = {route.path for route in all_routes(enable_demo=False)}
    with_it = {route.path for route in all_routes(enable_demo=True)}

    assert with_it - without == {"/jobs/enqueue-demo", "/v1/jobs/enqueue-demo"}


def test_every_route_says_in_one_line_what_it_does() -> None:
    for route in all_routes(enable_demo=True):
        summary = (route.view.__doc__ or "").splitlines()[0]
        assert summary.endswith("."), route.endpoint
