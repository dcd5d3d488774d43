"""Workers as a page, on both backends."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.auth.permissions import ROLES, Principal
from flask_forge_jobs.dashboard.workers import view as module
from flask_forge_jobs.handlers.queues import overview
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.browser.filling import hostile, sample
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import open_page
from tests.support.jobs import claim_one, enqueue, job_with, rescue_all
from tests.support.sql import Sql

STRANGE = frozenset(("script", "img", "iframe", "style", "object", "base", "b1"))
PATH = f"{PREFIX}/workers"


def client_of(storage: Storage, *queues: str) -> FlaskClient:
    names = frozenset(queues) if queues else None
    return client_of_principal(storage, Principal("ann", ROLES["admin"], names))


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    """A client of an admin."""
    return client_of(storage)


def shown(client: FlaskClient, path: str = "", status: int = 200) -> Element:
    answer = open_page(client, PATH + path)
    assert answer.status_code == status, answer.text
    return parsed(answer.text)


def start(
    storage: Storage,
    worker_id: str,
    *queues: str,
    slots: int = 2,
    busy: int = 1,
    host: str = "web-2",
    threads: int | None = None,
) -> list[str]:
    """Register a worker; of each queue some slots run a job, whose ids return."""
    reports, job_ids = [], []
    for name in queues:
        for number in range(slots):
            job_id = None
            if number < busy:
                job_id = enqueue(storage, f"kind-{name}", queue_name=name)
                claim_one(storage, owner=worker_id, queue_name=name)
                job_ids.append(job_id)
            slot_id = f"{name}-{number}-{worker_id}"
            reports.append(SlotReport(slot_id, name, current_job_id=job_id))
    process = WorkerProcess(version="0.1.0", host=host, pid=77, threads=threads)
    name = f"name-{worker_id}"
    storage.workers.beat(worker_id, name, queues, reports, process=process)
    return job_ids


def test_slots_say_what_they_run(storage: Storage, client: FlaskClient) -> None:
    mail, bank = start(storage, "w1", "mail", "bank")

    page = shown(client)

    assert page.find("h1").text == "1 worker runs, 2 of 4 slots busy"
    card = next(each for each in page.all("section") if "name-w1" in each.text)
    assert "live" in card.text
    assert "web-2 · pid 77" in card.text
    (slots, _) = [each for each in card.all("div") if each["class"] == "slots"]
    assert slots["aria-label"] == "mail: 1 of 2 slots busy"
    assert slots.find("a")["href"] == f"./jobs/{mail}"
    assert slots.find("a")["title"] == "kind-mail of mail"
    assert len(slots.all("i")) == 1
    assert bank in "".join(each["href"] for each in card.all("a"))


def test_jobs_that_are_claimed_ahead_are_told(
    storage: Storage, client: FlaskClient
) -> None:
    start(storage, "w1", "mail", busy=0)
    for _ in range(3):
        enqueue(storage, queue_name="mail")
        claim_one(storage, owner="w1", queue_name="mail")

    assert shown(client).find("h1").text == (
        "1 worker runs, 0 of 2 slots busy, 3 claimed ahead"
    )
    assert "No job is in its slots." in shown(client, "/w1").find("#slots").text
    one = shown(client, "/w1")
    assert one.find("#slots").find("small").text == "0 of 2 busy, 3 claimed ahead"


def test_the_headline_counts_as_the_bar_above_it(
    storage: Storage, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of queues is read a moment later."""
    start(storage, "w1", "mail", busy=0)
    for _ in range(3):
        enqueue(storage, queue_name="mail")
    for _ in range(2):
        claim_one(storage, owner="w1", queue_name="mail")

    def later(*args: Any, **options: Any) -> Any:
        claim_one(storage, owner="w1", queue_name="mail")
        return overview(*args, **options)

    monkeypatch.setattr(module, "overview", later)
    page = shown(client)

    assert "2 in progress" in page.find("#state").text
    assert page.find("h1").text.endswith("2 claimed ahead")


def test_a_lost_worker_without_a_host_or_a_life_is_told_in_whole_sentences(
    storage: Storage, client: FlaskClient
) -> None:
    storage.workers.beat("w1", "name-w1", ["mail"], [])
    storage.workers.reap(["w1"])

    alerts = shown(client).find("#alerts").text

    assert "name-w1 is lost: it was last seen now. It ran no job." in alerts


