"""Pages: functions and templates, escaping, policies, errors."""

from __future__ import annotations

import pytest
from flask import Flask, Request, render_template_string
from jinja2 import DictLoader
from werkzeug.exceptions import BadRequest, NotFound, Unauthorized
from werkzeug.test import EnvironBuilder

from flask_forge_jobs.api.routes import DATA_POLICY, Route
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.dashboard.frame import way_to_mount_point
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.page_route import PAGE_POLICY
from flask_forge_jobs.errors import (
    BulkRunNotFoundError,
    QueueNotFoundError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import parsed
from tests.dashboard.sites import UNASKED, open_page, with_page

EVIL = "<script>alert('&')</script>"
ESCAPED = "&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;"


def evil(_api: object) -> dict[str, object]:
    return {"said": EVIL}


def test_a_function_and_a_template_are_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    client = with_page(monkeypatch, "<p>{{ said }}</p>", evil)

    answer = open_page(client, f"{PREFIX}/try")

    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    assert answer.text == f"<p>{ESCAPED}</p>"
    assert answer.headers["Content-Security-Policy"] == PAGE_POLICY
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_the_policy_of_a_page_stands_at_its_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = "default-src 'none'; script-src 'self'"
    client = with_page(monkeypatch, "", evil, policy=own)

    policies = {
        path: open_page(client, PREFIX + path).headers["Content-Security-Policy"]
        for path in ("/try", "/", "/health", "/v1/nothing")
    }

    assert policies == {
        "/try": own, "/": PAGE_POLICY, "/health": DATA_POLICY,
        "/v1/nothing": DATA_POLICY,
    }  # fmt: skip


def test_pages_let_a_browser_name_the_origin_of_their_forms() -> None:
    """Else it sends them with ``Origin: null``, as those of another site."""
    client = mount(UNASKED, BlueprintOptions(tokens=TokenSet([])), testing=False)

    for path in ("/sign-in", "/jobs", "/none"):
        answer = open_page(client, PREFIX + path)
        assert '<meta name="referrer" content="same-origin">' in answer.text
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_sec_S19_settings_of_the_applications_templates_do_not_reach_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Flask("host")
    app.jinja_options = {
        "variable_start_string": "(((", "variable_end_string": ")))",
        "autoescape": False,
    }  # fmt: skip
    client = with_page(monkeypatch, "{{ said }}", evil, app=app)
    app.add_url_rule("/own", view_func=lambda: _render("(((said)))"))

    assert client.get("/own").text == EVIL
    assert open_page(client, f"{PREFIX}/try").text == ESCAPED


def _render(text: str) -> str:
    return render_template_string(text, said=EVIL)


def test_a_template_of_the_application_takes_the_place_of_ours() -> None:
    app = Flask("host")
    app.jinja_loader = DictLoader({"forge_jobs/index.html": "mine"})

    assert open_page(mount(UNASKED, app=app, testing=False)).text == "mine"


def test_a_misspelt_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client = with_page(monkeypatch, "{{ sayd }}", evil)

    answer = open_page(client, f"{PREFIX}/try")

    assert answer.status_code == 500
    assert "sayd" not in answer.text


@pytest.mark.parametrize(
    ("method", "title"),
    [("GET", "This address is not right"), ("POST", "This was not done")],
)
def test_a_form_that_the_application_refuses_has_the_right_address(
    method: str, title: str
) -> None:
    app = Flask("host")

    @app.before_request
    def protect() -> None:  # as CSRFProtect of Flask-WTF
        raise BadRequest("The CSRF token is missing.")

    client = mount(UNASKED, BlueprintOptions(tokens=TokenSet([])), app=app)

    answer = client.open(
        f"{PREFIX}/sign-in", method=method, headers={"Accept": "text/html"}
    )

    main = parsed(answer.text).find("main").text
    assert title in main
    assert "The CSRF token is missing." in main


def test_a_refusal_says_whose_permission_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_api: object) -> dict[str, object]:
        viewer.require(Permission.JOBS_DELETE)
        return {}

    viewer = Principal.with_role("dana", "viewer")
    client = with_page(monkeypatch, "", refused, principal=viewer)

    answer = open_page(client, f"{PREFIX}/try")

    assert answer.status_code == 403
    words = parsed(answer.text).find("main").text
    assert "This needs the permission jobs.delete" in words
    assert "You are dana, with the role viewer. You may see all but secrets" in words


