"""The page of one queue, through the real application."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.handlers.attention.cache import FACTS
from flask_forge_jobs.handlers.snapshots import Known, Snapshots
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import parsed
from tests.dashboard.pages.test_queues import changes, page_of
from tests.dashboard.sites import open_page
from tests.support.jobs import claim_one, run
from tests.support.sql import Sql


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
    links = {
        each.text: each["href"] for each in parsed(response.text).find("main").all("a")
    }
    assert links == {"Show all queues": "../queues", "To the start page": "../"}


def test_its_slots_name_their_jobs(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    slots = [
        SlotReport("idle", "mail"),
        SlotReport("busy", "mail", current_job_id="01J0000000000000000000JOB1"),
    ]
    storage.workers.beat("worker-1", "mailer", ["mail"], slots)

    rows = page_of(storage, "/queues/mail").find("#slots").all("tr")[1:]

    assert [row.all("td")[0].text for row in rows] == [
        "…000JOB1", "idle",
    ]  # fmt: skip
    worker = rows[0].all("a")[1]
    assert (worker.text, worker["title"]) == ("mailer", "worker-1")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"paused": True}, "Workers make no slots for a paused queue."),
        ({"max_workers": 0}, "“Slots at most” is 0."),
        ({}, "No live worker serves this queue."),
    ],
)
def test_without_slots_it_says_why(
    storage: Storage, settings: dict[str, Any], words: str
) -> None:
    storage.queues.create(QueueSettings("mail", **settings))

    assert words in page_of(storage, "/queues/mail").find("#slots").text


def test_a_slot_is_not_idle_while_another_queue_has_its_thread(
    storage: Storage,
) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="bills"))
    storage.queues.ensure("mail")
    job = claim_one(storage, owner="worker-1", queue_name="bills")
    slots = [SlotReport("b", "bills", job.id), SlotReport("m", "mail")]
    process = WorkerProcess(threads=1)
    storage.workers.beat("worker-1", None, ["bills", "mail"], slots, process=process)

    (row,) = page_of(storage, "/queues/mail").find("#slots").all("tr")[1:]

    assert row.all("td")[0].text == "busy with another queue"


def test_its_numbers_of_running_jobs_agree(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    claim_one(storage, owner="gone", queue_name="mail")
    slots = [SlotReport("mail-0-here", "mail")]
    storage.workers.beat("here", None, ["mail"], slots)

    page = page_of(storage, "/queues/mail")

    assert "1 job in progress" in page.find("#headline").text
    tile = next(t for t in page.find("#tiles").all("a") if "Busy slots" in t.text)
    assert tile.text == "Busy slots0of 11 claimed ahead"
    assert "0 of 1 run its jobs, 1 claimed ahead" in page.find("#slots").text


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


def test_its_charts_have_the_range_of_the_address(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    run(storage, Done(), queue_name="mail")

    page = page_of(storage, "/queues/mail?range=24h&table=throughput")

    charts = {each["id"]: each for each in page.all("figure")}
    assert list(charts) == ["throughput", "wait_time", "run_time"]
    span = charts["wait_time"]["data-x"].split(",")[1:]
    assert span == ["900000", "96"]
    ranges = next(each for each in page.all("nav") if each["aria-label"] == "Range")
    links = {each.text: each["href"] for each in ranges.all("a")}
    assert links["1h"] == "?table=throughput"
    assert links["7d"] == "?range=7d&table=throughput"
    assert len(charts["throughput"].all("tbody")[0].all("tr")) == 96


@pytest.mark.parametrize("is_still", [False, True])
def test_a_refresh_reads_one_part_beside_the_queues(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch, *, is_still: bool
) -> None:
    storage.queues.create(QueueSettings("mail"))
    if is_still:
        storage.jobs.enqueue(NewJob("send", queue_name="mail"))
        storage.workers.beat("worker-1", None, ["mail"], [SlotReport("1", "mail")])
        sql.run("UPDATE forge_job SET scheduled_at = scheduled_at - 100000000")
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))
    asked: list[object] = []
    get = Snapshots.get

    def noting(snapshots: Snapshots, key: object, read: Any, **more: Any) -> Any:
        asked.append(key)
        return get(snapshots, key, read, **more)

    blocks = "headline,tiles,throughput,wait_time,run_time,slots"
    open_page(client, f"{PREFIX}/queues/mail")

    def aged(snapshots: Snapshots, key: Hashable) -> Known | None:
        value = known(snapshots, key)
        return None if value is None else Known(value.value, 50.0)

    known = Snapshots.known
    monkeypatch.setattr(Snapshots, "get", noting)
    monkeypatch.setattr(Snapshots, "known", aged)

    refreshed = open_page(client, f"{PREFIX}/queues/mail?only={blocks}")

    ids = [each["id"] for each in parsed(refreshed.text)._within() if each["id"]]
    assert set(blocks.split(",")) <= set(ids)
    assert len([key for key in asked if key != FACTS]) <= 2  # which the frame reads
    assert ("Completes none" in refreshed.text) is is_still


def test_a_queue_whose_worker_leaves_is_still_refreshed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of workers, which nothing shows any more, were renewed in vain."""
    slots = [SlotReport("1", "mail")]
    storage.queues.create(QueueSettings("mail"))
    storage.workers.beat("worker-1", "first", ["mail"], slots)
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))
    open_page(client, f"{PREFIX}/queues/mail")
    storage.workers.beat("worker-1", "first", ["bills"], [SlotReport("2", "bills")])
    known = Snapshots.known

    def aged(snapshots: Snapshots, key: Any) -> Known | None:
        value = known(snapshots, key)
        age_s = 59.0 if key[-1] == "workers" else 9.0
        return None if value is None else Known(value.value, age_s)

    monkeypatch.setattr(Snapshots, "known", aged)
    monkeypatch.setattr(
        Snapshots, "get", lambda _snapshots, _key, read, **_more: read()
    )

    refreshed = open_page(client, f"{PREFIX}/queues/mail?only=headline,slots")

    assert "No live worker serves mail." in refreshed.text