def test_the_queues_of_a_worker_share_its_threads(
    storage: Storage, client: FlaskClient
) -> None:
    """Three queues of two slots each, and three threads, two of which run jobs."""
    names = ["bank", "mail", "sms"]
    start(storage, "w1", "mail", slots=0, threads=3)
    reports = [SlotReport(f"{name}-{n}-w1", name) for name in names for n in (0, 1)]
    for name in names[:2]:
        job_id = enqueue(storage, queue_name=name)
        claim_one(storage, owner="w1", queue_name=name)
        reports.append(SlotReport(f"{name}-2-w1", name, current_job_id=job_id))
    process = WorkerProcess(threads=3)
    storage.workers.beat("w1", "name-w1", [*names, "off"], reports, process=process)

    page = shown(client)
    one = shown(client, "/w1")

    assert page.find("h1").text == "1 worker runs, 2 of 3 slots busy"
    (slots,) = [each for each in page.all("div") if each["class"] == "slots"]
    assert slots["aria-label"] == "3 queues: 2 of 3 slots busy"
    assert len(slots.all("a")) == 2
    assert len(slots.all("i")) == 1
    assert "It serves bank, mail, sms." in page.find("main").text
    assert "No slot for off" in page.find("main").text
    assert "2 of 3 busy" in one.find("#slots").text


def test_a_slot_whose_job_has_ended_since_the_report_is_busy(
    storage: Storage, client: FlaskClient
) -> None:
    """Each job ends within moments, and the next one has begun."""
    reports = [
        SlotReport("mail-0-w1", "mail", current_job_id="ended"),
        SlotReport("mail-1-w1", "mail"),
    ]
    storage.queues.ensure("mail")
    storage.workers.beat("w1", "name-w1", ["mail"], reports)

    page = shown(client)

    assert page.find("h1").text == "1 worker runs, 1 of 2 slots busy"
    (slots,) = [each for each in page.all("div") if each["class"] == "slots"]
    assert slots["aria-label"] == "mail: 1 of 2 slots busy"
    assert [each.text for each in slots.all("a")] == ["<1s"]
    assert "1 of 2 busy" in shown(client, "/w1").find("#slots").text


def test_who_serves_what_is_a_table(storage: Storage, client: FlaskClient) -> None:
    storage.queues.ensure("mail")
    start(storage, "w1", "mail", busy=0)
    start(storage, "w2", "bank", slots=3, busy=0)
    enqueue(storage, queue_name="bank")

    table = shown(client).find("table")

    rows = [row.all("th") + row.all("td") for row in table.all("tr")]
    assert [[cell.text for cell in row] for row in rows] == [
        ["Queue", "Slots", "Waiting", "name-w2", "name-w1"],
        ["bank", "3", "1", "3", "·"],
        ["mail", "2", "0", "·", "2"],
    ]  # fmt: skip


def test_a_queue_without_slots_has_its_reason_in_the_table(
    storage: Storage, client: FlaskClient
) -> None:
    """Beside other queues without a worker, the bare 0 of a paused one was one more."""
    for name in ("mail", "paused", "unserved"):
        storage.queues.ensure(name)
    start(storage, "w1", "mail", busy=0)
    storage.queues.set_paused_many(["paused"], paused=True)

    table = shown(client).find("table")

    slots = {
        row.find("th").text: (row.find("td").text, row.find("td")["class"])
        for row in table.all("tr")[1:]
    }
    assert slots == {
        "mail": ("2", ""), "paused": ("0 paused", "warn"), "unserved": ("0", "bad")
    }  # fmt: skip


def test_D21_a_late_worker_and_a_lost_one_stay_with_the_fate_of_their_jobs(
    storage: Storage, client: FlaskClient, sql: Sql
) -> None:
    (job_id,) = start(storage, "lost", "mail")
    assert rescue_all(storage) == 1
    storage.workers.reap(["lost"])
    start(storage, "late", "bank")
    sql.age(31)
    start(storage, "live", "mail", busy=0)

    page = shown(client)
    one = shown(client, "/lost")

    assert page.find("h1").text.startswith("2 workers run, ")
    assert "1 lost, 1 late" in page.find("#summary").text
    alerts = page.find("#alerts").text
    assert "name-lost is lost" in alerts
    assert "1 job that it ran was rescued: 1 waits for a retry." in alerts
    assert "name-late is late" in alerts
    assert "others take its 1 job" in alerts
    assert "Lost" in one.find("#worker").text
    assert "No slot for" not in one.find("#slots").text
    assert job_id in "".join(e["href"] for e in one.find("#rescued").all("a"))


