"""Actions on lists: what is asked, what is sent, and which jobs it touches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import pytest
from werkzeug.test import TestResponse

from flask_forge_jobs.auth.permissions import ROLES, Permission, Principal
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.dashboard.markup import Element, parsed
from tests.dashboard.pages.test_jobs import Lists, ids, links, lists_of, words
from tests.dashboard.sites import PERSON
from tests.support.jobs import claim_one, having, job_with

SITE = {"Sec-Fetch-Site": "same-origin"}


def fields_of(form: Element) -> dict[str, list[str]]:
    """Return what a browser sends of a form without pressing a named button."""
    fields: dict[str, list[str]] = {}
    for each in [*form.all("input"), *form.all("textarea")]:
        is_box = each["type"] == "checkbox"
        if each["name"] and (not is_box or "checked" in each.attributes):
            value = each.text if each.name == "textarea" else each["value"]
            fields.setdefault(each["name"], []).append(value)
    return fields


def send(
    lists: Lists, form: Element, more: Mapping[str, Any] | None = None
) -> TestResponse:
    """Send a form of the present page, as a browser without script does."""
    address = urljoin(lists.path, form["action"])
    answer = lists.client.post(
        address, data={**fields_of(form), **(more or {})}, headers={**PERSON, **SITE}
    )
    if answer.status_code == 303:
        lists.path = urljoin(address, answer.headers["Location"])
    return answer


def tick(lists: Lists, page: Element, count: int, verb: str) -> Element:
    """Tick the first rows and press a button of the bar."""
    boxes = [each["value"] for each in page.find("#rows").all("input")][:count]
    answer = send(lists, page.find("#list"), {"_id": boxes, "_ask": verb})
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def stored(storage: Storage, job_filter: JobFilter | None = None) -> set[str]:
    rows = storage.job_reader.page(job_filter or JobFilter(), 1000).rows
    return {job.id for job in rows}


def mixed(storage: Storage) -> None:
    """Store jobs of two queues in every state."""
    for queue_name in ("mail", "billing"):
        for status in (JobStatus.DEAD, JobStatus.FAILED, JobStatus.DONE):
            for _ in range(3):
                job_with(storage, status, queue_name=queue_name)
        storage.jobs.enqueue(NewJob("send", queue_name=queue_name))
        claim_one(storage, queue_name=queue_name)
        storage.jobs.enqueue(NewJob("send", queue_name=queue_name, delay=600))
        storage.jobs.enqueue(NewJob("send", queue_name=queue_name))


@pytest.mark.parametrize(
    ("address", "action"),
    [
        ("jobs?status=failed&status=dead&queue=mail", "delete"),
        ("jobs?status=failed&status=dead&queue=mail", "retry"),
        ("dead?kind=noop", "delete"),
        ("retries?queue=billing", "retry"),
        ("scheduled?queue=mail", "cancel"),
        ("jobs?status=done&last=1h", "delete"),
        ("dead?error=no", "delete"),
    ],
)
def test_an_action_touches_exactly_the_jobs_of_the_list(
    storage: Storage, address: str, action: str
) -> None:
    """P-03, D-01."""
    mixed(storage)
    # All of one job is not offered.
    storage.jobs.enqueue(NewJob("send", queue_name="mail", delay=600))
    lists = lists_of(storage)
    before = {job.id: job for job in storage.job_reader.page(having(), 1000).rows}
    listed = set(ids(lists.open(address)))

    every = lists.open(links(lists.open(address).find("#bulk")).popitem()[1])
    offered = {
        link["href"].rpartition("ask=")[2]: link["href"]
        for link in every.find("#bulk").all("a")
    }
    page = lists.open(offered[action])
    question = page.find("#ask")
    assert f" {len(listed)} job" in question.find("h2").text
    typed = {"expected": str(len(listed))}
    answer = send(lists, question.find("form"), typed)

    assert answer.status_code == 303, answer.text
    after = {job.id: job for job in storage.job_reader.page(having(), 1000).rows}
    touched = {job_id for job_id in before if after.get(job_id) != before[job_id]}
    assert touched == listed
    # The filter stays, and the page says what has happened.
    assert lists.path == f"{PREFIX}/{address}"
    shown = lists.open(lists.path)
    assert f"{len(listed)} job" in shown.find("#messages").text


def test_a_delete_of_everything_leaves_running_jobs_alone(storage: Storage) -> None:
    """D-03, P-16."""
    mixed(storage)
    lists = lists_of(storage)
    running = stored(storage, having(JobStatus.IN_PROGRESS))

    page = lists.open("jobs?all=1&ask=delete")
    question = page.find("#ask")

    assert question.find("h2").text == "Delete 22 jobs for good?"
    assert "2 of the selected jobs stay as they are" in question.text
    assert "Waiting or scheduled, Retrying, Dead or Done" in question.text
    assert send(lists, question.find("form"), {"expected": "22"}).status_code == 303
    assert stored(storage) == running
    assert not any(storage.job_reader.get(each).cancel_requested_at for each in running)


def test_a_list_that_has_changed_is_not_acted_on(storage: Storage) -> None:
    for _ in range(3):
        job_with(storage, JobStatus.DEAD)
    lists = lists_of(storage)
    question = lists.open("dead?all=1&ask=delete").find("#ask")
    for _ in range(11):
        job_with(storage, JobStatus.DEAD)

    answer = send(lists, question.find("form"))

    assert answer.status_code == 409
    assert "14 jobs match, 3 were expected" in parsed(answer.text).text
    assert len(stored(storage)) == 14


def test_ticked_jobs_are_asked_about(storage: Storage) -> None:
    """D-02, D-06."""
    for _ in range(5):
        job_with(storage, JobStatus.DEAD)
    lists = lists_of(storage)
    page = lists.open("dead")
    chosen = set(ids(page)[:2])

    asked = tick(lists, page, 2, "delete")

    question = asked.find("#ask")
    assert question.find("h2").text == "Delete 2 jobs for good?"
    assert words(asked) == "5 jobs are dead"
    boxes = asked.find("#rows").all("input")
    assert sum("checked" in each.attributes for each in boxes) == 2
    before = stored(storage)
    assert send(lists, question.find("form")).status_code == 303
    assert before - stored(storage) == chosen
    # The selection is gone with the action.
    assert not any(
        "checked" in each.attributes
        for each in lists.open(lists.path).find("#rows").all("input")
    )


def test_a_question_says_what_becomes_of_one_job_or_of_each(storage: Storage) -> None:
    for _ in range(2):
        job_with(storage, JobStatus.DEAD)
    lists = lists_of(storage)
    page = lists.open("dead")

    one, two = (tick(lists, page, n, "retry").find("#ask").text for n in (1, 2))

    assert "Starts when a slot is free" in one
    assert "Each starts when a slot is free" in two


def test_a_large_selection_has_its_number_typed(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("send")] * 120)
    lists = lists_of(storage)

    every = lists.open("jobs?all=1&ask=cancel").find("#ask")
    # No page has as many rows, but programs may send their form.
    boxes = [f"pending.{job_id}" for job_id in stored(storage)]
    form = lists.open("jobs").find("#list")
    answer = send(lists, form, {"_id": boxes, "_ask": "cancel"})
    ticked = parsed(answer.text).find("#ask")

    for question in (every, ticked):
        (field,) = (e for e in question.all("input") if e["name"] == "expected")
        assert (field["type"], field["pattern"], field["value"]) == ("", "120", "")
        assert question.find("label").text == "Type 120 to go on"
    assert send(lists, ticked.find("form"), {"expected": "120"}).status_code == 303
    dead = having(JobStatus.DEAD)
    assert storage.job_reader.total(dead) == 120


def test_a_job_has_the_actions_of_its_state(storage: Storage) -> None:
    """D-16."""
    failed = job_with(storage, JobStatus.FAILED)
    storage.jobs.enqueue(NewJob("send"))
    running = claim_one(storage)
    lists = lists_of(storage)
    page = lists.open("jobs")

    def menu(job_id: str) -> Element:
        return lists.open(f"jobs?job={job_id}").find("#ask")

    def acts(job_id: str) -> list[Element]:
        # The one without a text copies the id.
        return [each for each in menu(job_id).all("button") if each.text]

    labels = [each.text for each in acts(failed)]
    assert labels == ["Retry", "Run now", "Reschedule", "Cancel", "Delete"]
    assert [each.text for each in acts(running.id)] == ["Cancel"]
    assert send(lists, menu(failed).find("form")).status_code == 303
    assert storage.job_reader.get(failed).status is JobStatus.PENDING
    (cancel,) = acts(running.id)
    mark = cancel["value"]
    answer = send(lists, page.find("#list"), {"_one": mark})
    question = parsed(answer.text).find("#ask")
    assert question.find("h2").text == "Cancel 1 job?"


def test_a_reschedule_asks_for_the_time(storage: Storage) -> None:
    job_id = storage.jobs.enqueue(NewJob("send")).id
    lists = lists_of(storage)

    question = tick(lists, lists.open("jobs"), 1, "reschedule").find("#ask")
    answer = send(lists, question.find("form"), {"run_at": "2999-01-01T08:00"})

    assert answer.status_code == 303
    assert storage.job_reader.get(job_id).scheduled_at.year == 2999


def test_a_job_is_enqueued_from_a_list(storage: Storage) -> None:
    lists = lists_of(storage)

    form = lists.open("jobs?queue=mail&ask=enqueue").find("#ask").find("form")
    answer = send(lists, form, {"kind": "send", "payload": '{"n": 1}'})

    assert answer.status_code == 303, answer.text
    assert lists.path == f"{PREFIX}/jobs?queue=mail"
    (job,) = storage.job_reader.page(having(kind="send"), 5).rows
    assert storage.job_reader.get(job.id).payload == '{"n":1}'


@pytest.mark.parametrize("role", ["viewer", "closed", "deleter"])
def test_no_action_is_offered_that_the_caller_may_not_use(
    storage: Storage, role: str
) -> None:
    """D-05, P-06."""
    mixed(storage)
    may = ROLES.get(role) or ROLES["operator"] - {Permission.JOBS_DELETE}
    options = {"read_only": role == "closed"}
    lists = lists_of(storage, Principal("ops", may), **options)

    page = lists.open("jobs?all=1&ask=delete")

    assert not page.all("#ask")
    buttons = {each.text for each in page.find("#main").all("button")}
    if role == "deleter":
        assert page.find("#rows").all("input")
        assert "Delete" not in page.find("#bulk").text
    else:
        assert buttons == {"Add filters"}
        assert not page.find("#rows").all("input")
        assert not page.find("#main").all("#bulk")


def test_an_action_needs_the_token_of_its_page(storage: Storage) -> None:
    """P-06."""
    for _ in range(2):
        job_with(storage, JobStatus.DEAD)
    lists = lists_of(storage)
    form = lists.open("dead?all=1&ask=delete").find("#ask").find("form")

    assert send(lists, form, {"_token": "x"}).status_code == 403
    address = urljoin(lists.path, form["action"])
    foreign = {**PERSON, "Sec-Fetch-Site": "cross-site"}
    answer = lists.client.post(address, data=fields_of(form), headers=foreign)
    assert answer.status_code == 403
    assert len(stored(storage)) == 2
