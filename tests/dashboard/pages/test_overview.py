"""The overview: the answer, what needs the reader, numbers, queues, scope, names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.dashboard.overview import view
from flask_forge_jobs.dashboard.overview.view import BLOCKS
from flask_forge_jobs.handlers.queue_rates import NO_RATES, QueueRates
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.model.queues import ChangeNote
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import UNASKED, open_page, with_page
from tests.support.clocks import MovingClock
from tests.support.jobs import OWNER, claim_one, run
from tests.support.sql import Sql

ADMIN = Principal.with_role("root", "admin")
VIEWER = Principal.with_role("guest", "viewer")
LIMITED = Principal.with_role("mailer", "viewer", queues=["mail"])
HOSTILE = "<script>fetch('/hit')</script>\"><img src=x>"


def opened(
    storage: Storage, principal: Principal = ADMIN, query: str = "", **options: Any
) -> Element:
    """Open the overview as a caller."""
    client = client_of_principal(storage, principal, **options)
    answer = open_page(client, f"{PREFIX}/{query}")
    assert answer.status_code == 200, answer.text[:2000]
    return parsed(answer.text)


@pytest.fixture
def busy(storage: Storage) -> Storage:
    """A paused queue, one without a worker, one that runs a job, and a dead job."""
    for queue in ("mail", "mail", "reports", "exports"):
        storage.jobs.enqueue(NewJob(f"{queue}-job", queue_name=queue))
    storage.queues.change(
        "reports", {"paused": True}, note=ChangeNote("ops", "the printer is full")
    )
    storage.jobs.enqueue(NewJob("charge", queue_name="billing"))
    run(storage, Dead("CardDeclined: no funds"), queue_name="billing")
    running = claim_one(storage, queue_name="mail")
    slots = [
        SlotReport("mail-0-w", "mail", current_job_id=running.id),
        SlotReport("mail-1-w", "mail"),
        SlotReport("billing-0-w", "billing"),
    ]
    storage.workers.beat(OWNER, None, ["mail", "billing", "reports"], slots)
    storage.jobs.heartbeat(OWNER, {running.id: '{"done":1,"total":4}'})
    return storage


def links(element: Element) -> dict[str, str]:
    return {each.text: each["href"] for each in element.all("a")}


def tiles(page: Element) -> dict[str, str]:
    return {
        each.find("span").text: each.find("b").text
        for each in page.find("#tiles").all("a")
    }


def rows(page: Element, block: str = "queues") -> list[str]:
    body = page.find(f"#{block}").find("tbody")
    return [row.find("th").text for row in body.all("tr")]


def test_the_headline_is_the_answer(busy: Storage) -> None:
    page = opened(busy)

    assert page.find("h1").text == "Two things need you"
    needs = [each.find("b").text for each in page.find("#attention").all("li")]
    assert needs[0] == "Queue exports has no worker."
    assert any("reports is paused" in each for each in needs)


def test_a_quiet_system_has_its_proof(storage: Storage) -> None:
    storage.workers.beat(OWNER, "first", ["mail"], [])

    head = opened(storage).find("#headline")

    assert head.find("h1").text == "Nothing needs you"
    assert head.find("p").text.startswith("1 worker live, ")
    assert not opened(storage).find("#attention").all("li")


def test_the_tiles_are_the_numbers_of_the_rows(busy: Storage) -> None:
    page = opened(busy)

    shown = tiles(page)
    assert shown["Waiting"] == "3"
    assert shown["Busy slots"] == "1of 3"
    assert shown["Workers"] == "1live"
    states = {
        row.find("th").text: row.all("td")[0].text
        for row in page.find("#queues").find("tbody").all("tr")
    }
    assert states == {
        "mail": "Live",
        "billing": "Live",
        "reports": "Paused",
        "exports": "No worker",
    }


@pytest.mark.parametrize("path", ["", "queues"])
def test_the_rows_are_of_the_moment_of_the_state_line(
    storage: Storage, path: str
) -> None:
    """The rows were read anew beside a report of the second before."""
    clock = MovingClock()
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    client = client_of_principal(storage, ADMIN, clock=clock)
    open_page(client, f"{PREFIX}/audit")
    # By another process.
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    def waiting() -> tuple[str, str]:
        page = parsed(open_page(client, f"{PREFIX}/{path}").text)
        row = page.find("#queue-mail")
        return page.find("#state").find("b").text, row.find("b").text

    assert waiting() == ("1", "1")
    clock.move(1.5)
    assert waiting() == ("2", "2")


def test_the_oldest_wait_is_one_age_in_all_places(storage: Storage, sql: Sql) -> None:
    """The rows ticked on beside the figures of the report, which stood still."""
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    sql.age(90)

    page = opened(storage)

    shown = [page.find(each) for each in ("#state", "#tiles", "#queue-mail")]
    ages = [each.find("time") for each in shown]
    assert len({each["datetime"] for each in ages}) == 1
    assert all("data-age" in each.attributes for each in ages)


@pytest.mark.parametrize("path", ["", "errors"])
def test_the_navigation_counts_the_errors_that_the_page_counts(
    storage: Storage, path: str
) -> None:
    """It counts them once in half a minute, and said less than a new page."""
    client = client_of_principal(storage, ADMIN)
    open_page(client, f"{PREFIX}/queues")
    # By another process.
    storage.jobs.enqueue(NewJob("charge"))
    run(storage, Dead("CardDeclined: no funds"))

    page = parsed(open_page(client, f"{PREFIX}/{path}").text)

    (entry,) = [each for each in page.all("a") if each["data-key"] == "e"]
    assert entry.find("b").text == "1"


def test_the_lists_lead_to_their_things(busy: Storage) -> None:
    page = opened(busy)

    assert rows(page, "running") == ["mail-job"]
    assert "25%" in page.find("#running").find("tbody").text
    assert links(page.find("#running"))[OWNER] == f"./workers/{OWNER}"
    (error,) = page.find("#errors").find("tbody").all("a")
    assert error.text == "CardDeclined: no funds"
    assert error["href"].startswith("./errors?signature=CardDeclined")


def test_jobs_of_a_silent_worker_are_among_the_longest(busy: Storage, sql: Sql) -> None:
    sql.age(90)  # longer than a live worker is silent

    page = opened(busy)

    assert rows(page, "running") == ["mail-job"]
    # The bar, the list behind it and this panel count the same jobs.
    assert "1 in progress" in page.find("#state").text
    assert "1 in progress" in page.find("#running").text
    client = client_of_principal(busy, ADMIN)
    listed = parsed(open_page(client, f"{PREFIX}/jobs").text)
    tabs = {each.text for each in listed.find("#tabs").all("a")}
    assert "In progress1" in tabs
    assert "1 in progress" in listed.find("#state").text


def test_without_a_worker_it_names_the_command_that_starts_one(
    storage: Storage,
) -> None:
    page = opened(storage)

    assert "flask forge-jobs worker" in page.find("#headline").text
    assert "No worker is live" in page.find("#running").text


def test_a_claimed_job_is_in_no_slot_yet(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    claim_one(storage, queue_name="mail")
    storage.workers.beat(OWNER, "first", ["mail"], [SlotReport("mail-0-w", "mail")])

    page = opened(storage)

    assert "No job is in a slot" in page.find("#running").text
    assert tiles(page)["Busy slots"] == "0of 1"


def test_alike_things_are_one_line_until_all_are_asked_for(storage: Storage) -> None:
    for queue in ("a", "b", "c"):
        storage.jobs.enqueue(NewJob("send", queue_name=queue))
    storage.queues.ensure("mail", 1)
    storage.workers.beat(OWNER, None, ["mail"], [SlotReport("mail-0-w", "mail")])

    page, whole = opened(storage), opened(storage, query="?needs=all")

    # From a second of waiting on, work stands still.
    assert page.find("h1").text.lower().endswith("one thing needs you")
    (line,) = page.find("#attention").all("li")
    assert line.find("b").text == "3 queues have no worker:"
    assert links(line) == {"Show workers": "./workers"}
    assert len(whole.find("#attention").all("li")) == 3
    assert whole.find("h1").text.lower().endswith("three things need you")


def test_the_tiles_of_a_queue_lead_to_its_jobs(busy: Storage) -> None:
    page = opened(busy, query="?queue=mail")

    addresses = [each["href"] for each in page.find("#tiles").all("a")]
    assert addresses == [
        "./kinds?queue=mail", "./errors?queue=mail",
        "./jobs?status=pending&queue=mail", "./queues?q=mail",
        "./jobs?status=in_progress&queue=mail", "./workers?queue=mail",
    ]  # fmt: skip


def test_the_list_behind_waiting_begins_with_its_number(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("send"), NewJob("send"), NewJob("send", delay=9)])
    page = opened(storage)
    (address,) = (
        each["href"]
        for each in page.find("#tiles").all("a")
        if each.find("span").text == "Waiting"
    )

    client = client_of_principal(storage, ADMIN)
    listed = parsed(open_page(client, f"{PREFIX}/{address[2:]}").text)

    assert tiles(page)["Waiting"] == "2"
    assert listed.find("h1").text == "2 jobs wait, 1 is scheduled"


def test_the_top_errors_are_those_of_a_day(busy: Storage, sql: Sql) -> None:
    busy.errors.fold(0)
    sql.run("UPDATE forge_error_bucket SET bucket_start = bucket_start - ?", 2 * DAY_US)
    busy.jobs.enqueue(NewJob("charge", queue_name="billing"))
    run(busy, Dead("late"), queue_name="billing")

    page = opened(busy)

    (error,) = page.find("#errors").find("tbody").all("a")
    assert error.text == "late"


def test_a_signature_in_a_sentence_is_code() -> None:
    error = "E: <b1>no</b1> entry"
    text = f"charge fails more than usual: 9% of 20 runs. Most say {error}."
    item = Sentence("kind_fails", text, {"error": error})
    template = (
        '{% extends "forge_jobs/base.html" %}'
        '{% from "forge_jobs/_parts.html" import sentence %}'
        "{% block needs %}<ul>{{ sentence(item) }}</ul>{% endblock %}"
    )

    def try_sentence(_: Api) -> Mapping[str, object]:
        return {"item": item}

    with pytest.MonkeyPatch.context() as patch:
        client = with_page(patch, template, try_sentence, blocks=("needs",))
        shown = parsed(open_page(client, f"{PREFIX}/try?only=needs").text).find("li")

    assert shown.find("b").text == "charge fails more than usual:"
    assert shown.find("code").text == error
    assert shown.text == text


def test_only_who_may_act_has_buttons(busy: Storage) -> None:
    def buttons(principal: Principal, **options: Any) -> list[str]:
        attention = opened(busy, principal, **options).find("#attention")
        return [each.text for each in attention.all("button")]

    assert "Resume" in " ".join(buttons(ADMIN))
    assert buttons(VIEWER) == []
    assert buttons(ADMIN, read_only=True) == []


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_each_need_leads_somewhere(busy: Storage, role: str) -> None:
    needs = opened(busy, Principal.with_role("ann", role)).find("#attention").all("li")

    ways = [
        [*each.find("span").all("button"), *each.find("span").all("a")]
        for each in needs
    ]
    assert [len(each) for each in ways] == [1] * len(needs)
    assert "Show queue" in {each[0].text for each in ways}


def test_a_limited_caller_sees_its_queues_only(busy: Storage) -> None:
    page = opened(busy, LIMITED)

    assert rows(page) == ["mail"]
    assert "You see your queues only: mail." in page.find("#headline").text
    assert "You see your queues only" not in opened(busy).text
    # Once a page, although it may have several empty lists.
    assert page.text.count("You see your queues only") == 1
    assert "No failure in 24 hours" in page.text
    for hidden in ("reports", "exports", "billing", "printer", "CardDeclined"):
        assert hidden not in page.text
    client = client_of_principal(busy, LIMITED)
    assert open_page(client, f"{PREFIX}/?queue=billing").status_code == 403


def test_a_queue_that_completes_none_of_its_jobs_breaks_the_quiet(
    storage: Storage, sql: Sql
) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    sql.age(70)
    storage.workers.beat(OWNER, None, ["mail"], [SlotReport("mail-0-w", "mail")])

    page = opened(storage)

    said = "Nothing needs you yet, but mail completes no job"
    assert page.find("h1").text == said
    (line,) = page.find("#attention").all("li")
    assert line.text.startswith("mail completes no job: 1 job waits, the oldest for 1m")
    assert line.find("a")["href"] == "./queues/mail"
    assert "Completes none" in page.find("#queue-mail").text
    assert opened(storage, query="?queue=mail").find("h1").text == said
    listed = opened(storage, query="queues")
    assert listed.find("h1").text == "1 queue: it completes no job"
    assert "Completes none" in listed.find("#queue-mail").text
    head = opened(storage, query="queues/mail").find("#headline").text
    assert "Completes none" in head
    assert "has started no job of late; 1 job is due, for 1m" in head
    storage.jobs.enqueue(NewJob("send", queue_name="bills"))
    said = "Work stands still: one thing needs you, and mail completes no job"
    page = opened(storage)
    assert page.find("h1").text == said
    assert len(page.find("#attention").all("li")) == 2


def test_work_does_not_flow_beside_a_pace_of_zero(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rates are of up to ten minutes, and the tile beside it of three."""
    rates = {"mail": QueueRates([0] * 11 + [9], 1.0), "bills": NO_RATES}
    monkeypatch.setattr(view, "queue_rates", lambda *_, **__: rates)
    storage.queues.ensure("mail")
    storage.jobs.enqueue(NewJob("bill", queue_name="bills"))
    storage.workers.beat(OWNER, None, ["mail"], [SlotReport("mail-0-w", "mail")])

    page = opened(storage)

    assert tiles(page)["Throughput"] == "0/min"
    assert "Work flows" not in page.find("h1").text


