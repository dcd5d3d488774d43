"""404, 405 and OPTIONS below the mount point, and whose errors are whose."""

from __future__ import annotations

import re

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from flask_forge_jobs.api.addresses import JOB_PATH, QUEUE_PATH, SCHEDULE_PATH
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.blueprint import create_blueprint
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount

UNASKED = faulty_storage(AssertionError("the storage was asked"))
ALL_PATHS = [
    (route.method, re.sub("<.*?>", "x", route.path))
    for route in all_routes(enable_demo=True)
]

METHODS = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FOO",
    "PROPFIND",
)  # fmt: skip


def methods_of(path: str) -> set[str]:
    """The methods of every route that a path fits, with those they bring along."""
    places = {route.path for route in all_routes(enable_demo=True)}
    found = {
        route.method
        for route in all_routes(enable_demo=True)
        if route.path == path
        # A word that is a route below /v1/jobs is not taken for the id of a job.
        or (
            (
                route.path not in (JOB_PATH, QUEUE_PATH, SCHEDULE_PATH)
                or path not in places
            )
            and re.fullmatch(re.sub("<.*?>", "[^/]+", route.path), path)
        )
    }
    return found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set())


def test_options_answers_204_with_allow(bare_client: FlaskClient) -> None:
    for method, path in ALL_PATHS:
        answer = bare_client.options(PREFIX + path)
        assert answer.status_code == 204, path
        assert answer.data == b""
        assert "Content-Type" not in answer.headers
        assert method in methods_of(path)
        assert answer.headers["Allow"] == ", ".join(sorted(methods_of(path)))
        assert not [name for name in answer.headers if "Access-Control" in name[0]]


@pytest.mark.parametrize("wrong", METHODS)
def test_H22_wrong_method_is_405_with_allow(
    bare_client: FlaskClient, wrong: str
) -> None:
    """The storage is never asked: it would fail."""
    paths = {path for _, path in ALL_PATHS if wrong not in methods_of(path)}
    for path in paths:
        answer = bare_client.open(PREFIX + path, method=wrong)
        assert answer.status_code == 405, path
        if wrong != "HEAD":
            assert answer.json is not None
            assert list(answer.json) == ["kind", "msg"]
            assert answer.json["kind"] == "method_not_allowed"
        assert answer.headers["Allow"] == ", ".join(sorted(methods_of(path)))
    assert paths


@pytest.mark.parametrize(
    "path",
    [
        "/none",
        "/health/",
        "/queue/overview/",
        "//queue/overview",
        "/queue//overview",
        "/queue/a%2Fb/paused",
        "/queue//paused",
        "/jobs/inspect/",
        "/Queue/Overview",
    ],
)
def test_unknown_url_below_the_mount_is_a_tagged_404(
    bare_client: FlaskClient, path: str
) -> None:
    answer = bare_client.get(PREFIX + path)

    assert answer.status_code == 404
    assert answer.content_type == "application/json"
    assert answer.json is not None
    assert list(answer.json) == ["kind", "msg"]
    assert answer.json["kind"] == "not_found"
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_doubled_slash_is_404_whatever_the_method(
    bare_client: FlaskClient, method: str
) -> None:
    """A route with the slashes merged must not answer with its own 405."""
    for path in ("/jobs//list", "//health"):
        assert bare_client.open(PREFIX + path, method=method).status_code == 404


def test_requests_without_a_route_are_counted_under_one_name(
    storage: Storage,
) -> None:
    client = mount(storage)  # whose counts no other test adds to
    for number in range(3):
        client.get(f"{PREFIX}/v1/nowhere/{number}")
        client.open(f"{PREFIX}/v1/jobs", method=f"ODD{number}")
    client.put(f"{PREFIX}/v1/jobs")

    counted = re.findall(
        r"forge_jobs_http_requests_total\{(.*unmatched.*)\} (\S+)",
        client.get(f"{PREFIX}/metrics").text,
    )
    assert sorted(counted) == [
        ('method="GET",route="unmatched",status="404"', "3"),
        ('method="OTHER",route="unmatched",status="405"', "3"),
        ('method="PUT",route="unmatched",status="405"', "1"),
    ]


