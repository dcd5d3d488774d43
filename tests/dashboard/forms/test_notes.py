"""A note is shown once, to its browser, and holds no secret and no foreign words."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

from flask.testing import FlaskClient

from flask_forge_jobs.auth.form_tokens import NONCE_COOKIE, new_nonce
from flask_forge_jobs.dashboard.forms.notes import COOKIE, MAX_LENGTH
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.dashboard.forms.sending import TOKENS, Sender
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import PERSON
from tests.support.backends import on_sqlite

EVIL = "<script>alert(1)</script>"


def _notes(client: FlaskClient, path: str = "") -> str:
    """Return the messages of a page."""
    page = client.get(f"{PREFIX}/{path}", headers=PERSON).text
    return page.partition('<div id="messages">')[2].partition("</div>")[0]


def _form(client: FlaskClient) -> Element | None:
    """Return the form in the messages of a page."""
    _, tag, rest = _notes(client).partition("<form")
    if not tag:
        return None
    return parsed(tag + rest.partition("</form>")[0] + "</form>").find("form")


@on_sqlite
def test_a_note_is_shown_once_by_a_whole_page(storage: Storage) -> None:
    storage.queues.ensure("mail")
    sender = Sender(client_with_token(storage, "operator"))
    sender.send("patch/v1/queues/mail", {"paused": "true"})

    _notes(sender.client, "?only=state")
    first = _notes(sender.client)
    second = _notes(sender.client)

    assert "<b>mail is paused.</b>" in first.replace("\n", "")
    assert 'role="status"' in first
    assert second == ""


@on_sqlite
def test_a_note_carries_the_way_to_undo_its_change(storage: Storage) -> None:
    storage.queues.ensure("mail")
    sender = Sender(client_with_token(storage, "operator"))
    sender.send("post/v1/queues/actions", {"action": "pause", "queues": "mail"})

    form = _form(sender.client)
    assert form is not None
    fields = {field["name"]: field["value"] for field in form.all("input")}
    path, body = form["action"].partition("do/")[2], {"_body": fields["_body"]}
    storage.queues.change("mail", {"paused": False})
    storage.queues.change("mail", {"paused": True})
    refused = sender.send(path, body)
    assert refused.status_code == 412
    assert "the queue has been changed since" in refused.text
    assert storage.queues.get("mail").paused

    sender.send("post/v1/queues/actions", {"action": "resume", "queues": "mail"})
    sender.send("post/v1/queues/actions", {"action": "pause", "queues": "mail"})
    form = _form(sender.client)
    assert form is not None
    fields = {field["name"]: field["value"] for field in form.all("input")}
    sender.send(path, {"_body": fields["_body"]})

    assert form.find("button").text == "Undo"
    assert not storage.queues.get("mail").paused
    assert _form(sender.client) is None


@on_sqlite
def test_a_note_is_masked_bounded_and_escaped(storage: Storage) -> None:
    sender = Sender(client_with_token(storage, "operator"))
    job = {"kind": "k", "payload": "{}"}
    sender.send("post/v1/queues", {"name": f"q{EVIL}"})

    name = _notes(sender.client)
    sender.send("post/v1/queues/actions", {"action": "pause", "queues": f"q{EVIL}"})
    secret = "postgresql://ann:hunter22@db/x"
    sender.send("put/v1/rate-limits/" + "x" * 90, {"capacity": 1, "refill_per_sec": 1})
    long = _notes(sender.client)
    sender.send("post/v1/cron", {**job, "name": secret, "cron_expr": "5 4 * * *"})

    assert EVIL not in name
    assert len(long) < MAX_LENGTH + 300
    assert "hunter22" not in _notes(sender.client)


@on_sqlite
def test_nobody_else_can_put_words_on_a_page(storage: Storage) -> None:
    sender = Sender(client_with_token(storage, "operator"))
    client = sender.client
    text = json.dumps(["Call this number.", "good", "", None], separators=(",", ":"))
    encoded = urlsafe_b64encode(text.encode()).decode()
    good = TOKENS.token(client.application, "ci", sender.nonce, f"note {text}")
    forged = {
        "no token": f".{encoded}",
        "token of a form": f"{sender.token}.{encoded}",
        "another browser": (
            TOKENS.token(client.application, "ci", new_nonce(), f"note {text}")
            + f".{encoded}"
        ),
        "no text": f"{good}.",
        "no Base64": f"{good}.\xe4",
        "long": f"{good}.{encoded}{'x' * 3800}",
    }

    for what, value in forged.items():
        client.set_cookie(COOKIE, value)
        assert _notes(client) == "", what
        assert client.get_cookie(COOKIE) is None, what
    client.set_cookie(COOKIE, f"{good}.{encoded}")
    assert "Call this number." in _notes(client)


@on_sqlite
def test_the_note_of_another_user_is_not_shown(storage: Storage) -> None:
    """A neighbouring host can give a browser the cookies of another one."""
    eve = Sender(client_with_token(storage, "operator", token_id="eve"), "eve")
    eve.send("post/v1/queues", {"name": "Call this number"})
    ann = client_with_token(storage, "admin")
    for name in (NONCE_COOKIE, COOKIE):
        kept = eve.client.get_cookie(name)
        assert kept is not None
        ann.set_cookie(name, kept.value)

    assert _notes(ann) == ""
    assert "Call this number" in _notes(eve.client)
