"""A form goes back to its page, and a script gets the same as JSON."""

from __future__ import annotations

from flask_forge_jobs.dashboard.forms.notes import COOKIE
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.dashboard.forms.sending import Sender, where

PAUSE = {"action": "pause", "queues": "mail", "reason": "the disk is full"}


def test_a_form_pauses_a_queue_and_goes_back_with_a_note(storage: Storage) -> None:
    storage.queues.ensure("mail")
    operator = Sender(client_with_token(storage, "operator"))

    answer = operator.send("post/v1/queues/actions", PAUSE)

    assert where(answer) == f"{PREFIX}/queues?sort=name"
    settings = storage.queues.get("mail")
    assert settings is not None
    assert settings.paused
    assert settings.pause_reason == "the disk is full"
    assert answer.data == b""
    assert answer.mimetype == "text/html"  # Flask-DebugToolbar needs one
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for part in ("Max-Age=60", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert part in cookie


def test_a_script_gets_the_same_as_json(storage: Storage) -> None:
    storage.queues.ensure("mail")
    operator = Sender(client_with_token(storage, "operator"))
    script = {"Accept": "application/json"}

    answer = operator.send("post/v1/queues/actions", PAUSE, headers=script)
    paused_at = storage.queues.get("mail").paused_at
    assert paused_at is not None
    ends = format_instant(paused_at)
    refusal = operator.send("post/v1/queues/actions", {}, headers=script)

    assert answer.json == {
        "message": "mail is paused.",
        "tone": "good",
        "link": "",
        "undo": [
            "Undo",
            {
                "_token": operator.token,
                "_back": "queues?sort=name",
                "_body": f'{{"action":"resume","queues":["mail"],"ends":"{ends}"}}',
            },
        ],
        "back": "queues?sort=name",
        "answer": {"changed": 1},
    }
    assert "Set-Cookie" not in answer.headers
    assert refusal.status_code == 400
    assert refusal.json == {
        "kind": "validation", "field": "action", "msg": "is required"
    }  # fmt: skip
