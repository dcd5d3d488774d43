"""The page of one queue, through the real application."""

from __future__ import annotations

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import parsed
from tests.dashboard.pages.test_queues import changes, page_of
from tests.dashboard.sites import open_page


def test_it_says_why_it_does_not_run(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    page = page_of(storage, "/queues/mail")

    assert "No live worker serves mail." in page.find("#headline").text
    values = {
        field["name"]: field["value"]
        for field in page.all("input")
        if field["type"] == "number"
    }
    assert values["max_workers"] == "64"
    assert values["max_pending"] == ""


def test_an_unknown_queue_is_a_page_with_a_way_back(storage: Storage) -> None:
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))

    response = open_page(client, f"{PREFIX}/queues/none")

    assert response.status_code == 404
    assert parsed(response.text).find("main").all("a")


def test_its_slots_name_their_jobs(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    slots = [
        SlotReport("idle", "mail"),
        SlotReport("busy", "mail", current_job_id="01J0000000000000000000JOB1"),
    ]
    storage.workers.beat("worker-1", None, ["mail"], slots)

    rows = page_of(storage, "/queues/mail").find("#slots").all("tr")[1:]

    assert [row.all("td")[0].text for row in rows] == [
        "01J0000000000000000000JOB1", "idle",
    ]  # fmt: skip
    assert rows[0].all("a")[1].text == "worker-1"


def test_a_viewer_is_offered_no_change(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))

    page = page_of(storage, "/queues/mail?ask=pause&queue=mail", "viewer")

    assert changes(page) == []
    assert page.all("dialog") == []


def test_a_queue_of_others_is_refused(storage: Storage) -> None:
    storage.queues.create(QueueSettings("secret-queue"))
    limited = Principal.with_role("ann", "viewer", queues={"mail"})

    answer = open_page(
        client_of_principal(storage, limited), f"{PREFIX}/queues/secret-queue"
    )

    assert answer.status_code == 403
