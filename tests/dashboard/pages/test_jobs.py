"""The lists of jobs as pages: filters, tabs, paging, scope, and hostile texts."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.dashboard.words import stamp
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import search
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import open_page
from tests.support.jobs import claim_one, finish, having, job_with, run
from tests.support.sql import Sql

ADMIN = Principal.with_role("root", "admin")


class Lists:
    """The pages of one caller, opened one after the other."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.path = f"{PREFIX}/jobs"

    def get(self, address: str) -> TestResponse:
        """Open an address as a browser does, relative to the present page."""
        self.path = urljoin(self.path, address)
        answer = open_page(self.client, self.path)
        if answer.status_code == 303:
            return self.get(answer.headers["Location"])
        return answer

    def open(self, address: str) -> Element:
        """Open a page that is there."""
        answer = self.get(address)
        assert answer.status_code == 200, answer.text[:2000]
        return parsed(answer.text)


def lists_of(storage: Storage, principal: Principal = ADMIN, **options: Any) -> Lists:
    return Lists(client_of_principal(storage, principal, **options))


@pytest.fixture
def lists(storage: Storage) -> Lists:
    return lists_of(storage)


def ids(page: Element) -> list[str]:
    return [each["id"][2:] for each in page.find("#rows").all("tr") if each["id"]]


def words(page: Element, name: str = "h1") -> str:
    return page.find(name).text


def links(element: Element) -> dict[str, str]:
    return {each.text: each["href"] for each in element.all("a")}


def test_a_list_says_how_many_jobs_match(storage: Storage, lists: Lists) -> None:
    for status in (JobStatus.DEAD, JobStatus.DEAD, JobStatus.FAILED, JobStatus.DONE):
        job_with(storage, status)

    page = lists.open("jobs?status=dead&status=failed")

    assert words(page) == "3 jobs match"
    assert page.find("#total").find("p").text == "2 dead, 1 retrying"
    tabs = page.find("#tabs").all("a")
    assert [tab.text for tab in tabs] == [
        "All4", "Waiting or scheduled0", "Scheduled0", "In progress0",
        "Retrying1", "Dead2", "Done1",
    ]  # fmt: skip
    assert [t.text for t in tabs if t["aria-current"]] == ["Retrying1", "Dead2"]
    for tab in tabs:
        listed = lists.open(urljoin(f"{PREFIX}/jobs", tab["href"]))
        assert len(ids(listed)) == int(re.sub(r"\D", "", tab.text))


@pytest.mark.parametrize(
    ("path", "status"),
    [("scheduled", "pending"), ("retries", "failed"), ("dead", "dead")],
)
def test_each_list_has_the_jobs_of_its_state(
    storage: Storage, lists: Lists, path: str, status: str
) -> None:
    for each in (JobStatus.DEAD, JobStatus.FAILED, JobStatus.DONE):
        job_with(storage, each)
    storage.jobs.enqueue_many([NewJob("send"), NewJob("send", delay=600)])

    page = lists.open(path)

    (job_id,) = ids(page)
    assert storage.job_reader.get(job_id).status == status
    assert not page.find("#tabs").all("a")


def test_each_job_says_when(storage: Storage, lists: Lists) -> None:
    """Since when it runs or is over, and when it starts."""
    for status in (JobStatus.DEAD, JobStatus.FAILED, JobStatus.DONE):
        job_with(storage, status)
    storage.jobs.enqueue(NewJob("send"))
    claim_one(storage)
    storage.jobs.enqueue(NewJob("send", delay=600))

    page = lists.open("jobs")

    place = [each.text for each in page.find("#rows").all("th")].index("When")
    shown = {}
    for row in page.find("#rows").find("tbody").all("tr"):
        cells = row.all("td")
        (at,) = cells[place].all("time")
        shown[cells[1].text] = cells[place]["data-label"], at["datetime"]
    jobs = {job.status: job for job in storage.job_reader.page(having(), 9).rows}
    assert shown["Retrying"] == ("next", stamp(jobs[JobStatus.FAILED].scheduled_at))
    ended_at = jobs[JobStatus.DEAD].completed_at
    assert ended_at is not None
    assert shown["Dead"][1] == stamp(ended_at)
    assert {word: label for word, (label, _) in shown.items()} == {
        "Retrying": "next", "Scheduled": "starts", "In progress": "for",
        "Done": "ended", "Dead": "ended",
    }  # fmt: skip