def test_a_worker_with_many_queues_shows_the_busy_ones_first(
    storage: Storage, client: FlaskClient
) -> None:
    names = [f"queue-{number:02}" for number in range(15)]
    start(storage, "w1", *names[:14], busy=0, slots=1)
    enqueue(storage, queue_name=names[14])
    job = claim_one(storage, owner="w1", queue_name=names[14])
    slots = [SlotReport(f"{name}-0", name) for name in names[:14]]
    slots.append(SlotReport("last", names[14], current_job_id=job.id))
    storage.workers.beat("w1", "name-w1", names, slots)

    (card,) = (e for e in shown(client).all("section") if e["class"] == "panel wk")
    listed = [e.find("b").text for e in card.all("div") if e["class"] == "slots"]
    one = shown(client, "/w1").find("#slots")

    assert listed == [names[14], *names[:11]]
    assert "3 more queues" in card.text
    assert len([e for e in one.all("div") if e["class"] == "slots"]) == 15


def test_workers_of_some_hosts(storage: Storage, client: FlaskClient) -> None:
    for number in range(3):
        start(storage, f"w{number}", "mail", busy=0, host=f"web-{number}")

    page = shown(client, "?host=web-0&host=web-2&range=6h")
    names = [each.text for each in page.all("h2")]
    (form,) = (each for each in page.all("form") if each["role"] == "search")
    fields = [(each["name"], each["value"]) for each in form.all("input")]
    chips = [each["href"] for each in form.all("a")]

    assert {"name-w0", "name-w2"} <= set(names)
    assert "name-w1" not in names
    assert [each.text for each in form.all("option")] == ["web-1"]
    assert fields == [
        ("range", "6h"), ("host", "web-0"), ("host", "web-2"), ("host", "")
    ]  # fmt: skip
    assert chips == ["?host=web-2&range=6h", "?host=web-0&range=6h"]
    nowhere = shown(client, "?host=elsewhere")
    assert nowhere.find("h1").text == "No worker matches"
    assert "The filter leaves out all workers" in nowhere.find("#workers").text
    assert "3 workers run." in nowhere.find("#workers").text
    # One host needs no filter.
    alone = client_of(storage, "other")
    assert not [e for e in shown(alone).all("form") if e["role"] == "search"]


def test_queues_that_nobody_serves_are_named(
    storage: Storage, client: FlaskClient
) -> None:
    start(storage, "w1", "mail")
    enqueue(storage, queue_name="bank")
    job_with(storage, JobStatus.FAILED, queue_name="later")
    storage.queues.ensure("idle")
    for name in ("paused", "mail"):
        storage.queues.ensure(name)
        storage.queues.change(name, {"paused": True})

    alerts = shown(client).find("#alerts").text

    assert "Queue bank has no worker. 1 job waits" in alerts
    # In the words of the attention report.
    assert "Queue later has no worker. 1 job retries." in alerts
    assert "Idle or paused, and without a live worker: idle, paused." in alerts


def test_the_first_of_many_queues_that_nobody_serves(
    storage: Storage, client: FlaskClient
) -> None:
    for number in range(10):
        enqueue(storage, queue_name=f"queue-{number}")

    alerts = shown(client).find("#alerts")

    assert len(alerts.all("li")) == 6
    assert "Jobs wait in 5 more queues." in alerts.text


def test_without_workers_the_command_is_shown(client: FlaskClient) -> None:
    page = shown(client)

    assert page.find("h1").text == "No worker is running"
    assert "flask forge-jobs worker" in page.find("#workers").text


def test_many_workers_are_lines_on_pages(
    storage: Storage, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 3)
    for number in range(5):
        start(storage, f"w{number}", "mail", busy=0)

    first = shown(client)
    (following,) = [each for each in first.all("a") if each.text == "Next"]
    second = shown(client, following["href"])

    names = [
        link.text
        for page in (first, second)
        for link in page.find("#workers").all("a")
        if link["href"].startswith("./workers/")
    ]
    assert sorted(names) == [f"name-w{number}" for number in range(5)]


def test_a_page_whose_workers_have_stopped_says_so(
    storage: Storage, client: FlaskClient, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 1)
    for number in range(2):
        start(storage, f"w{number}", "mail", busy=0)
    (following,) = [each for each in shown(client).all("a") if each.text == "Next"]
    sql.run("DELETE FROM forge_worker WHERE worker_id = 'w0'")

    page = shown(client, following["href"])

    assert page.find("h1").text.startswith("1 worker runs")
    assert "No live worker on this page" in page.find("#workers").text


@pytest.mark.parametrize("query", ["?state=x", "?cursor=x", "?queue=", "?nonsense=1"])
def test_invalid_parameters_fall_back(
    storage: Storage, client: FlaskClient, query: str
) -> None:
    start(storage, "w1", "mail")

    assert shown(client, query).find("h1").text.startswith("1 worker runs")


def test_workers_are_filtered(storage: Storage, client: FlaskClient) -> None:
    start(storage, "w1", "mail")
    start(storage, "w2", "bank")

    page = shown(client, "?queue=bank")

    assert "name-w2" in page.find("#workers").text
    assert "name-w1" not in page.find("#workers").text
    assert "Show all workers" in page.find("#summary").text


