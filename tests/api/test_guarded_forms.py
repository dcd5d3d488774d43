"""A form does what the JSON request does, and is let in by the same rules."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.auth.form_tokens import (
    MESSAGE,
    NONCE_COOKIE,
    FormTokens,
    new_nonce,
)
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.dashboard.forms.table import form_routes
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal, client_with_token
from tests.dashboard.forms.sending import TOKENS, Sender
from tests.dashboard.sites import PERSON
from tests.support.backends import on_sqlite

EVIL = '"><script>alert(1)</script>'
PAUSED = "form_v1_queue_set_paused"
UNASKED = faulty_storage(AssertionError("the storage was asked"))
API = [route for route in all_routes(enable_demo=True) if route.mutates]
FORMS = form_routes(all_routes(enable_demo=True))
PAUSE = {"action": "pause", "queues": "mail", "reason": "the disk is full"}


def _in(path: str) -> str:
    return re.sub("<.*?>", "none", path).removeprefix("/do/")


@on_sqlite
def test_every_form_without_its_token_is_refused(storage: Storage) -> None:
    sender = Sender(client_with_token(storage, "admin"))
    script = {"Accept": "application/json"}

    for form in FORMS:
        path = _in(form.path)
        for token in (None, "", "0" * 32, sender.token[:-1], sender.token + "0"):
            answer = sender.send(path, _token=token, headers=script)
            assert answer.status_code == 403, form.endpoint
            assert answer.json == {"kind": "forbidden", "msg": MESSAGE}


@on_sqlite
def test_a_form_of_another_origin_is_refused(storage: Storage) -> None:
    storage.queues.ensure("mail")
    client = client_of_principal(storage, Principal.with_role("ann", "admin"))
    sender = Sender(client, "user:ann")
    foreign = [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "", "Origin": "null"},
    ]
    for form in FORMS:
        for headers in foreign[:1] if form.endpoint != PAUSED else foreign:
            answer = sender.send(_in(form.path), {"paused": "true"}, headers=headers)
            assert answer.status_code == 403, form.endpoint
            # Nothing of it is repeated: the other site has written it.
            assert 'name="paused"' not in answer.text

    settings = storage.queues.get("mail")
    assert settings is not None
    assert not settings.paused


def _send_silently(client: FlaskClient, **more: str) -> int:
    """Send a form as an old browser, which does not say where it comes from."""
    data = {**PAUSE, **more}
    path = f"{PREFIX}/do/post/v1/queues/actions"
    return client.post(path, data=data, headers=PERSON).status_code


@on_sqlite
def test_a_browser_that_states_no_origin_needs_the_token_too(storage: Storage) -> None:
    storage.queues.ensure("mail")
    client = client_of_principal(storage, Principal.with_role("ann", "admin"))
    sender = Sender(client, "user:ann")

    assert _send_silently(client) == 403
    assert _send_silently(client, _token=sender.token) == 303


@on_sqlite
@pytest.mark.parametrize("role", ["viewer", "metrics"])
def test_a_viewer_may_send_no_form(storage: Storage, role: str) -> None:
    """P-06."""
    sender = Sender(client_with_token(storage, role))

    for form in FORMS:
        answer = sender.send(_in(form.path))
        assert answer.status_code == 403, form.endpoint
        assert form.permission is not None
        assert f"needs the permission {form.permission.value}" in answer.text


@on_sqlite
def test_a_service_for_reading_only_takes_no_form(storage: Storage) -> None:
    sender = Sender(client_with_token(storage, "admin", read_only=True))

    for form in FORMS:
        assert sender.send(_in(form.path)).status_code == 403, form.endpoint


def test_a_stranger_may_send_no_form() -> None:
    client = client_with_token(UNASKED, "admin")
    sender = Sender(client, "")
    del client.environ_base["HTTP_AUTHORIZATION"]

    for form in FORMS:
        assert sender.send(_in(form.path)).status_code == 401, form.endpoint


@on_sqlite
def test_a_caller_of_some_queues_reaches_no_others(storage: Storage) -> None:
    for name in ("mail", "other"):
        storage.queues.ensure(name)
    sender = Sender(client_with_token(storage, "operator", ["mail"]))

    statuses = [
        sender.send(f"patch/v1/queues/{name}", {"paused": "true"}).status_code
        for name in ("mail", "other")
    ]

    assert statuses == [303, 403]


@on_sqlite
def test_a_token_is_good_for_its_caller_browser_and_secret_only(
    storage: Storage,
) -> None:
    storage.queues.ensure("mail")
    client = client_with_token(storage, "operator")
    own = Sender(client)
    others = {
        "caller": TOKENS.token(client.application, "other", own.nonce),
        "browser": TOKENS.token(client.application, "ci", new_nonce()),
        "secret": FormTokens(Signer(())).token(client.application, "ci", own.nonce),
        "use": TOKENS.token(client.application, "ci", own.nonce, "note"),
    }

    for what, token in others.items():
        answer = own.send("post/v1/queues/actions", PAUSE, _token=token)
        assert answer.status_code == 403, what
    client.delete_cookie(NONCE_COOKIE)
    assert own.send("post/v1/queues/actions", PAUSE).status_code == 403
    client.set_cookie(NONCE_COOKIE, "x")
    assert own.send("post/v1/queues/actions", PAUSE).status_code == 403
    client.set_cookie(NONCE_COOKIE, own.nonce)
    assert own.send("post/v1/queues/actions", PAUSE).status_code == 303


@on_sqlite
def test_a_script_may_send_the_token_in_a_header(storage: Storage) -> None:
    storage.queues.ensure("mail")
    sender = Sender(client_with_token(storage, "operator"))

    for token, status in ((sender.token, 303), ("0" * 32, 403)):
        answer = sender.send(
            "post/v1/queues/actions",
            PAUSE,
            headers={"X-CSRF-Token": token},
            _token=None,
        )
        assert answer.status_code == status


@on_sqlite
def test_without_any_secret_the_token_is_that_of_the_cookie(storage: Storage) -> None:
    storage.queues.ensure("mail")
    client = client_with_token(storage, "operator", link_secrets=())
    sender = Sender(client)
    plain = FormTokens(Signer(())).token(client.application, "ci", sender.nonce)

    answer = sender.send("post/v1/queues/actions", PAUSE, _token=plain)

    assert answer.status_code == 303


@on_sqlite
def test_a_form_sent_twice_with_its_key_adds_one_job(storage: Storage) -> None:
    sender = Sender(client_with_token(storage, "operator"))
    job = {"kind": "send", "payload": "{}", "queue": "mail"}

    for _ in range(2):
        sender.send("post/v1/jobs", job, _request_key="one")

    counts = sender.client.get(f"{PREFIX}/v1/jobs/counts").json or {}
    assert counts["total"] == 1