def test_a_done_job_shows_its_last_error_to_a_search_only(
    storage: Storage, lists: Lists
) -> None:
    storage.jobs.enqueue(NewJob("send"))
    assert storage.job_admin.requeue(run(storage, Failed("gateway is away")).id)
    run(storage, Done(None))

    assert "gateway is away" not in lists.open("jobs").find("#rows").text
    found = lists.open("jobs?error=gateway&search=all").find("#rows").text
    assert "gateway is away" in found


def test_a_walk_there_and_back_while_jobs_arrive(
    storage: Storage, lists: Lists
) -> None:
    storage.jobs.enqueue_many([NewJob("send")] * 60)
    before = {job.id for job in storage.job_reader.page(having(), 100).rows}
    page = lists.open("jobs?per=25&kind=send")
    seen = ids(page)
    extents = [page.find("#foot").find("span").text]
    while True:
        storage.jobs.enqueue_many([NewJob("send")] * 3)
        following = links(page.find("#foot")).get("Next")
        if following is None:
            break
        page = lists.open(following)
        seen += ids(page)
        extents.append(page.find("#foot").find("span").text)

    assert extents == ["1\u201325 of 60", "26\u201350 of 63", "51\u201360 of 66"]
    assert len(seen) == len(set(seen))
    assert set(seen) == before
    back = lists.open(links(page.find("#foot"))["Previous"])
    assert ids(back) == seen[25:50]
    assert words(lists.open(links(back.find("#foot"))["First"])) == "69 jobs match"


