from __future__ import annotations

from flask_forge_jobs.api.table import UNVERSIONED, V1, all_routes


def test_no_two_routes_share_an_endpoint_or_a_place() -> None:
    routes = all_routes(enable_demo=True)

    assert len({route.endpoint for route in routes}) == len(routes)
    assert len({(route.method, route.path) for route in routes}) == len(routes)


def test_every_route_of_the_reference_stands_below_v1_too() -> None:
    places = {(route.method, route.path) for route in all_routes(enable_demo=True)}

    for method, path in places:
        if not path.startswith("/v1/"):
            assert (method, f"/v1{path}") in places


def test_our_own_routes_stand_below_v1_only() -> None:
    assert not any(route.path.startswith("/v1") for route in UNVERSIONED)
    assert all(route.path.startswith("/v1/") for route in V1)


def test_the_demo_route_must_be_asked_for() -> None:
    without = {route.path for route in all_routes(enable_demo=False)}
    with_it = {route.path for route in all_routes(enable_demo=True)}

    assert with_it - without == {"/jobs/enqueue-demo", "/v1/jobs/enqueue-demo"}


def test_every_route_says_in_one_line_what_it_does() -> None:
    for route in all_routes(enable_demo=True):
        summary = (route.view.__doc__ or "").splitlines()[0]
        assert summary.endswith("."), route.endpoint
