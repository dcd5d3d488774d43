"""Batches as pages: how far each is, what stopped it, and what may be done to it."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.model.batches import BatchEvent, NewBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, FollowUp
from flask_forge_jobs.model.workers import WorkerProcess, kinds_to_text
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.dashboard.browser.filling import hostile
from tests.dashboard.jobs.test_actions import send
from tests.dashboard.markup import Element, parsed
from tests.dashboard.pages.test_job import MISSING, STRANGE, client_of, queries
from tests.dashboard.pages.test_jobs import links, lists_of
from tests.dashboard.sites import open_page
from tests.support.jobs import claim_one, run
from tests.support.sql import Sql

PATH = f"{PREFIX}/batches"
SENT = FollowUp("send_report", "ended", "mail", 0, 5)


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    """A client of an admin."""
    return client_of(storage, "admin")


def create(
    storage: Storage,
    jobs: int = 3,
    name: str = "report 7",
    *,
    queue: str = "mail",
    is_sealed: bool = True,
    **options: Any,
) -> str:
    """Create a batch of jobs that are due."""
    new = NewBatch(name, options.pop("data", {"report": 7}), **options)
    made = [NewJob("part", queue_name=queue)] * jobs
    return storage.batches.create(new, made, is_sealed=is_sealed).id


def shown(client: FlaskClient, batch_id: str = "", query: str = "") -> Element:
    """Return the page of a batch, or their list."""
    path = f"{PATH}/{batch_id}" if batch_id else PATH
    answer = open_page(client, path + query)
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def rows(page: Element) -> list[str]:
    """Return the names of the batches of a list."""
    return [row.find("a").text for row in page.find("tbody").all("tr")]


# -- the list ----------------------------------------------------------------------


def test_a_list_without_batches_says_so(client: FlaskClient) -> None:
    assert shown(client).find("h1").text == "No batch is stored"
    assert "appears here" in shown(client).find("#list").text
    page = shown(client, query="?state=open")
    assert links(page.find("#list"))["Show all batches"] == "./batches"


def test_a_list_says_how_far_each_batch_is(
    storage: Storage, client: FlaskClient
) -> None:
    done_id = create(storage, 1, "done")
    run(storage, Done(), queue_name="mail")
    storage.batches.fold([done_id])
    create(storage, 2, "standing")
    run(storage, Dead("no card"), queue_name="mail")
    create(storage, 2, "under way", queue="slow")
    run(storage, Done(), queue_name="slow")
    claim_one(storage, queue_name="slow")

    page = shown(client)

    assert page.find("h1").text == "3 batches: 1 under way, 1 waiting"
    texts = [row.text for row in page.find("tbody").all("tr")]
    assert texts[0].startswith("Running under way …")
    assert "1 of 2 done, 1 in progress" in texts[0]
    assert "1 of 2 ended (1 dead), 1 waiting" in texts[1]
    assert "1 of 1 done" in texts[2]
    assert [each["aria-label"] for each in page.find("tbody").all("svg")] == [
        "1 of 2 done, 1 in progress", "1 of 2 ended (1 dead), 1 waiting", "1 of 1 done",
    ]  # fmt: skip
    assert rows(shown(client, query="?state=open")) == ["under way", "standing"]


def test_a_long_list_has_pages(storage: Storage, client: FlaskClient) -> None:
    for number in range(12):
        create(storage, 1, f"batch {number}")

    first = shown(client, query="?per=10")
    following = links(first.find("#list"))["Next"]
    second = shown(client, query=following)

    assert rows(first) == [f"batch {number}" for number in range(11, 1, -1)]
    assert rows(second) == ["batch 1", "batch 0"]
    assert "10 on this page" in first.find("#list").text
    assert "2 on this page" in second.find("#list").text
    assert links(second.find("#list"))["First"] == "?per=10"
    assert rows(shown(client, query="?per=10&cursor=x")) == rows(first)


def test_a_page_whose_batches_are_gone_says_so(
    storage: Storage, client: FlaskClient, sql: Sql
) -> None:
    for number in range(11):
        create(storage, 1, f"batch {number}")
    following = links(shown(client, query="?per=10").find("#list"))["Next"]
    sql.run("DELETE FROM forge_batch WHERE name = 'batch 0'")

    page = shown(client, query=following)

    assert page.find("h1").text == "No more batches"
    assert links(page.find("#list")) == {"To the first page": "?per=10"}


def test_a_limited_caller_sees_batches_that_are_wholly_of_its_queues(
    storage: Storage,
) -> None:
    own, other = create(storage, name="own"), create(storage, queue="other")
    limited = client_of(storage, "operator", "mail")

    assert rows(shown(limited)) == ["own"]
    assert open_page(limited, f"{PATH}/{own}").status_code == 200
    missing = open_page(limited, f"{PATH}/{other}")
    assert missing.status_code == 404
    assert "There is no batch" in missing.text
    without = client_of(storage, "operator", "sms")
    assert shown(without).find("h1").text == "No batch of your queues is stored"


# -- one batch ---------------------------------------------------------------------


def test_a_batch_leads_to_its_jobs_by_state(
    storage: Storage, client: FlaskClient
) -> None:
    batch_id = create(storage, 4)
    run(storage, Done(), queue_name="mail")
    run(storage, Dead("E: no card 7"), queue_name="mail")
    claim_one(storage, queue_name="mail")

    page = shown(client, batch_id)

    assert page.find("h1").text == "report 7"
    assert page.find("#why").text == "1 job is in progress, 1 waits, 1 is dead."
    tiles = {tile.find("span").text: tile for tile in page.find("#states").all("a")}
    assert {name: tile["href"] for name, tile in tiles.items()} == {
        "Done": f"../jobs?batch={batch_id}&status=done",
        "Dead": f"../jobs?batch={batch_id}&status=dead",
        "In progress": f"../jobs?batch={batch_id}&status=in_progress",
        "Waiting": f"../jobs?batch={batch_id}&status=pending&status=failed",
    }
    assert page.find("#states").find("svg")["aria-label"] == (
        "2 of 4 ended (1 dead), 1 in progress, 1 waiting"
    )
    assert "50% ended" in page.find("#states").text
    assert '"report": 7' in page.find("#data-json").text


def test_a_batch_that_waits_says_that_its_queue_has_no_worker(
    storage: Storage, client: FlaskClient
) -> None:
    batch_id = create(storage, 1)
    storage.workers.beat("w1", "w1", ["other"], [])

    why = shown(client, batch_id).find("#why").text

    assert why.startswith("No job is in progress, 1 waits. Queue mail has no worker.")
    storage.workers.beat("w2", "w2", ["mail"], [])
    client = client_of(storage, "admin")
    assert shown(client, batch_id).find("#why").text == (
        "No job is in progress, 1 waits."
    )


def test_a_batch_that_waits_says_that_no_worker_is_live(
    storage: Storage, client: FlaskClient
) -> None:
    batch_id = create(storage, 1)

    why = shown(client, batch_id).find("#why").text

    assert why.startswith("No job is in progress, 1 waits. No worker is running.")


def test_a_page_that_is_opened_names_the_queue_that_holds_it_up_now(
    storage: Storage, client: FlaskClient
) -> None:
    jobs = [NewJob("part", queue_name=name) for name in ("mail", "bills")]
    batch_id = storage.batches.create(NewBatch("report"), jobs, is_sealed=True).id
    storage.workers.beat("w1", "w1", ["other"], [])

    assert "Queue mail has no worker." in shown(client, batch_id).find("#why").text
    run(storage, Done(), queue_name="mail")
    assert "Queue bills has no worker." in shown(client, batch_id).find("#why").text


def test_a_batch_that_waits_names_no_need_that_stops_none_of_its_jobs(
    storage: Storage,
) -> None:
    batch_id = create(storage, 1)
    storage.workers.beat("w1", "w1", ["mail"], [])
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    storage.queues.change("mail", {"max_pending": 1})

    def why(*kinds: str) -> str:
        process = WorkerProcess(kinds=kinds_to_text(kinds))
        storage.workers.beat("w1", "w1", ["mail"], [], process=process)
        page = shown(client_of(storage, "admin"), batch_id)
        assert "mail is full" in page.find("#alarms").text
        return page.find("#why").text

    assert why("part") == "No job is in progress, 1 waits."
    assert why("send").endswith("knows the kind part.")


def test_the_jobs_of_a_batch_are_a_list(storage: Storage) -> None:
    parent_id = create(storage, 1, queue="other")
    batch_id = create(storage, 2)
    waiting = NewJob("bind", queue_name="mail", after=[parent_id])
    (bound,) = storage.batches.add(create(storage, 0, is_sealed=False), [waiting])
    run(storage, Dead("no card"), queue_name="mail")
    lists = lists_of(storage)

    page = lists.open(f"{PREFIX}/jobs?batch={batch_id}")
    assert page.find("h1").text.startswith("2 jobs")
    assert "batch is" in page.find("#filter").text
    assert (
        lists.open(f"?batch={batch_id}&status=dead").find("h1").text == "1 job matches"
    )

    page = lists.open("?waiting=1")
    assert [each["id"] for each in page.find("#rows").all("tr") if each["id"]] == [
        f"j-{bound.id}"
    ]
    assert "waits forother jobs" in page.find("#filter").text


def test_dead_jobs_say_what_stopped_a_batch(
    storage: Storage, client: FlaskClient
) -> None:
    batch_id = create(storage, 4)
    for number in (1, 2):
        run(storage, Dead(f"E: order {number} has no entry"), queue_name="mail")
    cancelled = storage.batches.jobs(batch_id, status=JobStatus.PENDING)[0]
    storage.job_admin.cancel(cancelled.id)

    stoppers = shown(client, batch_id).find("#stoppers")

    first, second = stoppers.find("tbody").all("tr")
    assert "Dead so far" in stoppers.text
    assert "3 dead jobs, by error" in stoppers.text
    assert first.text.startswith("E: order <n> has no entryShow 2part …")
    assert second.text.startswith("cancelledShow 1part …")
    assert first.find("a")["href"].startswith(f"../dead?batch={batch_id}&signature=")
    run(storage, Dead("no card"), queue_name="mail")
    storage.batches.fold([batch_id])
    assert "What stopped it" in shown(client, batch_id).find("#stoppers").text
    assert [each["href"] for each in second.all("a")] == [
        f"../dead?batch={batch_id}&ending=cancelled", f"../jobs/{cancelled.id}",
    ]  # fmt: skip


def test_a_batch_that_cannot_end_says_why_and_what_helps(storage: Storage) -> None:
    batch_id = create(storage, 1)
    (part,) = storage.batches.jobs(batch_id)
    bind = NewJob("bind", queue_name="mail", after=[part.id], on_parent_dead="hold")
    (other,) = storage.batches.add(create(storage, 0, is_sealed=False), [bind])
    run(storage, Dead("no card"), queue_name="mail")
    client = client_of(storage, "admin")
    standing = storage.job_reader.get(other.id).batch_id
    assert standing is not None

    why = shown(client, standing).find("#why")

    assert why.text.startswith(f"It cannot end: 1 job waits for job {part.id} (part)")
    assert "c-amber" in why["class"]
    assert [each.text for each in why.all("button")] == ["Retry that one"]
    assert shown(client).find("h1").text == "2 batches: 1 cannot end"
    overview = parsed(open_page(client).text)
    (need,) = (each for each in overview.all("li") if standing[-7:] in each.text)
    assert need["class"] == "c-amber i-copy"


def test_the_jobs_at_its_events_and_the_batches_around_are_linked(
    storage: Storage, client: FlaskClient
) -> None:
    both = {BatchEvent.SUCCESS: SENT, BatchEvent.DEAD: SENT}
    outer = create(storage, 1, follow_ups=both, cancel_on_dead=True)
    inner = create(storage, 1, "part 2", within=outer)
    page = shown(client, outer)
    assert "first dead jobsend_report to come" in page.find("#facts").text
    assert "On successsend_report to come" in page.find("#facts").text
    assert "A dead jobcancels the rest" in page.find("#facts").text
    assert rows(page.find("#inner")) == ["part 2"]
    assert links(shown(client, inner).find("#facts"))[outer] == f"../batches/{outer}"

    for _ in range(2):
        run(storage, Done(), queue_name="mail")
    storage.batches.tend()

    page = shown(client, outer)
    sent = storage.batches.get(outer).on_success
    assert sent is not None
    assert links(page.find("#facts"))["send_report"] == f"../jobs/{sent.job_id}"
    assert "first dead jobsend_report no job died" in page.find("#facts").text
    assert page.find("#batch")["data-still"] == "the batch has ended"


def test_a_dead_job_makes_the_job_at_the_success_uncertain(
    storage: Storage, client: FlaskClient
) -> None:
    batch_id = create(storage, 2, follow_ups={BatchEvent.SUCCESS: SENT})
    run(storage, Dead("no card"), queue_name="mail")

    facts = shown(client, batch_id).find("#facts").text

    assert "send_report once no job is dead" in facts


def test_a_missing_batch_has_a_page_with_a_way_back(client: FlaskClient) -> None:
    for batch_id in (MISSING, "7", "a" * 100):
        answer = open_page(client, f"{PATH}/{batch_id}")
        assert answer.status_code == 404
        assert "Show all batches" in links(parsed(answer.text).find("#why"))
    refreshed = open_page(client, f"{PATH}/{MISSING}?only=batch,why,states,facts")
    assert refreshed.status_code == 200
    assert "There is no batch" in parsed(refreshed.text).find("#batch").text


def test_data_is_masked(storage: Storage, client: FlaskClient) -> None:
    batch_id = create(storage, data={"token": "s3cr3t", "to": "ann"})

    text = open_page(client, f"{PATH}/{batch_id}").text

    assert "s3cr3t" not in text
    assert "1 masked" in text


# -- actions -----------------------------------------------------------------------


def test_dead_jobs_are_retried_by_a_button_with_their_number(storage: Storage) -> None:
    batch_id = create(storage, 2)
    run(storage, Dead("no card"), queue_name="mail")
    lists = lists_of(storage)

    page = lists.open(f"{PATH}/{batch_id}")
    button = page.find("#batch").find("form")
    assert button.find("button").text == "Retry 1 dead job"
    assert send(lists, button).status_code == 303

    page = lists.open(f"{PATH}/{batch_id}")
    assert "1 job of the batch is due again." in page.find("#messages").text
    assert storage.batches.get(batch_id).dead == 0


def test_more_than_a_hundred_are_retried_after_their_number_is_typed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_forge_jobs.dashboard.pages.batches.MAX_UNTYPED", 1)
    batch_id = create(storage, 2)
    storage.batches.cancel(batch_id)
    lists = lists_of(storage)

    head = lists.open(f"{PATH}/{batch_id}").find("#batch")
    assert links(head)["Retry 2 dead jobs…"] == "?ask=retry"
    question = lists.open(f"{PATH}/{batch_id}?ask=retry").find("#ask")

    typed = [each for each in question.all("input") if each["pattern"]]
    assert [each["pattern"] for each in typed] == ["2"]
    assert question.all("button")[-1].text == "Retry 2 jobs"
    assert send(lists, question.find("form")).status_code == 303
    assert storage.batches.get(batch_id).dead == 0


def test_a_batch_is_sealed_cancelled_and_deleted(storage: Storage) -> None:
    batch_id = create(storage, 2, is_sealed=False)
    lists = lists_of(storage)
    page = lists.open(f"{PATH}/{batch_id}")
    assert "It is open" in page.find("#why").text
    send(lists, page.find("#batch").find("form"))
    assert storage.batches.get(batch_id).is_sealed

    question = lists.open(f"{PATH}/{batch_id}?ask=cancel").find("#ask")
    assert "Cancel 2 jobs" in question.text
    send(lists, question.find("form"))
    assert storage.batches.get(batch_id).dead == 2

    assert lists.open(f"{PATH}/{batch_id}?ask=cancel").all("dialog") == []
    question = lists.open(f"{PATH}/{batch_id}?ask=delete").find("#ask")
    assert "Delete 2 jobs" in question.text
    send(lists, question.find("form"))

    assert storage.batches.page(1) == []
    listed = lists.open(PATH)
    assert f"Batch {batch_id} is deleted." in listed.find("#messages").text


@pytest.mark.parametrize("question", ["", "?ask=cancel", "?ask=delete", "?ask=retry"])
def test_a_viewer_is_offered_nothing(storage: Storage, question: str) -> None:
    batch_id = create(storage, 2)
    run(storage, Dead("no card"), queue_name="mail")

    page = shown(client_of(storage, "viewer"), batch_id, question)

    assert page.find("#batch").all("form") == []
    assert not {"Cancel", "Delete"} & links(page.find("#batch")).keys()
    assert page.all("dialog") == []


# -- strangers, sizes and costs ----------------------------------------------------


def test_P05_everything_that_a_producer_supplies_is_text(
    storage: Storage, client: FlaskClient
) -> None:
    told = FollowUp("<b1>", "ended", "mail", 0, 5)
    made = [
        create(
            storage, 1, text[:255], data={text: text}, queue=f"q{number}",
            follow_ups={BatchEvent.DEAD: told},
        )
        for number, text in enumerate([*hostile(), "\u202eevil\u2066{{7*7}}%00&lt;"])
    ]  # fmt: skip
    for number, text in enumerate([*hostile(), "x" * 10_240]):
        run(storage, Dead(f"{text}: {text}"), queue_name=f"q{number}")

    for page in (*(shown(client, each) for each in made), shown(client)):
        for each in page.find("main")._within():
            assert each.name not in STRANGE
            assert not any(key.startswith("on") for key in each.attributes)
            address = each["href"] or each["action"]
            assert not address.lower().startswith(("javascript:", "data:"))
        assert "\u202e" not in page.find("main").text


def test_a_refresh_gets_the_blocks_that_have_changed(
    storage: Storage, client: FlaskClient
) -> None:
    """The list and a batch, before and after the end of one of its jobs"""
    batch_id = create(storage, 2)
    for path in (f"{PATH}/{batch_id}?only=batch,why,states", f"{PATH}?only=list"):
        first = open_page(client, path)
        known = {"Accept": "text/html", "If-None-Match": first.headers["ETag"]}

        unchanged = client.get(path, headers=known)
        run(storage, Done(), queue_name="mail")
        storage.batches.fold([batch_id])
        # Another process, since this one keeps for a moment what it has read.
        changed = client_of(storage, "admin").get(path, headers=known)

        parts = [e for e in parsed(changed.text).parts if isinstance(e, Element)]
        assert {e["id"] for e in parts} == set(path.partition("=")[2].split(","))
        assert (unchanged.status_code, unchanged.data) == (304, b"")
        assert (changed.status_code, changed.text != first.text) == (200, True)


def test_a_refresh_costs_three_queries(
    storage: Storage, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = create(storage, 3)
    run(storage, Dead("no card"), queue_name="mail")
    path = f"{PATH}/{batch_id}?only=batch,why,states,stoppers,inner,facts"
    open_page(client, path)

    with queries(storage, monkeypatch) as asked:
        assert open_page(client, path).status_code == 200

    assert len(asked) <= 3, asked


def test_a_full_page_stays_small(storage: Storage, client: FlaskClient) -> None:
    for number in range(50):
        create(storage, 1, f"{number} {'x' * 250}")

    answer = open_page(client, f"{PATH}?per=50")

    assert len(rows(parsed(answer.text))) == 50
    assert len(answer.data) < 60_000