def test_an_empty_list_names_the_callers_queues(storage: Storage) -> None:
    limited = Principal.with_role("dana", "viewer", queues=["mail", "news"])
    client = client_of_principal(storage, limited)

    for path in ("", "jobs", "errors", "queues", "tail", "workers", "batches", "kinds"):
        page = parsed(open_page(client, f"{PREFIX}/{path}").text)
        assert "You see your queues only: mail, news." in page.find("main").text, path
    refused = open_page(client, f"{PREFIX}/queues/bank")
    assert refused.status_code == 403
    assert "Your queues: mail, news." in parsed(refused.text).find("main").text


def test_what_queues_do_not_explain_does_not_name_them(storage: Storage) -> None:
    limited = Principal.with_role("dana", "viewer", queues=["mail"])
    away = faulty_storage(StorageUnavailableError("no"))

    for stored, path in ((away, "dead"), (storage, "skipped")):
        text = open_page(client_of_principal(stored, limited), f"{PREFIX}/{path}").text
        assert "You see your queues only" not in text, path


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("a/b", "../"), ("a%2fb", "./"), ("jobs/a%2Fb/c%2f..%2fd", "../../"),
        ("%2f%2f%2f%2f", "./"), ("a?b=%2f%2f", "./"),
    ],
)  # fmt: skip
def test_an_address_of_nothing_leads_nowhere_else(
    storage: Storage, path: str, way: str
) -> None:
    client = client_of_principal(storage, Principal.with_role("dana", "viewer"))

    answer = open_page(client, f"{PREFIX}/{path}")

    assert answer.status_code == 404
    assert f'data-root="{way}"' in answer.text
    assert f'src="{way}static/dashboard.js' in answer.text


def test_an_address_of_nothing_keeps_the_navigation(storage: Storage) -> None:
    client = client_of_principal(storage, Principal.with_role("dana", "viewer"))

    answer = open_page(client, f"{PREFIX}/nowhere/at-all")

    page = parsed(answer.text)
    assert answer.status_code == 404
    assert page.find("h1").text == "There is no such page"
    links = [each["href"] for each in page.find("#pages").all("a")]
    assert "../queues" in links


@pytest.mark.parametrize(
    ("queues", "path", "reason"),
    [
        (None, "audit", "Only the role admin may see it."),
        (["mail"], "cron", "It is about all queues, and you may see some of them"),
    ],
)
def test_a_refused_page_gives_its_reason_in_words_of_the_panel(
    storage: Storage, queues: list[str] | None, path: str, reason: str
) -> None:
    viewer = Principal.with_role("dana", "viewer", queues=queues)

    answer = open_page(client_of_principal(storage, viewer), f"{PREFIX}/{path}")

    assert answer.status_code == 403
    assert reason in parsed(answer.text).find("main").text


def test_a_page_in_place_of_a_missing_one_keeps_the_counts(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    client = client_of_principal(storage, Principal.with_role("dana", "viewer"))

    for path in ("nowhere", "queues/none", "jobs/none", "workers/none"):
        page = parsed(open_page(client, f"{PREFIX}/{path}").text)
        assert "1 waiting" in page.find("#state").text, path
        assert page.all("#live") == [], path


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("queues", "Queues cannot be read"),
        ("queues/mail%20x", "Queue mail x cannot be read"),
        ("bulk", "Bulk runs cannot be read"),
        ("bulk/x", "Bulk run x cannot be read"),
        ("cron/x", "Schedule x cannot be read"),
        ("workers/x", "Worker x cannot be read"),
    ],
)
def test_a_page_that_cannot_be_read_is_named(path: str, heading: str) -> None:
    away = faulty_storage(StorageUnavailableError("at /srv/x"))
    client = client_of_principal(away, Principal.with_role("dana", "viewer"))

    answer = open_page(client, f"{PREFIX}/{path}")

    page = parsed(answer.text)
    assert answer.status_code == 503
    assert page.find("h1").text == heading
    assert page.find("title").text.startswith(heading)
    assert "The database does not answer. Stored jobs are kept." in page.text