def test_one_queue_is_chosen_by_the_address(busy: Storage) -> None:
    page = opened(busy, query="?queue=billing&range=24h")

    assert rows(page) == ["billing"]
    assert tiles(page)["Waiting"] == "0"
    assert page.find("#throughput")["data-x"].endswith(",900000,96")


def test_each_block_is_refreshed_alone(busy: Storage) -> None:
    client = client_of_principal(busy, ADMIN)

    for name in BLOCKS:
        part = parsed(open_page(client, f"{PREFIX}/?only={name}").text)
        (root,) = [each for each in part.parts if isinstance(each, Element)]
        assert root["id"] == name


def test_a_stranger_who_refreshes_is_refused() -> None:
    client = mount(UNASKED, BlueprintOptions(authenticator=lambda _: None))

    assert open_page(client, f"{PREFIX}/?only=tiles").status_code == 401


def test_the_names_of_strangers_are_text(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob(HOSTILE, queue_name="mail"))
    running = claim_one(storage, queue_name="mail")
    slot = SlotReport("mail-0-w", "mail", current_job_id=running.id)
    storage.workers.beat(OWNER, HOSTILE, ["mail"], [slot])
    storage.jobs.enqueue(NewJob("charge", queue_name="billing"))
    run(storage, Dead(HOSTILE), queue_name="billing")

    page = opened(storage)

    assert rows(page, "running") == [HOSTILE]
    assert len(page.all("script")) == 1
    assert not page.all("img")


def test_a_long_reason_hides_no_number(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    note = ChangeNote("ops", "the printer is full " * 50)
    storage.queues.change("mail", {"paused": True}, note=note)

    said = opened(storage).find("#attention").find("p").text

    assert "1 job waits." in said
    assert len(said) < 300


def test_a_long_cause_of_a_cool_down_hides_no_number(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    cause = "the provider is slow " * 45
    storage.queues.cool_down(["mail"], 60, ChangeNote("ops", cause))
    storage.workers.beat(OWNER, None, ["mail"], [SlotReport("mail-0-w", "mail")])

    said = opened(storage).find("#attention").find("p").text

    assert "as ops asked" in said
    assert "1 job waits and starts by itself." in said
    assert len(said) < 300


def test_many_needs_are_cut_and_can_be_shown(storage: Storage) -> None:
    for number in range(8):
        storage.jobs.enqueue(NewJob("send", queue_name=f"queue-{number}"))
        storage.queues.change(f"queue-{number}", {"paused": True})

    page = opened(storage)

    needs = page.find("#attention").all("li")
    assert len(needs) == 6
    more = needs[-1].find("a")
    every = opened(storage, query=more["href"]).find("#attention").all("li")
    assert more.text == f"{len(every) - 5} more"