def test_a_bounded_search_leads_to_one_of_all_jobs(
    storage: Storage, lists: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound, value in (("MAX_FEW", 1), ("NEWEST", 2)):
        monkeypatch.setattr(search, bound, value)
    for _ in range(5):
        job_with(storage, JobStatus.DEAD)

    page = lists.open("dead?min_attempts=1")

    assert (len(ids(page)), words(page)) == (2, "2 dead jobs match")
    assert "Select all" not in page.find("#bulk").text
    found = page.find("#total")
    assert "Only the newest 2 jobs are searched." in found.text
    whole = lists.open(links(found)["Search all jobs"])
    assert (len(ids(whole)), words(whole)) == (5, "5 dead jobs match")
    assert "Select all 5 that match" in whole.find("#bulk").text


def test_the_text_field_becomes_chips(storage: Storage, lists: Lists) -> None:
    storage.jobs.enqueue_many([NewJob("send"), NewJob("send", queue_name="mail")])

    page = lists.open("jobs?add=queue:mail+status:pending+send&per=25&queue=bulk")

    assert lists.path == (
        f"{PREFIX}/jobs?status=pending&queue=mail&queue=bulk&kind=send&per=25"
    )
    assert [each.text for each in page.all("span") if each["class"] == "chip"] == [
        "queue ismail", "queue isbulk", "kind issend",
    ]  # fmt: skip
    assert len(ids(page)) == 1
    cleared = lists.open(links(page.find("#filter"))["Clear"])
    assert words(cleared) == "2 jobs match"


def test_an_id_in_the_text_field_leads_to_its_job(
    storage: Storage, lists: Lists
) -> None:
    job_id = storage.jobs.enqueue(NewJob("send")).id

    answer = open_page(lists.client, f"{PREFIX}/dead?add={job_id.lower()}")

    assert answer.status_code == 303
    assert answer.headers["Location"] == f"./jobs/{job_id}"


def test_the_form_of_the_filter_leaves_out_empty_fields(lists: Lists) -> None:
    lists.open(
        "retries?filter=1&queue=&kind=send&error=&q=&signature=&last=&to="
        "&from=2026-11-01T08:00:00&kind=bill"
    )

    assert lists.path == (
        f"{PREFIX}/retries?kind=send&kind=bill&from=2026-11-01T08%3A00%3A00Z"
    )


def test_invalid_values_leave_the_links(storage: Storage, lists: Lists) -> None:
    storage.jobs.enqueue(NewJob("send"))

    page = lists.open("jobs?status=lost&per=7&sort=kind&after=x&q=x&colour=red")

    assert words(page) == "1 job is stored"
    for link in page.find("#main").all("a"):
        for part in ("lost", "per=7", "kind&", "after", "q=x", "colour"):
            assert part not in link["href"]


def test_a_job_of_a_silent_worker_says_so_in_words(
    storage: Storage, lists: Lists, sql: Sql
) -> None:
    job_with(storage, JobStatus.IN_PROGRESS)
    sql.age(7 * 60)

    assert "worker silent 7m" in lists.open("jobs").find("#rows").text


def test_a_question_stops_the_refresh_at_once(lists: Lists) -> None:
    assert "data-why" not in lists.open("jobs").find("#live").attributes
    assert "data-why" in lists.open("jobs?ask=keys").find("#live").attributes


def test_three_kinds_of_nothing(lists: Lists) -> None:
    nothing = lists.open("dead")
    unmatched = lists.open("dead?queue=mail")
    failing = lists_of(faulty_storage(TimeoutError("slow")))

    assert words(nothing.find("#rows"), "p").startswith("Jobs that failed for good")
    assert nothing.find("#rows").all("h2") == []
    assert "hidden" in nothing.find("#bulk").attributes
    assert words(unmatched.find("#rows"), "h2") == "Nothing matches these filters"
    assert links(unmatched.find("#rows")) == {"Clear the filters": "./dead"}
    assert failing.get("dead").status_code == 500


def test_a_list_that_cannot_be_read_keeps_its_filter() -> None:
    lists = lists_of(faulty_storage(StorageUnavailableError("tcp://secret is away")))

    answer = lists.get("dead?queue=mail&error=late")
    page = parsed(answer.text)
    refresh = lists.get("dead?queue=mail&error=late&only=rows")

    assert answer.status_code == refresh.status_code == 503
    assert words(page) == "Dead jobs cannot be read"
    assert "queue ismail error containslate" in page.find("#filter").text
    assert "Columns" not in page.find("#filter").text
    again = {
        "Try again": "./dead?queue=mail&error=late",
        "To the start page": "./",
    }
    assert again.items() <= links(page.find("section")).items()
    assert words(page.find("section"), "h2") == "The database does not answer"
    assert page.find("section").all("p")[-1].text.startswith("Status 503, request ")
    assert words(page.find("section"), "p") == (
        "Stored jobs are kept. Try again in a moment."
    )
    assert "secret" not in answer.text
    assert "secret" not in refresh.text


def test_a_place_behind_the_last_job_leads_back(storage: Storage, lists: Lists) -> None:
    storage.jobs.enqueue(NewJob("send"))

    page = lists.open("jobs?after=5.0&at=50")

    assert words(page.find("#rows"), "h2") == "No more jobs"
    assert links(page.find("#rows")) == {"To the first page": "./jobs"}


def test_a_limited_caller_learns_of_no_other_queue(storage: Storage) -> None:
    storage.jobs.enqueue_many(
        [NewJob("send", queue_name="mail"), NewJob("rotate", queue_name="vault")]
    )
    limited = Principal.with_role("ops", "operator", queues=["mail"])
    lists = lists_of(storage, limited)

    for path in ("jobs", "scheduled", "retries", "dead", "jobs?add=vault+rotate"):
        answer = lists.get(path)
        assert answer.status_code == 200
        if "add" not in path:
            assert "vault" not in answer.text
            assert "rotate" not in answer.text
    assert lists.get("jobs?queue=vault").status_code == 403
    assert lists.get("jobs?queue=none").status_code == 403


def test_a_search_in_payloads_needs_its_permission(storage: Storage) -> None:
    operator = lists_of(storage, Principal.with_role("ops", "operator"))

    assert operator.get("jobs?q=card").status_code == 403
    page = lists_of(storage).open("jobs")
    assert any(each["name"] == "q" for each in page.all("input"))


def test_texts_of_jobs_stay_texts(storage: Storage, lists: Lists) -> None:
    text = "<script>alert(1)</script>\"'{{7*7}}"
    storage.jobs.enqueue(NewJob(text, queue_name="<b>q<&"))

    page = lists.open("jobs")
    filtered = lists.open("jobs?kind=" + "%3Cscript%3Ealert(1)%3C%2Fscript%3E")

    assert text in page.find("#rows").text
    assert "<b>q<&" in page.find("#rows").text
    assert not page.find("#main").all("script")
    assert "<script>alert(1)</script>" in filtered.find("#filter").text


@pytest.mark.parametrize("block", ["total", "tabs", "rows", "foot"])
def test_a_block_is_refreshed_alone(storage: Storage, lists: Lists, block: str) -> None:
    storage.jobs.enqueue(NewJob("send"))

    answer = lists.get(f"jobs?only={block}")

    (root,) = (each for each in parsed(answer.text).parts if isinstance(each, Element))
    assert root["id"] == block


def test_a_column_sorts(storage: Storage, lists: Lists) -> None:
    for priority in (3, 1, 2):
        storage.jobs.enqueue(NewJob("send", priority=priority))

    page = lists.open("jobs?col=priority&sort=priority")

    sorted_ids = ids(page)
    assert [storage.job_reader.get(each).priority for each in sorted_ids] == [1, 2, 3]
    heads = {each.text: each for each in page.find("#rows").all("th")}
    assert heads["Priority"]["aria-sort"] == "ascending"
    turned = lists.open(heads["Priority"].find("a")["href"])
    assert ids(turned) == sorted_ids[::-1]


def test_new_jobs_wait_until_they_are_asked_for(storage: Storage, lists: Lists) -> None:
    storage.jobs.enqueue_many([NewJob("send")] * 2)
    page = lists.open("jobs")
    shown = ids(page)
    storage.jobs.enqueue(NewJob("send"))

    pin = page.find("#rows")["data-pin"]
    again = parsed(lists.get(f"jobs?pin={pin}&only=rows,total").text)

    assert words(again) == "3 jobs are stored"
    assert ids(again) == shown
    bar = again.find("#rows").find("a")
    assert bar.text == "1 new job matches. Show them."
    assert ids(lists.open(bar["href"]))[1:] == shown


def test_a_full_page_of_long_texts_is_small(storage: Storage, lists: Lists) -> None:
    queue_name, kind = "mail-of-the-shop", "app.tasks.mail.send_letter"
    error = "psycopg2.OperationalError: " + "the server closed the connection " * 9
    storage.jobs.enqueue_many([NewJob(kind, queue_name=queue_name)] * 51)
    for _ in range(51):
        finish(storage, claim_one(storage, queue_name=queue_name), Dead(error))

    answer = lists.get("dead")

    assert len(ids(parsed(answer.text))) == 50
    assert len(answer.data) <= 60_000


@pytest.mark.parametrize(
    ("status", "path", "word"),
    [
        (JobStatus.PENDING, "jobs", "waiting"),
        (JobStatus.FAILED, "retries", "retrying"),
        (JobStatus.DEAD, "dead", "dead"),
    ],
)
def test_the_bar_at_the_top_counts_as_the_list_does(
    storage: Storage, lists: Lists, status: JobStatus, path: str, word: str
) -> None:
    """The report that it shows otherwise is up to a second older."""
    job_with(storage, status)
    assert f"1 {word}" in _bar(lists.open(path))
    job_with(storage, status)

    page = lists.open(path)

    assert page.find("h1").text.startswith("2 ")
    assert f"2 {word}" in _bar(page)
    entries = page.find("#pages").all("a")
    [entry] = [each for each in entries if each["href"].endswith(f"/{path}")]
    assert entry.text.endswith("2") is (path != "jobs")
    # A filtered list counts something else.
    assert f"0 {word}" not in _bar(lists.open(f"{path}?queue=none"))


def _bar(page: Element) -> str:
    return page.find("#state").text