def test_errors_of_the_host_stay_the_hosts() -> None:
    app = Flask("host")

    @app.get("/page")
    def page() -> str:
        return "page"

    client = mount(UNASKED, app=app)

    assert client.get("/none").content_type == "text/html; charset=utf-8"
    assert client.post("/page").content_type == "text/html; charset=utf-8"
    assert client.get(f"{PREFIX}-other/x").content_type == "text/html; charset=utf-8"
    assert client.options("/page").status_code == 200
    assert "X-Request-Id" not in client.get("/page").headers


def test_root_mount_leaves_errors_to_a_host_that_handles_them(storage: Storage) -> None:
    plain, handling = Flask("plain"), Flask("handling")
    handling.register_error_handler(404, lambda _: ("host", 404))
    for app in (plain, handling):
        app.testing = True
        app.register_blueprint(create_blueprint(storage))

    assert plain.test_client().get("/none").content_type == "application/json"
    assert handling.test_client().get("/none").text == "host"
    assert handling.test_client().get("/health").text == "ok"
    assert handling.test_client().put("/health").status_code == 405


def test_redirect_to_a_hosts_page_below_the_mount_is_kept() -> None:
    app = Flask("host")
    pages = Blueprint("pages", __name__)
    pages.add_url_rule("/pages/", "index", lambda: "page")
    app.register_blueprint(pages, url_prefix=PREFIX)

    answer = mount(UNASKED, app=app).get(f"{PREFIX}/pages")

    assert answer.status_code == 308


def test_a_rule_for_any_path_takes_nothing_below_the_mount() -> None:
    app = Flask("host")

    @app.route("/", defaults={"path": ""})
    @app.route("/<path:path>", methods=["GET", "DELETE"])
    def single_page(path: str) -> str:
        return f"page {path}"

    app.add_url_rule(f"{PREFIX}/own/<name>", view_func=lambda name: f"own {name}")
    client = mount(UNASKED, app=app)

    for path in ("/v1/none", "/health/", "/v1//jobs", "/v1/jobs/", "/none"):
        answer = client.get(PREFIX + path)
        assert (answer.status_code, answer.content_type) == (404, "application/json")
    refused = client.delete(f"{PREFIX}/v1/workers")
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "GET, HEAD, OPTIONS"
    preflight = client.options(f"{PREFIX}/v1/jobs")
    assert preflight.status_code == 204
    assert preflight.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    for path in ("", "/"):
        assert client.options(PREFIX + path).status_code == 204
    assert client.get(f"{PREFIX}/own/page").text == "own page"
    assert client.get(f"{PREFIX}-other/x").text == f"page {PREFIX[1:]}-other/x"
    assert client.get("/").text == "page "
    assert client.options("/x").status_code == 200


def test_static_files_without_a_prefix_take_nothing_below_the_mount() -> None:
    client = mount(UNASKED, app=Flask("host", static_url_path=""))

    assert client.get(f"{PREFIX}/v1/none").content_type == "application/json"
    assert client.options(f"{PREFIX}/v1/jobs").status_code == 204
    assert client.get("/none").content_type == "text/html; charset=utf-8"


def test_a_rule_for_any_path_of_another_host_is_its_own() -> None:
    app = Flask("host", subdomain_matching=True, static_folder=None)
    app.config["SERVER_NAME"] = "localhost"
    app.add_url_rule("/<path:path>", subdomain="www", view_func=lambda path: path)
    client = mount(UNASKED, app=app)

    answer = client.get(f"{PREFIX}/none", base_url="http://www.localhost")

    assert answer.text == f"{PREFIX[1:]}/none"