def test_an_address_of_nothing_is_a_page_for_strangers_too(storage: Storage) -> None:
    client = mount(storage, BlueprintOptions(authenticator=lambda _: False))

    answer = open_page(client, f"{PREFIX}/nowhere")

    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert "./queues" not in answer.text


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (Unauthorized(EVIL), 401, "You are not signed in"),
        (NotFound(EVIL), 404, "There is no such page"),
        (QueueNotFoundError("mail"), 404, "No queue is named “mail”"),
        (BulkRunNotFoundError("x"), 404, "There is no such bulk run"),
        (StorageUnavailableError("at /srv/x"), 503, "The database does not answer"),
        (ZeroDivisionError("secret"), 500, "Something went wrong"),
    ],
)
def test_an_error_of_a_page_is_a_page(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, title: str
) -> None:
    def failing(_api: object, b: str) -> dict[str, object]:
        assert b == "b"
        raise error

    away = faulty_storage(StorageUnavailableError("at /srv/x"))
    client = with_page(monkeypatch, "", failing, "/a/<b>", storage=away)

    answer = open_page(client, f"{PREFIX}/a/b")

    assert answer.status_code == status
    assert answer.content_type == "text/html; charset=utf-8"
    assert f"<h1>{title}</h1>" in answer.text
    assert 'href="../static/dashboard.css?v=' in answer.text
    assert '<a class="btn" href="../">' in answer.text
    shown = parsed(answer.text)
    # Nothing here is refreshed.
    assert shown.all("#live") == []
    assert f"request {answer.headers['X-Request-Id']}" in shown.find("main").text
    assert answer.headers["Content-Security-Policy"] == PAGE_POLICY
    for hidden in ("/srv/x", "secret", EVIL):
        assert hidden not in answer.text


def test_of_several_tabs_each_names_the_page_that_cannot_be_read() -> None:
    away = faulty_storage(StorageUnavailableError("no"))
    client = client_of_principal(away, Principal.with_role("ann", "admin"))

    answer = open_page(client, f"{PREFIX}/queues")

    title = parsed(answer.text).find("title").text
    assert title.startswith("Queues cannot be read · ")


@pytest.mark.parametrize(
    "error", [Unauthorized(), NotFound(), StorageUnavailableError("away")]
)
def test_a_refresh_that_fails_has_the_status_of_its_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(_api: object) -> dict[str, object]:
        raise error

    # The page of the error has no such block.
    client = with_page(monkeypatch, "", failing, blocks=("rows",))

    whole = open_page(client, f"{PREFIX}/try")
    answer = open_page(client, f"{PREFIX}/try?only=rows,state")

    assert answer.status_code == whole.status_code < 504


def test_a_program_gets_the_error_of_a_page_as_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(_api: object) -> dict[str, object]:
        raise NotFound

    client = with_page(monkeypatch, "", failing)

    answer = client.get(f"{PREFIX}/try")

    assert answer.status_code == 404
    assert (answer.json or {})["kind"] == "not_found"


def test_an_error_before_our_hooks_is_answered_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Flask("host")

    @app.before_request
    def refuse() -> None:
        raise Unauthorized

    client = with_page(monkeypatch, "", evil, app=app)

    assert "You are not signed in" in open_page(client, f"{PREFIX}/try").text
    assert client.get(f"{PREFIX}/health").json == {
        "kind": "unauthorized", "msg": Unauthorized.description
    }  # fmt: skip


def test_a_page_needs_a_permission_unless_it_says_otherwise() -> None:
    route = page("/try", evil)

    assert route.permission is Permission.READ
    assert (route.method, route.endpoint, route.is_page) == ("GET", "page_evil", True)


@pytest.mark.parametrize(
    ("path", "script_name", "path_info", "way"),
    [
        ("/", "", "/jobs/", "./"),
        ("/", "", "/jobs", "./jobs/"),
        ("/", "/tools", "/jobs", "./jobs/"),
        ("/", "/tools", "/", "./"),
        ("/", "/tools", "", "./tools/"),
        ("/", "", "/a b/c:d", "./c%3Ad/"),
        ("/queues", "/tools", "/jobs/queues", "./"),
        ("/queues/<name>", "", "/jobs/queues/x", "../"),
        ("/jobs/<id>/log", "", "/jobs/jobs/x/log", "../../"),
    ],
)
def test_links_find_the_mount_point_from_every_page(
    path: str, script_name: str, path_info: str, way: str
) -> None:
    environ = EnvironBuilder().get_environ()
    environ |= {"SCRIPT_NAME": script_name, "PATH_INFO": path_info}
    route: Route = page(path, evil)

    assert way_to_mount_point(Request(environ), route) == way
