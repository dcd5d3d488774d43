"""A refused form says why, and nothing that was typed is lost."""

from __future__ import annotations

from html import unescape

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.dashboard.forms.sending import Sender, values
from tests.support.backends import on_sqlite

EVIL = '"><script>alert(1)</script>'
PAUSE = {"action": "pause", "queues": "mail", "reason": "the disk is full"}


@on_sqlite
def test_a_refused_form_shows_its_values_again_and_can_be_sent_again(
    storage: Storage,
) -> None:
    storage.queues.ensure("mail")
    sender = Sender(client_with_token(storage, "operator"))
    typed = {"max_workers": "many", "reason": EVIL, "max_pending": "1\n2"}

    answer = sender.send("patch/v1/queues/mail", typed, _if_match="*")

    assert answer.status_code == 400
    assert answer.content_type == "text/html; charset=utf-8"
    page = answer.text
    assert "<b>max_workers</b> must be a whole number" in page
    assert f'request <code class="rid">{answer.headers["X-Request-Id"]}</code>' in page
    assert "<script>alert" not in page
    assert 'href="../../../../queues?sort=name"' in page
    again = {key: unescape(text) for key, text in values(page).items()}
    assert again.pop("_back") == "queues?sort=name"
    assert again == {
        "_token": sender.token,
        "_if_match": "*",
        "max_workers": "many",
        "reason": EVIL,
    }
    assert "\n1\n2</textarea>" in page
    again["max_workers"] = "7"
    assert sender.send("patch/v1/queues/mail", again).status_code == 303


@on_sqlite
def test_a_form_that_may_not_be_sent_shows_its_values_to_copy_only(
    storage: Storage,
) -> None:
    """Somebody else may have filled it in."""
    sender = Sender(client_with_token(storage, "operator"))

    refused = sender.send("post/v1/queues/actions", PAUSE, _token="0" * 32)
    del sender.client.environ_base["HTTP_AUTHORIZATION"]
    signed_out = sender.send("post/v1/queues/actions", PAUSE)

    for answer, status in ((refused, 403), (signed_out, 401)):
        assert answer.status_code == status
        assert values(answer.text)["reason"] == "the disk is full"
        assert "readonly" in answer.text
        assert "Send again" not in answer.text


@on_sqlite
def test_somebody_else_has_stored_the_settings_meanwhile(storage: Storage) -> None:
    """D-11."""
    storage.queues.ensure("mail")
    sender = Sender(client_with_token(storage, "operator"))
    read = sender.client.get(f"{PREFIX}/v1/queues/mail").headers["ETag"]
    sender.client.patch(f"{PREFIX}/v1/queues/mail", json={"max_workers": 3})

    answer = sender.send("patch/v1/queues/mail", {"max_workers": "9"}, _if_match=read)

    assert answer.status_code == 412
    again = values(answer.text)
    assert "_if_match" not in again
    assert sender.send("patch/v1/queues/mail", again).status_code == 303
