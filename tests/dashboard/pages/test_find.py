"""The search behind the palette, through the real application."""

from __future__ import annotations

from typing import Any

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import ChangeNote, QueueSettings
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import parsed
from tests.dashboard.sites import open_page


def hits(
    storage: Storage,
    text: str,
    role: str = "admin",
    queues: frozenset[str] | None = None,
) -> list[tuple[str, str, str]]:
    """Return the kind, the name and the address of each hit."""
    principal = Principal.with_role("ann", role, queues=queues)
    client = client_of_principal(storage, principal)
    response = open_page(client, f"{PREFIX}/find?q={text}&only=results")
    assert response.status_code == 200, response.text
    hits = []
    for item in parsed(response.text).all("li"):
        if item["class"] == "none":
            continue
        target = (item.all("a") or item.all("button"))[0]
        kind = target.find("small").text
        hits.append((kind, target.text.removesuffix(kind), target["href"]))
    return hits


def test_without_a_text_it_offers_the_pages(storage: Storage) -> None:
    found = hits(storage, "")

    assert ("page", "Queues", "./queues") in found


def test_it_finds_everything_by_a_part_of_its_name(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    job_id = storage.jobs.enqueue(NewJob("email send", queue_name="mail")).id
    storage.cron.create(
        ScheduleDefinition(name="daily mail", kind="digest", cron_expr="0 5 * * *")
    )
    storage.workers.beat("worker-1", "mailer", ["mail"], [])

    found = hits(storage, "MAIL")

    assert ("queue", "mail", "./queues/mail") in found
    assert ("kind", "email send", "./jobs?kind=email+send") in found
    assert ("schedule", "daily mail", "./cron/daily%20mail") in found
    assert ("worker", "mailer", "./workers/worker-1") in found
    assert ("action", "Pause mail", "./queues?ask=pause&queue=mail") in found
    # Names that begin with the text come first.
    assert found[0][1].casefold().startswith("mail")
    assert hits(storage, job_id.lower()) == [("job", job_id, f"./jobs/{job_id}")]
    assert hits(storage, "nothing-has-this") == []


def test_a_batch_is_found_by_its_name_or_id(storage: Storage) -> None:
    jobs = [NewJob("part", queue_name="mail")]
    batch_id = storage.batches.create(NewBatch("report 7"), jobs).id

    found = ("batch", "report 7", f"./batches/{batch_id}")

    assert found in hits(storage, "PORT+7")
    assert hits(storage, batch_id.lower()) == [("batch", batch_id, found[2])]
    for text in ("report+7", batch_id):
        assert hits(storage, text, queues=frozenset({"other"})) == []
        assert hits(storage, text, queues=frozenset({"mail"}))


def test_actions_show_what_they_do_and_come_last_for_a_text(storage: Storage) -> None:
    for number in range(8):
        name = f"mail-{number}"
        storage.queues.create(QueueSettings(name, paused=number == 0))
        storage.jobs.enqueue(NewJob(f"mail {number}", queue_name=name))
    client = client_of_principal(storage, Principal.with_role("ann", "admin"))

    for text in ("mail", ""):
        page = parsed(open_page(client, f"{PREFIX}/find?q={text}").text)
        rows = page.find("#results").all("li")
        kinds = [row.find("small").text for row in rows]
        acts = kinds.count("action")
        assert "action" not in (kinds[:-acts] if text else kinds[acts:])
        assert acts >= (4 if text else 1)
        # A verb that looks like a button; the script chooses none of these by itself.
        shown = [[span["class"] for span in row.all("span")] for row in rows]
        verbs: list[list[str]] = [["btn s"]] * acts
        places: list[list[str]] = [[]] * (len(rows) - acts)
        assert shown == (places + verbs if text else verbs + places)


def test_a_long_name_does_not_hide_why(storage: Storage) -> None:
    name = "mail" * 20
    storage.queues.create(QueueSettings(name))
    storage.jobs.enqueue(NewJob("send", queue_name=name))
    storage.queues.change(name, {"paused": True}, note=ChangeNote("ops", "full"))

    _, shown, _ = hits(storage, "")[0]

    assert shown.startswith(f"Resume {name[:39]}… is paused by ops")


def test_pages_are_found_while_the_database_is_away() -> None:
    away = faulty_storage(StorageUnavailableError("gone"))
    client = client_of_principal(away, Principal.with_role("ann", "admin"))

    for text in ("", "QUEUES"):
        answer = open_page(client, f"{PREFIX}/find?q={text}")
        assert answer.status_code == 200
        found = parsed(answer.text).find("#results")
        assert "The database does not answer" in found.all("li")[0].text
        assert "./queues" in [each["href"] for each in found.all("a")]


def test_a_viewer_is_offered_no_act(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail", paused=True))
    storage.queues.create(QueueSettings("mailing"))
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    assert "action" not in {kind for kind, _, _ in hits(storage, "mail", "viewer")}
    viewer = client_of_principal(storage, Principal.with_role("eve", "viewer"))
    unoffered = open_page(viewer, f"{PREFIX}/find?q=resume").text
    assert "Nothing has this in its name." in unoffered
    acts = [each for each in hits(storage, "resume") if each[0] == "action"]
    assert acts
    # The act of the attention report is a form, which has no address.
    assert acts[0][2] == ""


def test_from_afar_a_server_with_the_debugger_offers_no_change(
    storage: Storage,
) -> None:
    storage.queues.create(QueueSettings("mail"))
    client = client_of_principal(storage, Principal.with_role("ann", "admin"))
    client.environ_base["REMOTE_ADDR"] = "::2"
    address = f"{PREFIX}/find?q=mail"
    assert "ask=pause" in open_page(client, address).text

    debugger: Any = {"werkzeug.debug.preserve_context": lambda _context: None}
    client.environ_base.update(debugger)
    text = open_page(client, address).text

    assert "ask=pause" not in text
    assert "The debugger is on: nothing can be changed here" in text


def test_a_limited_caller_finds_its_own_only(storage: Storage) -> None:
    for name in ("mail", "mail-secret"):
        storage.queues.create(QueueSettings(name))
    hidden = storage.jobs.enqueue(NewJob("mail kind", queue_name="mail-secret")).id
    storage.workers.beat("mail-worker", None, ["mail-secret"], [])
    storage.cron.create(
        ScheduleDefinition(name="mail cron", kind="mail", cron_expr="0 5 * * *")
    )

    found = hits(storage, "mail", queues=frozenset({"mail"}))

    assert {name for _, name, _ in found} <= {"mail", "Pause mail"}
    assert hits(storage, hidden, queues=frozenset({"mail"})) == []
