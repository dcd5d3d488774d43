"""A token opens a session: what it opens, what it does not, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.auth.form_tokens import NONCE_COOKIE
from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.sessions import COOKIE, LENGTH_S
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.auth.tokens import TokenSet, new_token
from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from flask_forge_jobs.dashboard.forms.sign_in import AGAIN, UNKNOWN
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import LINK_SECRETS, PREFIX
from tests.dashboard.forms.sending import SAME_SITE, Sender, values, where
from tests.dashboard.markup import parsed
from tests.dashboard.sites import PERSON
from tests.support.backends import on_sqlite
from tests.support.clocks import MovingClock

UNASKED = faulty_storage(AssertionError("the storage was asked"))
TOKEN, DIGEST = new_token("ann")
ENTRY = {"id": "ann", "sha256": DIGEST, "role": "operator"}


@dataclass
class Site:
    client: FlaskClient

    base: str = "http://localhost"

    def open(self, path: str, **headers: str) -> TestResponse:
        sent = {**PERSON, **headers}
        return self.client.get(f"{PREFIX}/{path}", headers=sent, base_url=self.base)

    def enter(self, token: str = TOKEN, **changes: str) -> TestResponse:
        back = changes.pop("back", "")
        page = self.open(f"sign-in?back={back}")
        fields = {**values(page.text), "token": token, **changes}
        return self.post("sign-in", fields)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> TestResponse:
        sent = {**PERSON, **SAME_SITE, **headers}
        url = f"{PREFIX}/{path}"
        return self.client.post(url, data=fields, headers=sent, base_url=self.base)


def _site(
    storage: Storage = UNASKED, *, entry: dict[str, Any] | None = ENTRY, **more: Any
) -> Site:
    tokens = None if entry is None else TokenSet.from_config([entry], more.get("clock"))
    options = BlueprintOptions(
        **{"tokens": tokens, "link_secrets": LINK_SECRETS, **more}
    )
    app = Flask("host")
    app.register_blueprint(
        create_blueprint(storage, options=options), url_prefix=PREFIX
    )
    return Site(app.test_client())


def test_the_cookies_are_for_this_browser_and_for_us() -> None:
    site = _site()
    page = site.open("sign-in")
    nonce = page.headers["Set-Cookie"]

    answer = site.enter()
    session = answer.headers["Set-Cookie"]

    assert page.status_code == 200
    assert nonce.startswith(f"{NONCE_COOKIE}=")
    assert session.startswith(f"{COOKIE}=")
    for cookie in (nonce, session):
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie
        assert "Max-Age" not in cookie
    # The browser's default is the folder of the page: the mount point as it sees it.
    assert "Path" not in session
    assert TOKEN not in session
    assert DIGEST not in session


def test_over_https_the_cookies_are_for_https_only() -> None:
    site = _site()
    site.base = "https://localhost"

    assert "Secure" in site.open("sign-in").headers["Set-Cookie"]
    assert "Secure" in site.enter().headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("origin", "is_secure"),
    [
        ("https://localhost", True),
        ("https://jobs.example", True),  # the proxy sends a host of its own
        ("http://localhost", False),
        ("null", False),
    ],
)
def test_behind_an_undeclared_proxy_the_session_is_for_https_as_well(
    origin: str, *, is_secure: bool
) -> None:
    """Nothing but the origin of the form says that the browser uses HTTPS."""
    site = _site()
    fields = {**values(site.open("sign-in").text), "token": TOKEN}

    answer = site.post("sign-in", fields, Origin=origin)

    assert answer.status_code == 303
    assert answer.mimetype == "text/html"  # Flask-DebugToolbar needs one
    assert ("Secure" in answer.headers["Set-Cookie"]) == is_secure


@on_sqlite
def test_a_session_opens_reads_and_forms_but_no_json_write(storage: Storage) -> None:
    storage.queues.ensure("mail")
    site = _site(storage)
    assert site.open("v1/queues").status_code == 401
    site.enter()

    assert site.open("v1/queues").status_code == 200
    listed = site.client.post(f"{PREFIX}/v1/jobs/list", json={"limit": 1, "offset": 0})
    assert listed.status_code == 200
    sender = Sender(site.client, "ann")
    paused = {"paused": "true"}
    assert sender.send("patch/v1/queues/mail", paused).status_code == 303
    written = site.client.patch(
        f"{PREFIX}/v1/queues/mail",
        json={"paused": False},
        headers={**SAME_SITE, "X-CSRF-Token": sender.token, "X-Forge-Jobs": "1"},
    )
    assert written.status_code == 401


@on_sqlite
def test_a_session_ends_after_twelve_hours(storage: Storage) -> None:
    clock = MovingClock()
    site = _site(storage, clock=clock)
    site.enter()

    clock.move(LENGTH_S - 1)
    assert "Sign out" in site.open("sign-in").text
    clock.move(1)
    assert "Sign out" not in site.open("sign-in").text


@on_sqlite
def test_a_session_ends_with_its_token(storage: Storage) -> None:
    site = _site(storage)
    site.enter()
    cookie = site.client.get_cookie(COOKIE, path=f"{PREFIX}")
    assert cookie is not None
    replaced = {**ENTRY, "sha256": new_token("ann")[1]}
    renamed = {**ENTRY, "id": "bob"}
    expired = {**ENTRY, "expires_at": "2001-01-01"}

    for entry, is_in in (
        (ENTRY, True), (replaced, False), (renamed, False), (expired, False),
    ):  # fmt: skip
        other = _site(storage, entry=entry)
        other.client.set_cookie(COOKIE, cookie.value)
        assert ("Sign out" in other.open("sign-in").text) is is_in, entry
    with_other_secret = _site(
        storage, link_secrets=("another secret, which is long enough",)
    )
    with_other_secret.client.set_cookie(COOKIE, cookie.value)
    assert "Sign out" not in with_other_secret.open("sign-in").text


@pytest.mark.parametrize("value", ["x", "", "\xe4", "x" * 600, "WyJhbm4iXQ.x"])
def test_no_other_text_is_a_session(value: str) -> None:
    site = _site()
    site.client.set_cookie(COOKIE, value)

    assert site.open("v1/queues").status_code == 401


def test_a_link_of_ours_is_no_session() -> None:
    """They are signed with the same secrets."""
    site = _site()
    app = site.client.application
    links = StatusLinks(Signer(LINK_SECRETS), MovingClock())
    site.client.set_cookie(COOKIE, links.token(app, "ann", 60))

    assert site.open("v1/queues").status_code == 401


def test_after_the_sign_in_the_page_that_was_asked_for_is_next() -> None:
    asked = _site().enter(back="jobs%3Fstatus%3Ddead")

    assert where(asked) == f"{PREFIX}/jobs?status=dead"
    assert where(_site().enter(back="https://x.example")) == f"{PREFIX}/"
    assert where(_site().enter(_back="//x.example")) == f"{PREFIX}/"


def test_a_wrong_token_is_counted_and_a_right_one_always_passes() -> None:
    site = _site(clock=MovingClock())

    for _ in range(10):
        answer = site.enter("wrong")
        assert answer.status_code == 401
        assert UNKNOWN in answer.text
        assert "wrong" not in values(answer.text).values()
    locked = site.enter("wrong")

    assert locked.status_code == 429
    assert locked.headers["Retry-After"] == "60"
    assert "Wait 60 s" in locked.text
    assert "Set-Cookie" not in locked.headers
    # Those of programs count with them.
    refused = site.open("v1/queues", Authorization="Bearer wrong")
    assert refused.status_code == 429
    assert site.enter().status_code == 303


@on_sqlite
def test_a_caller_of_other_means_is_named_beside_the_form(storage: Storage) -> None:
    page = _site(storage).open("sign-in", Authorization=f"Bearer {TOKEN}")

    assert "<h1>You are signed in as ann</h1>" in page.text
    assert ">Or sign in with a token</span>" in page.text
    # Enter goes on, and the field does not take the focus from that.
    assert "autofocus" not in page.text
    assert 'id="live"' not in page.text
    assert 'name="token"' in page.text


def test_nobody_is_signed_in_by_another_site() -> None:
    """Else a person would work under the name of somebody else."""
    site = _site()
    fields = {**values(site.open("sign-in").text), "token": TOKEN}

    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "https://x.example"},
    ):
        assert site.post("sign-in", fields, **headers).status_code == 403
    stale = site.post("sign-in", {**fields, "_token": "0" * 32})
    assert stale.status_code == 403
    assert AGAIN in stale.text
    # What the page says is enough to go on.
    again = {**values(stale.text), "token": TOKEN}
    assert site.post("sign-in", again).status_code == 303


@on_sqlite
def test_to_sign_out_ends_the_session(storage: Storage) -> None:
    site = _site(storage)
    site.enter()
    page = site.open("sign-out")

    refused = site.post("sign-out", {"_token": "0" * 32})
    assert refused.status_code == 403
    # The button of every page and the page of its own do the same.
    assert page.text.count('action="./sign-out"') == 2
    answer = site.post("sign-out", values(page.text))

    assert where(answer) == f"{PREFIX}/sign-in"
    assert site.client.get_cookie(COOKIE, path=PREFIX) is None
    assert site.open("v1/queues").status_code == 401


def test_without_a_secret_the_page_names_the_setting() -> None:
    site = _site(link_secrets=())

    page = site.open("sign-in")

    assert "FORGE_JOBS_LINK_SECRETS" in page.text
    assert "SECRET_KEY" in page.text
    assert 'name="token"' not in page.text
    nonce = "a" * 22
    site.client.set_cookie(NONCE_COOKIE, nonce)
    assert site.post("sign-in", {"token": TOKEN}).status_code == 403
    site.client.application.secret_key = "a secret of the application"
    assert site.enter().status_code == 303


def test_with_a_login_of_the_application_the_page_points_there() -> None:
    closed = _site(entry=None)
    login = _site(entry=None, authenticator=lambda _: None)

    assert "FORGE_JOBS_AUTH" in closed.open("sign-in").text
    assert "own login opens this service" in login.open("sign-in").text
    for site in (closed, login):
        assert 'name="token"' not in site.open("sign-in").text


def test_the_index_leads_a_stranger_to_the_sign_in() -> None:
    assert 'href="./sign-in"' in _site().open("").text


@pytest.mark.parametrize("entry", [None, ENTRY], ids=["login", "login and tokens"])
def test_every_closed_page_links_to_the_login_of_the_application(
    entry: dict[str, Any] | None,
) -> None:
    site = _site(
        entry=entry, authenticator=lambda _: False, dashboard_login="/login?next=/jobs"
    )

    for path, status in (("", 200), ("queues", 401), ("sign-in", 200)):
        page = site.open(path)

        assert page.status_code == status
        links = [each["href"] for each in parsed(page.text).all("a")]
        assert "/login?next=/jobs" in links, path
