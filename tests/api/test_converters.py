from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import MapAdapter

from flask_forge_jobs.api.converters import add_converters
from flask_forge_jobs.api.table import all_routes


@pytest.fixture
def urls() -> MapAdapter:
    app = Flask("host")
    routes = all_routes(enable_demo=True)
    add_converters(app.url_map, routes)
    for route in routes:
        app.add_url_rule(route.path, route.endpoint, methods=[route.method])
    return app.url_map.bind("host")


@pytest.mark.parametrize("word", ["list", "retry", "delete", "enqueue", "enqueue-demo"])
def test_a_word_that_is_a_route_is_no_job(urls: MapAdapter, word: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        urls.match(f"/v1/jobs/{word}", method="GET")

    assert set(caught.value.valid_methods or ()) == {"POST", "OPTIONS"}


@pytest.mark.parametrize(
    "job_id", ["01K5A4D3E4F5G6H7J8K9M0N1P2", "lists", "a-list", "List", "none"]
)
def test_anything_else_is_one(urls: MapAdapter, job_id: str) -> None:
    endpoint, values = urls.match(f"/v1/jobs/{job_id}", method="GET")

    assert (endpoint, values) == ("v1_job_read", {"job_id": job_id})


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_preview_is_no_schedule(urls: MapAdapter, method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        urls.match("/v1/cron/preview", method=method)

    assert set(caught.value.valid_methods or ()) == {"POST", "OPTIONS"}
    assert urls.match("/v1/cron/previews", method=method)[1] == {"name": "previews"}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_actions_is_no_queue(urls: MapAdapter, method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        urls.match("/v1/queues/actions", method=method)

    assert set(caught.value.valid_methods or ()) == {"POST", "OPTIONS"}
    assert urls.match("/v1/queues/mail", method=method)[1] == {"name": "mail"}
