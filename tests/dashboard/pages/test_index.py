"""The index: for programs, for strangers, and for each kind of caller."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import pytest
from flask import Blueprint, Flask, redirect
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

from flask_forge_jobs import __version__
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.dashboard.pages.index import _LINKS
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.server import create_app
from flask_forge_jobs.storage.attention import AttentionReader
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_of_principal, client_with_token
from tests.dashboard.sites import PERSON, UNASKED, open_page
from tests.support.clocks import MovingClock

# What readers saw before there was an overview, and strangers see.
ABOUT = f"{PREFIX}/about"
FAR_OFF = datetime(2999, 1, 1, tzinfo=UTC)
EVERY_PATH = {
    route.path: name
    for name in _LINKS
    for route in all_routes(enable_demo=False)
    if route.endpoint == name
}


def mounted(prefix: str, **options: Any) -> FlaskClient:
    """A client of an application that lets nobody in."""
    app = Flask("host")
    blueprint = create_blueprint(UNASKED, options=BlueprintOptions(**options))
    app.register_blueprint(blueprint, url_prefix=prefix)
    return app.test_client()


def text_of(html: str) -> str:
    """Return the visible text on one line."""
    return " ".join(re.sub("<[^>]*>", " ", html).split())


def links_of(html: str) -> list[str]:
    """Return the paths in the list of links."""
    listed = html.partition('class="links"')[2]
    return [
        urljoin(f"{PREFIX}/", each) for each in re.findall('href="([^"]+)"', listed)
    ]


# -- programs ----------------------------------------------------------------------


def test_programs_get_links() -> None:
    answer = mounted(PREFIX).get(f"{PREFIX}/")

    assert answer.status_code == 200
    assert answer.get_json() == {
        "name": "flask-forge-jobs",
        "links": {
            "health": f"{PREFIX}/health",
            "readiness": f"{PREFIX}/v1/health/ready",
            "queues": f"{PREFIX}/v1/queues",
            "jobs": f"{PREFIX}/v1/jobs",
            "metrics": f"{PREFIX}/metrics",
            "description": f"{PREFIX}/v1/openapi.json",
        },
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Accept" in answer.headers["Vary"]


def test_programs_are_not_asked_who_they_are() -> None:
    asked: list[object] = []
    client = mounted(PREFIX, authenticator=asked.append)

    assert client.get(f"{PREFIX}/").status_code == 200
    assert asked == []


# -- the mount point ---------------------------------------------------------------


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}/", f"/{PREFIX}", f"{PREFIX}//"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("headers", [{}, PERSON])
def test_sec_S21_nothing_redirects_to_a_host_that_the_client_names(
    path: str, method: str, headers: dict[str, str]
) -> None:
    client = mounted(PREFIX)

    # Not open(path): the client would take //name for a host.
    answer = client.open(
        environ_overrides={"PATH_INFO": path, "HTTP_HOST": "evil.test"},
        method=method,
        headers=headers,
    )

    assert "Location" not in answer.headers
    assert "evil.test" not in answer.text
    plain = {"POST": 405, "OPTIONS": 204}.get(method, 200)
    assert answer.status_code == (404 if path.endswith("//") else plain)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}/"])
def test_what_is_not_there_is_refused_as_elsewhere(path: str) -> None:
    answer = mounted(PREFIX).post(path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_the_root_of_an_application_is_its_own() -> None:
    assert mounted("").get("/").status_code == 404


def test_the_root_of_the_server_answers() -> None:
    client = create_app({}).test_client()

    assert client.get("/").get_json()["links"]["health"] == "/health"
    assert 'href="./static/dashboard.css' in open_page(client, "/").text


def test_a_server_with_a_prefix_answers_there() -> None:
    client = create_app({"FORGE_JOBS_URL_PREFIX": "/jobs-api"}).test_client()

    assert client.get("/jobs-api/").status_code == 200
    assert client.get("/").status_code == 404


def test_it_is_there_in_a_blueprint_of_the_application() -> None:
    app, ops = Flask("host"), Blueprint("ops", __name__, url_prefix="/ops")
    ops.register_blueprint(create_blueprint(UNASKED), url_prefix="/jobs")
    app.register_blueprint(ops)

    answer = open_page(app.test_client(), "/ops/jobs")

    assert answer.status_code == 200
    assert 'href="./jobs/static/dashboard.css' in answer.text


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}/"])
def test_its_files_and_links_are_found_behind_a_proxy(path: str) -> None:
    client = mounted(PREFIX)
    page = client.get(path, headers=PERSON, environ_overrides={"SCRIPT_NAME": "/tools"})

    addresses = {
        urljoin(f"/tools{path}", each): each
        for each in re.findall('href="([^"#]+)"', page.text)
    }

    assert addresses
    assert all(address.startswith(f"/tools{PREFIX}/") for address in addresses)
    for address in addresses:
        inside = address.removeprefix("/tools")
        assert client.get(inside).status_code == 200, address
    assert f"/tools{PREFIX}/v1/queues" in page.text  # the command


# -- strangers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "No login is configured"),
        ({"tokens": TokenSet([])}, "Tokens open this service"),
        ({"authenticator": lambda _: None}, "The application's own login opens"),
    ],
)
def test_strangers_learn_how_to_sign_in_and_nothing_else(
    options: dict[str, Any], said: str
) -> None:
    """The storage is never asked: it would fail."""
    answer = open_page(mounted(PREFIX, **options))

    text = text_of(answer.text)
    assert answer.status_code == 200
    assert said.replace("'", "&#39;") in text.replace("'", "&#39;")
    assert "Not signed in" in text
    assert links_of(answer.text) == [f"{PREFIX}/health"]
    for hidden in (__version__, "Healthy", "worker", "mail", "waiting"):
        assert hidden not in text


def test_metrics_that_are_open_to_everybody_are_offered_to_strangers() -> None:
    answer = open_page(mounted(PREFIX, metrics_auth="none"))

    assert links_of(answer.text) == [f"{PREFIX}/metrics", f"{PREFIX}/health"]


def test_the_login_of_the_application_may_answer_itself() -> None:
    def sign_in(_request: object) -> object:
        raise HTTPException(response=redirect("/login"))

    answer = open_page(mounted(PREFIX, authenticator=sign_in))

    assert (answer.status_code, answer.headers["Location"]) == (302, "/login")


def test_a_broken_login_is_told_and_lets_nobody_in() -> None:
    def broken(_request: object) -> object:
        raise RuntimeError("a secret")

    answer = open_page(mounted(PREFIX, authenticator=broken))

    assert answer.status_code == 403
    assert "The authenticator failed; the log has the details" in answer.text
    assert "a secret" not in answer.text


def test_sec_S08_wrong_credentials_count_here_too() -> None:
    client = mounted(PREFIX, tokens=TokenSet([]), clock=MovingClock())
    wrong = {"Authorization": "Bearer fj_x_y"}

    for _ in range(10):
        page = client.get(f"{PREFIX}/", headers=PERSON | wrong)
        assert "Not signed in" in page.text

    assert client.get(f"{PREFIX}/", headers=PERSON | wrong).status_code == 200
    assert client.get(f"{PREFIX}/v1/queues", headers=wrong).status_code == 429


# -- callers -----------------------------------------------------------------------

CALLERS: dict[str, Callable[[Storage], FlaskClient]] = {
    "metrics": lambda storage: client_with_token(storage, "metrics"),
    "viewer": lambda storage: client_with_token(storage, "viewer"),
    "operator": lambda storage: client_with_token(storage, "operator"),
    "admin": lambda storage: client_with_token(storage, "admin"),
    "one queue": lambda storage: client_with_token(storage, "admin", ["mail"]),
    "two queues": lambda storage: client_with_token(storage, "viewer", ["mail", "x"]),
    "no queue": lambda storage: client_of_principal(
        storage, Principal.with_role("dana", "admin", queues=[])
    ),
    "login": lambda storage: client_of_principal(
        storage, Principal.with_role("dana", "viewer")
    ),
    "login, metrics by token": lambda storage: client_of_principal(
        storage,
        Principal.with_role("dana", "viewer"),
        tokens=TokenSet([]),
        metrics_auth="token",
    ),
    "token, metrics by token": lambda storage: client_with_token(
        storage, "viewer", metrics_auth="token"
    ),
    "this machine": mount,
}


@pytest.mark.parametrize("caller", CALLERS)
def test_links_are_those_that_open(storage: Storage, caller: str) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    client = CALLERS[caller](storage)

    offered = links_of(open_page(client, ABOUT).text)

    assert offered
    for path, name in EVERY_PATH.items():
        address = PREFIX + path
        status = client.get(address).status_code
        assert (status == 200) is (address in offered), (name, status)


@pytest.mark.parametrize("caller", sorted(set(CALLERS) - {"metrics"}))
def test_numbers_lead_to_the_jobs_that_they_count(
    storage: Storage, caller: str
) -> None:
    for queue_name in ("mail", "mail", "secret-queue"):
        storage.jobs.enqueue(NewJob("send", queue_name=queue_name))
    storage.jobs.enqueue(NewJob("later", queue_name="mail", run_at=FAR_OFF))
    client = CALLERS[caller](storage)

    page = open_page(client, ABOUT).text

    counted = re.findall(
        r'href="\./(v1/jobs[^"]+)"><span>([A-Z][a-z ]+)</span><b>([\d,]+)</b>', page
    )
    assert [name for _, name, _ in counted] == [
        "Waiting or scheduled", "In progress", "Retrying", "Done", "Dead",
    ]  # fmt: skip
    for path, _, number in counted:
        listed = client.get(f"{PREFIX}/{path}").json
        assert listed is not None
        assert listed["total"] == int(number), path
    every = client.get(f"{PREFIX}/v1/jobs").json
    assert every is not None
    assert every["total"] == sum(int(number) for _, _, number in counted)
    assert ("secret-queue" in page) is (
        caller not in {"one queue", "two queues", "no queue"}
    )


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        (
            "viewer",
            "ci . This request carries a token. You may See all but secrets and the",
        ),
        (
            "one queue",
            "You may See and change your queues and their jobs. Queues mail",
        ),
        ("no queue", "Queues none"),
        ("metrics", "You may Read the metrics."),
        ("login", "dana . The application's own login let you in."),
        ("this machine", "this machine . It needs no token here."),
    ],
)
def test_callers_see_who_they_are(storage: Storage, caller: str, said: str) -> None:
    answer = open_page(CALLERS[caller](storage), ABOUT)

    text = text_of(answer.text).replace("&#39;", "'")
    assert said in text
    assert "Not signed in" not in text
    assert "user:" not in text
    assert (__version__ in text) is (caller != "metrics")
    assert ("No worker is running" in text) is (caller != "metrics")


def test_a_caller_with_permissions_of_no_role_reads_them(storage: Storage) -> None:
    own = Principal("eve", frozenset({Permission.READ, Permission.CRON_EDIT}))

    text = text_of(open_page(client_of_principal(storage, own), ABOUT).text)

    assert "You may Use cron.edit, read." in text


def test_sec_S19_names_are_text(storage: Storage) -> None:
    evil = "<img src=x onerror=alert(1)>"
    principal = Principal.with_role(evil, "viewer", queues=[evil])

    page = open_page(client_of_principal(storage, principal), ABOUT).text

    assert evil not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 2


def test_reads_of_the_page_count_against_the_rate(storage: Storage) -> None:
    client = client_with_token(storage, "viewer", rate_limits={"read": "2/hour"})

    statuses = [open_page(client).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]


def test_it_answers_while_the_database_is_away() -> None:
    away = faulty_storage(StorageUnavailableError("at /srv/queue.sqlite"))
    client = client_with_token(away, "viewer")

    answer = open_page(client)

    text = text_of(answer.text)
    assert answer.status_code == 200
    assert "The database does not answer" in text
    assert "Try again" in text
    assert ", request " in text
    assert "waiting" not in text
    assert "/srv" not in text


def test_it_answers_if_the_database_goes_while_it_reads(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise StorageUnavailableError("gone")

    monkeypatch.setattr(AttentionReader, "facts", gone)

    answer = open_page(client_with_token(storage, "viewer"), ABOUT)

    assert answer.status_code == 200
    assert "No worker is running" in answer.text
    assert 'class="tile"' not in answer.text