# -- one worker --------------------------------------------------------------------


def test_one_worker_lists_its_jobs(storage: Storage, client: FlaskClient) -> None:
    (job_id,) = start(storage, "w1", "mail")

    page = shown(client, "/w1")

    assert page.find("h1").text == "name-w1"
    assert "1 of 2 busy" in page.find("#slots").text
    assert job_id[-7:] in page.find("#slots").text
    assert "mail-0-w1" in page.find("#slots").text


@pytest.mark.parametrize("name", ["none", "<script>", "x" * 300])
def test_a_missing_worker_has_a_page_with_a_way_back(
    client: FlaskClient, name: str
) -> None:
    page = shown(client, f"/{name}", status=404)

    assert "There is no worker" in page.find("h1").text
    assert any(each["href"] == "../workers" for each in page.all("a"))


def test_an_open_page_says_that_its_worker_has_stopped(client: FlaskClient) -> None:
    page = shown(client, "/none?only=worker,slots,rescued")

    assert "There is no worker “none”" in page.find("#worker").text
    assert page.find("#rescued").text == ""


# -- who may see it ----------------------------------------------------------------


def test_a_limited_caller_sees_what_concerns_the_own_queues(storage: Storage) -> None:
    start(storage, "both", "mail", "secret")
    start(storage, "other", "secret")
    enqueue(storage, queue_name="secret2")
    limited = client_of(storage, "mail")

    page = shown(limited)

    assert page.find("h1").text == "1 worker runs, 1 of 2 slots busy"
    assert "secret" not in page.find("main").text
    assert "secret" not in shown(limited, "/both").find("main").text
    shown(limited, "/other", status=404)


def test_P05_names_of_strangers_are_text(storage: Storage, client: FlaskClient) -> None:
    for number, text in enumerate(hostile()[:5]):
        queue = "".join(char for char in text if char.isalnum() or char in "<>\"'")
        start(storage, f"{number}{text}"[:100].replace("/", ""), queue[:100] or "x")

    page = shown(client)

    links = [e["href"] for e in page.find("#workers").all("h2")]
    assert len(links) == 6
    for element in page.find("main")._within():
        assert element.name not in STRANGE
        assert not any(key.startswith("on") for key in element.attributes)
        assert not element["href"].lower().startswith(("javascript:", "data:"))


def test_a_card_shows_the_use_of_its_machine(
    storage: Storage, client: FlaskClient
) -> None:
    start(storage, "w1", "mail")
    assert not shown(client).find("#summary").all("nav")
    sample(storage, "w1")
    assert not shown(client).find("#summary").all("nav")

    page = shown(client, "?range=6h")

    (use,) = [each for each in page.all("div") if each["class"] == "use"]
    assert [each.text for each in use.all("b")] == ["40%", "95 MiB"]
    # One sample is no line; the way back from a longer range stays.
    assert not use.all("svg")
    links = {each.text: each["href"] for each in page.find("#summary").all("a")}
    assert links == {"1h": "?", "6h": "?range=6h", "24h": "?range=24h"}


def test_a_card_draws_the_use_of_three_samples(storage: Storage) -> None:
    start(storage, "w1", "mail")
    for minutes in (0, 10, 20):
        sample(storage, "w1", minutes_ago=minutes)

    page = shown(client_of(storage))

    (use,) = [each for each in page.all("div") if each["class"] == "use"]
    assert len(use.all("svg")) == 2
    assert len(page.find("#summary").all("a")) == 3


def test_a_worker_has_charts_of_its_machine_and_database(
    storage: Storage, client: FlaskClient
) -> None:
    start(storage, "w1", "mail", "bank")
    start(storage, "w2", "mail")
    for worker_id in ("w1", "w2"):
        sample(storage, worker_id)

    page = shown(client, "/w1?range=15m")

    charts = {each["id"]: each for each in page.find("#machine").all("figure")}
    assert list(charts) == ["cpu", "memory", "disk", "disk_used", "calls"]
    # Those that nobody measured are named.
    assert page.find("#machine").text.endswith("database reads, database writes.")
    (line,) = charts["cpu"].all("li")
    assert line.text == "this machine 40%"
    # The machine works for another queue, too.
    limited = shown(client_of(storage, "mail"), "/w1")
    assert "machine" not in {each["id"] for each in limited._within()}


@pytest.mark.parametrize("name", ["host", "queue"])
def test_no_link_repeats_what_is_no_name(client: FlaskClient, name: str) -> None:
    answer = open_page(client, f"{PATH}?{name}={'x' * 30_000}")

    assert answer.status_code == 200
    assert "xxxx" not in answer.text
