"""The page of one job, on both backends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.auth.permissions import ROLES, Principal
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.bulk import CancelOutcome
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.run_logs import LogChunk, LogLine
from flask_forge_jobs.storage.base import Storage
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.browser.filling import TRACEBACK, hostile
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import PERSON, open_page
from tests.support.jobs import (
    OWNER,
    claim_one,
    dead_with_steps,
    enqueue,
    finish,
    job_with,
    run,
)
from tests.support.sql import Sql

STRANGE = frozenset(("script", "img", "iframe", "style", "object", "base", "b1"))
MISSING = "01KB9V6W3E5Q8Y4N2M7T6R1W0X"


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    """A client of an admin."""
    return client_of(storage, "admin")


def client_of(storage: Storage, role: str, *queues: str, **more: Any) -> FlaskClient:
    principal = Principal("ann", ROLES[role], frozenset(queues) if queues else None)
    return client_of_principal(storage, principal, **more)


def shown(client: FlaskClient, job_id: str, query: str = "") -> Element:
    """Return the page of a job."""
    answer = open_page(client, f"{PREFIX}/jobs/{job_id}{query}")
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def failed(storage: Storage, *errors: str, kind: str = "charge") -> str:
    """Make a job that has failed so often, and waits."""
    storage.workers.beat(OWNER, "worker-1", ["default"], [])
    job_id = storage.jobs.enqueue(NewJob(kind, max_attempts=5)).id
    for number, text in enumerate(errors, start=1):
        job = claim_one(storage)
        lines = [LogLine(job.claimed_at_us, "WARNING", "shop", f"line of {number}")]
        storage.jobs.heartbeat(OWNER, {}, [LogChunk(job.run_id, number, 0, lines)])
        delay_s = 600.0 if number == len(errors) else 0.0
        outcome = Failed(text, traceback=f"{TRACEBACK}{text}")
        assert finish(storage, job, outcome, delay_s=delay_s)
    return job_id


@contextmanager
def queries(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note every read of the database."""
    asked: list[str] = []
    kind = type(storage.database)
    with monkeypatch.context() as patch:
        for name in ("read", "read_one"):
            real = getattr(kind, name)

            def noting(self: Any, *given: Any, _real: Any = real, **more: Any) -> Any:
                asked.append(str(given[0]))
                return _real(self, *given, **more)

            patch.setattr(kind, name, noting)
        yield asked


# -- what it says ------------------------------------------------------------------


def test_a_job_that_waits_says_why(storage: Storage, client: FlaskClient) -> None:
    job_id = failed(storage, "E: one", "E: two")

    page = shown(client, job_id)

    why = page.find("#why").text
    assert re.match(r"Not running: it backs off for 9m \d+s more after attempt 2", why)
    assert page.find("h1").text == "charge"
    assert job_id in page.find("#job").text
    assert "Retrying" in page.find("#job").text
    assert "starts in 9m" in page.find("#attempts").text

    storage.queues.change("default", {"paused": True})
    page = shown(client, job_id)

    # A resume alone does not start it.
    held = (
        r"Not running: default is paused.*\. The job also backs off for 9m .*: E: two"
    )
    assert re.match(held, page.find("#why").text)
    assert "not before in 9m" in page.find("#attempts").text


def test_a_due_job_waits_for_a_slot_since_it_is_due(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = enqueue(storage)

    attempts = shown(client, job_id).find("#attempts").text

    assert "1 next due for" in attempts
    assert "starts" not in attempts
    assert "running" not in attempts.partition("waiting for a slot")[0]


def test_the_next_try_is_due_once_its_time_has_come(
    storage: Storage, client: FlaskClient, sql: Sql
) -> None:
    job_id = failed(storage, "the gateway is away")

    before = shown(client, job_id).find("#facts").text
    sql.run("UPDATE forge_job SET scheduled_at = scheduled_at - 10000000000")
    after = shown(client, job_id).find("#facts").text

    assert "Next tryin " in before
    assert "Next try" not in after
    assert "Due" in after


def test_a_job_that_waits_for_another_one_is_drawn_and_released(
    storage: Storage, client: FlaskClient
) -> None:
    parent_id = enqueue(storage)
    job_id = storage.jobs.enqueue(NewJob("bind", after=[parent_id])).id

    page = shown(client, job_id)

    attempts = page.find("#attempts").text
    assert "1 next waits for other jobs for" in attempts
    assert "starts" not in attempts
    assert "Not running: it waits for job" in page.find("#why").text
    assert [each.text for each in page.find("#why").all("button")] == ["Release"]
    assert [each.text for each in page.find("#job").all("button")][1:] == []


def test_a_job_shows_both_ends_of_its_links(
    storage: Storage, client: FlaskClient
) -> None:
    parents = [enqueue(storage) for _ in range(2)]
    batch_id = storage.batches.create(NewBatch("report"), [NewJob("part")]).id
    job_id = storage.jobs.enqueue(
        NewJob("bind", after=[*parents, batch_id], on_parent_dead="hold")
    ).id
    first = run(storage, Done("7"))

    ties = shown(client, job_id).find("#ties")
    of_parent = shown(client, first.id).find("#ties")

    assert "Waits for2 of 3" in ties.text
    rows = [row.text for row in ties.find("tbody").all("tr")]
    assert rows[0].startswith("Done noop …")
    assert rows[0].endswith("this job is held if it dies")
    assert rows[2].startswith("Running batch …")
    assert [row.find("a")["href"] for row in ties.find("tbody").all("tr")] == [
        *(f"../jobs/{each}" for each in parents), f"../batches/{batch_id}",
    ]  # fmt: skip
    assert "2 of 3, for" in ties.text
    assert "Jobs that waited for it1" in of_parent.text
    assert of_parent.find("tbody").find("tr").text.startswith("Waits bind …")
    assert shown(client, parents[1]).find("#ties").text.startswith("Jobs that wait")

    storage.links.release(job_id)
    freed = shown(client, job_id).find("#ties").text
    assert freed.startswith("Waited for3, for")
    assert ", until" in freed


def test_a_limited_caller_sees_no_tie_of_another_queue(storage: Storage) -> None:
    parent_id = enqueue(storage, queue_name="other")
    new = NewJob("bind", queue_name="mail", after=[parent_id])
    job_id = storage.jobs.enqueue(new).id

    page = shown(client_of(storage, "operator", "mail"), job_id)

    assert page.find("#ties").text == ""
    assert parent_id not in page.text


def test_a_dead_job_is_retried_with_those_that_died_with_it(
    storage: Storage, client: FlaskClient
) -> None:
    parent_id = enqueue(storage)
    child_id = storage.jobs.enqueue(NewJob("bind", after=[parent_id])).id
    run(storage, Dead("no"))

    form = next(
        each
        for each in shown(client, parent_id).find("#job").all("form")
        if "dependent" in each.text
    )

    assert form.find("button").text == "Retry with 1 dependent"
    assert form["action"].endswith(f"/jobs/{parent_id}/retry?dependents=1")
    assert storage.job_reader.get(child_id).status is JobStatus.DEAD


@pytest.mark.parametrize(
    ("status", "word", "why"),
    [
        (JobStatus.PENDING, "Waiting", "Not running: No worker serves default"),
        (JobStatus.IN_PROGRESS, "In progress", "It runs"),
        (JobStatus.DONE, "Done", "It was done"),
        (JobStatus.FAILED, "Retrying", "Not running: "),
        (JobStatus.DEAD, "Dead", "It has been dead"),
    ],
)
def test_each_state_has_its_word_and_sentence(
    storage: Storage, client: FlaskClient, status: JobStatus, word: str, why: str
) -> None:
    page = shown(client, job_with(storage, status))

    assert word in page.find("#job").text
    assert page.find("#why").text.startswith(why[:12])


def test_the_newest_failure_is_open_and_the_others_are_folded(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = failed(storage, "E: one", "E: two", "E: three")

    failures = shown(client, job_id).find("#failures")
    earlier = shown(client, job_id, "?run=1").find("#failures")

    assert "Error of attempt 3" in failures.text
    assert "E: three" in failures.find("p").text
    assert "shop/billing.py:12 in charge" in failures.text
    assert "2 more errors" in failures.text
    assert "Error of attempt 1" in earlier.text


def test_the_log_is_that_of_the_newest_run_or_the_chosen_one(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = failed(storage, "E: one", "E: two")

    assert "line of 2" in shown(client, job_id).find("#log").text
    chosen = shown(client, job_id, "?run=1").find("#log").text
    assert "line of 1" in chosen
    assert "line of 2" not in chosen
    assert "WARN" in chosen
    errors = shown(client, job_id, "?level=error").find("#log").text
    assert "None of them has this level." in errors


def test_a_refresh_gets_only_the_lines_that_are_new(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    lines = [LogLine(job.claimed_at_us, "INFO", "shop", f"step {n}") for n in "abc"]
    storage.jobs.heartbeat(OWNER, {}, [LogChunk(job.run_id, 1, 0, lines[:2])])
    place = shown(client, job_id).find("#lines")["data-after"]
    storage.jobs.heartbeat(OWNER, {}, [LogChunk(job.run_id, 1, 2, lines[2:])])

    block = shown(client, job_id, f"?only=log&after={place}").find("#lines")
    whole = shown(client, job_id, f"?after={place}").find("#lines")

    assert "data-append" in block.attributes
    assert [each.find("p").text for each in block.all("li")] == ["step c"]
    assert "data-append" not in whole.attributes
    assert len(whole.all("li")) == 3


def test_earlier_runs_are_those_of_the_caller_s_queues(storage: Storage) -> None:
    for queue_name in ("mail", "mail", "secret"):
        enqueue(storage, "send", queue_name=queue_name)
        run(storage, Done("1"), queue_name=queue_name)
    job_id = enqueue(storage, "send", queue_name="mail")

    limited = shown(client_of(storage, "viewer", "mail"), job_id).find("#earlier")
    everything = shown(client_of(storage, "viewer"), job_id).find("#earlier")

    assert "Earlier runs of send" in limited.text
    assert "the last 2 runs" in limited.text
    assert len(limited.find("tbody").all("tr")) == 2
    assert "the last 3 runs" in everything.text
    link = "../jobs?status=done&status=dead&kind=send"
    assert everything.find("a")["href"] == link


def test_a_payload_is_searched_without_its_secrets(
    storage: Storage, client: FlaskClient
) -> None:
    items = [{"sku": f"N-{number}", "token": "N-1"} for number in range(9000)]
    job_id = storage.jobs.enqueue(NewJob("k", dump({"items": items}))).id

    payload = shown(client, job_id, "?find=n-777").find("#payload")

    assert "11 places have n-777" in payload.text
    assert [each.text for each in payload.all("dt")][:2] == [
        "$.items[777].sku", "$.items[7770].sku"
    ]  # fmt: skip
    assert payload.find("input")["value"] == "n-777"
    assert "0 places have N-1]" in shown(client, job_id, "?find=N-1]").text
    small = storage.jobs.enqueue(NewJob("k", dump({"a": 1}))).id
    assert shown(client, small).find("#payload").all("input") == []


def test_progress_and_log_of_a_running_job(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = enqueue(storage)
    storage.workers.beat(OWNER, "worker-1", ["default"], [])
    job = claim_one(storage)
    report = dump(
        {
            "at": job.claimed_at_us,
            "rate": 2.0,
            "report": {"done": 30, "total": 120, "message": "page 3"},
        }
    )
    storage.jobs.heartbeat(OWNER, {job_id: report})

    page = shown(client, job_id)
    progress = page.find("#progress").text

    # Its age ticks wherever it stands, and is written once more nowhere.
    ages = [page.find(name).find("time")["datetime"] for name in ("#why", "#attempts")]
    assert len(set(ages)) == 1
    assert page.find("#why").text.startswith("It has run for ")
    assert "running," not in page.find("#attempts").text
    assert "25%" in progress
    assert "30 of 120" in progress
    assert "page 3; 2 a second" in progress
    assert "about 45s left" in progress


def test_the_result_is_shown(storage: Storage, client: FlaskClient) -> None:
    enqueue(storage)
    job = run(storage, Done(dump({"rows": 90071992547409931, "token": "s3cret"})))

    result = shown(client, job.id).find("#result").text

    assert "90071992547409931" in result
    assert "s3cret" not in result


def test_others_with_the_same_error_are_listed(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = failed(storage, "timeout after 10 s")
    other = failed(storage, "timeout after 25 s", kind="refund")
    storage.jobs.enqueue(NewJob("charge"))
    run(storage, Dead("timeout after 7 s"))

    related = shown(client, job_id).find("#related")

    assert "2 retrying, 1 dead" in related.text
    assert other[-7:] in related.text
    assert job_id[-7:] not in related.text


# -- what may be done --------------------------------------------------------------


def asked_to_stop(storage: Storage) -> str:
    job_id = enqueue(storage)
    claim_one(storage)
    outcome = storage.job_admin.cancel(job_id)
    assert outcome is CancelOutcome.CANCEL_REQUESTED
    return job_id


def links_of(page: Element) -> list[str]:
    return [each["href"] for each in page.find("#job").all("a")]


def test_P16_a_running_job_is_not_deleted_and_a_cancellation_is_shown(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = asked_to_stop(storage)

    page = shown(client, job_id, "?ask=delete")

    assert "Stopping" in page.find("#job").text
    assert "Cancel requested" in page.find("#job").text
    assert "was asked to stop" in page.find("#why").text
    assert not any("ask=" in each for each in links_of(page))
    assert page.all("dialog") == []


def sent(client: FlaskClient, job_id: str, page: Element, label: str) -> Element:
    """Send the form with a button as a browser does; return the page after it."""
    (form,) = [
        each
        for each in page.all("form")
        if label in {button.text for button in each.all("button")}
    ]
    fields = {each["name"]: each["value"] for each in form.all("input")}
    here = f"{PREFIX}/jobs/{job_id}"
    answer = client.post(
        urljoin(here, form["action"]),
        data=fields,
        headers={**PERSON, "Sec-Fetch-Site": "same-origin"},
    )
    assert answer.status_code == 303, answer.text
    back = urljoin(answer.request.path, answer.headers["Location"])
    assert back == here
    return parsed(open_page(client, back).text)


def test_P08_P14_a_job_is_rescheduled_run_cancelled_and_retried_without_script(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = enqueue(storage)

    page = shown(client, job_id, "?ask=reschedule")
    page.find("#ask").all("input")[2].attributes["value"] = "2999-01-01T00:00:00"
    page = sent(client, job_id, page, "Reschedule")
    assert f"Job {job_id} is rescheduled." in page.find("#messages").text
    assert "Scheduled" in page.find("#job").text
    page = sent(client, job_id, page, "Run now")
    assert "is due now" in page.find("#messages").text
    assert "Waiting" in page.find("#job").text
    page = sent(client, job_id, shown(client, job_id, "?ask=cancel"), "Cancel the job")
    assert "Cancelled" in page.find("#job").text
    page = sent(client, job_id, page, "Retry")
    assert "Waiting" in page.find("#job").text
    page = sent(client, job_id, shown(client, job_id, "?ask=delete"), "Delete 1 job")
    assert f"Job {job_id} is deleted." in page.find("#messages").text
    assert "There is no job" in page.find("h1").text


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        (JobStatus.PENDING, ["Reschedule…", "Cancel", "Delete"]),
        (JobStatus.IN_PROGRESS, ["Cancel"]),
        (
            JobStatus.FAILED,
            ["Run now", "Retry with all tries", "Reschedule…", "Cancel", "Delete"],
        ),
        (JobStatus.DONE, ["Delete"]),
        (JobStatus.DEAD, ["Retry", "Delete"]),
    ],
)
def test_D16_the_buttons_depend_on_the_state(
    storage: Storage, client: FlaskClient, status: JobStatus, offered: list[str]
) -> None:
    head = shown(client, job_with(storage, status)).find("#job")

    buttons = [each.text for each in head.all("button") if each.text]
    links = [each.text for each in head.all("a") if "ask=" in each["href"]]
    assert buttons + links == offered


def test_two_buttons_that_start_a_job_say_how_they_differ(
    storage: Storage, client: FlaskClient
) -> None:
    head = shown(client, job_with(storage, JobStatus.FAILED)).find("#job")

    assert {
        each.text: each["title"] for each in head.all("button") if each["title"]
    } == {
        "Run now": "Starts when a slot is free, with the tries that are left.",
    }


def test_a_viewer_is_offered_nothing(storage: Storage) -> None:
    page = shown(client_of(storage, "viewer"), failed(storage, "E: one"), "?ask=delete")

    assert not any("/do/" in each["action"] for each in page.all("form"))
    assert not any("ask=" in each for each in links_of(page))
    assert page.all("dialog") == []


# -- who may see it ----------------------------------------------------------------


def test_a_missing_job_has_a_page_with_a_way_back(client: FlaskClient) -> None:
    for job_id in (MISSING, "x", "%00", "<script>", "\u202e" * 90):
        answer = open_page(client, f"{PREFIX}/jobs/{job_id}")

        assert answer.status_code in (404, 400)
        if job_id != "%00":
            page = parsed(answer.text)
            assert "There is no job" in page.find("h1").text
            assert any(each["href"] == "../jobs" for each in page.all("a"))


def test_a_failure_of_a_refresh_is_an_error() -> None:
    away = client_of(faulty_storage(StorageUnavailableError("no")), "admin")

    answer = open_page(away, f"{PREFIX}/jobs/{MISSING}?only=job,why")

    assert answer.status_code == 503
    page = parsed(answer.text).find("main")
    assert page.find("h1").text == f"Job {MISSING} cannot be read"
    assert "The database does not answer." in page.text


def test_an_open_page_says_that_its_job_is_deleted(client: FlaskClient) -> None:
    blocks = "job,why,progress,attempts,failures,log,result,facts"

    answer = open_page(client, f"{PREFIX}/jobs/{MISSING}?only={blocks}")

    assert answer.status_code == 200
    page = parsed(answer.text)
    assert f"There is no job {MISSING}" in page.find("#job").text
    ids = [part["id"] for part in page.parts if isinstance(part, Element)]
    assert ids == blocks.split(",")


def test_a_job_of_another_queue_is_a_missing_one(storage: Storage) -> None:
    job_id = enqueue(storage, queue_name="other")
    limited = client_of(storage, "operator", "mail")

    answer = open_page(limited, f"{PREFIX}/jobs/{job_id}")

    assert answer.status_code == 404
    assert "other" not in parsed(answer.text).find("main").text


def test_a_limited_caller_sees_no_related_job_of_another_queue(
    storage: Storage,
) -> None:
    storage.jobs.enqueue(NewJob("charge", queue_name="mail"))
    job = run(storage, Dead("no card"), queue_name="mail")
    storage.jobs.enqueue(NewJob("secret_kind", queue_name="other"))
    run(storage, Dead("no card"), queue_name="other")

    limited = open_page(
        client_of(storage, "operator", "mail"), f"{PREFIX}/jobs/{job.id}"
    )

    assert limited.status_code == 200
    assert "secret_kind" not in limited.text


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_P07_secrets_are_masked_and_not_revealed(storage: Storage, role: str) -> None:
    job_id = storage.jobs.enqueue(NewJob("k", {"token": "s3cret", "a": 1})).id
    client = client_of(storage, role)

    page = open_page(client, f"{PREFIX}/jobs/{job_id}")
    revealed = open_page(client, f"{PREFIX}/jobs/{job_id}?reveal=1")

    assert "s3cret" not in page.text
    assert "1 value masked" in parsed(page.text).find("#payload").text
    assert "reveal=1" not in page.text
    assert revealed.status_code == 403
    assert "s3cret" not in revealed.text


def test_a_secret_is_revealed_to_an_admin_and_recorded(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = storage.jobs.enqueue(NewJob("k", {"token": "s3cret"})).id

    assert "reveal=1" in open_page(client, f"{PREFIX}/jobs/{job_id}").text
    assert "s3cret" in open_page(client, f"{PREFIX}/jobs/{job_id}?reveal=1").text

    (entry,) = storage.audit.page(AuditFilter(), 10)
    assert (entry.record.action, entry.record.target) == ("page_job", job_id)


# -- its address -------------------------------------------------------------------


def test_the_reference_s_routes_keep_their_answers(client: FlaskClient) -> None:
    assert client.get(f"{PREFIX}/jobs/list").status_code == 405
    assert client.post(f"{PREFIX}/jobs/{MISSING}").status_code == 405
    for word in ("failed", "kinds", "scheduled"):
        answer = client.get(f"{PREFIX}/jobs/{word}")
        assert (answer.status_code, answer.mimetype) == (200, "application/json")


@pytest.mark.parametrize(
    "query", ["?run=x", "?run=99999999999", "?level=all", "?ask=x", "?nonsense=1"]
)
def test_invalid_parameters_fall_back_and_leave_the_links(
    storage: Storage, client: FlaskClient, query: str
) -> None:
    page = shown(client, failed(storage, "E: one"), query)

    assert "Error of attempt 1" in page.find("#failures").text
    links = [each["href"] for each in page.find("main").all("a")]
    assert not any(query[1:] in each for each in links)


def test_blocks_come_alone_and_unchanged_ones_not_at_all(
    storage: Storage, client: FlaskClient
) -> None:
    path = f"{PREFIX}/jobs/{failed(storage, 'E: one')}?only=why,facts"

    answer = open_page(client, path)
    again = client.get(
        path, headers={"Accept": "text/html", "If-None-Match": answer.headers["ETag"]}
    )

    parts = [part for part in parsed(answer.text).parts if isinstance(part, Element)]
    assert [each["id"] for each in parts] == ["why", "facts"]
    assert again.status_code == 304


def test_a_refresh_costs_three_queries(
    storage: Storage, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = failed(storage, "E: one")
    path = f"{PREFIX}/jobs/{job_id}?only=job,why,progress,attempts,failures,log,facts"
    open_page(client, path)

    with queries(storage, monkeypatch) as asked:
        assert open_page(client, path).status_code == 200

    assert len(asked) <= 3, asked


# -- what strangers wrote ----------------------------------------------------------


def test_P05_everything_that_a_job_supplies_is_text(
    storage: Storage, client: FlaskClient
) -> None:
    for text in [
        *hostile(),
        "x" * 10_240,
        "\u202eevil\u2066{{7*7}}\\u0000%00&lt;b&gt;",
    ]:
        job_id = storage.jobs.enqueue(
            NewJob("charge", dump({text: [text]}), max_attempts=9)
        ).id
        job = claim_one(storage)
        lines = [LogLine(job.claimed_at_us, text[:99], text, text)]
        progress = {job_id: dump({"message": text, "other": text})}
        storage.jobs.heartbeat(OWNER, progress, [LogChunk(job.run_id, 1, 0, lines)])
        outcome = Failed(f"E: {text}", traceback=f"{TRACEBACK}{text}\n{TRACEBACK}")
        assert finish(storage, job, outcome)

        page = shown(client, job_id)

        for each in page.find("main")._within():
            assert each.name not in STRANGE
            assert not any(key.startswith("on") for key in each.attributes)
            address = each["href"] or each["action"]
            assert not address.lower().startswith(("javascript:", "data:"))


@pytest.mark.parametrize(
    "payload",
    [
        {"x": "y" * 900_000},
        [[1, 2, 3]] * 20_000,
        {str(number): number for number in range(8_000)},
    ],
)
def test_a_huge_payload_makes_a_small_page(
    storage: Storage, client: FlaskClient, payload: object
) -> None:
    job_id = storage.jobs.enqueue(NewJob("k", dump(payload))).id

    answer = open_page(client, f"{PREFIX}/jobs/{job_id}")

    assert answer.status_code == 200
    assert len(answer.data) < 200_000
    assert f"v1/jobs/{job_id}" in answer.text or " more<" in answer.text


def test_the_deepest_payload_is_shown(storage: Storage, client: FlaskClient) -> None:
    deep: object = 1
    for _ in range(60):
        deep = {"a": deep}
    job_id = storage.jobs.enqueue(NewJob("k", dump(deep))).id

    payload = shown(client, job_id).find("#payload")

    assert len(payload.all("details")) == 60


def test_an_attempt_shows_its_steps_and_the_value_saved(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = dead_with_steps(storage)
    storage.job_admin.requeue(job_id)
    storage.steps.keep(
        claim_one(storage).run_id, OWNER, "<b>report</b>", f'"{"x" * 5000}"'
    )

    text = shown(client, job_id).find("#attempts").text

    assert "1 step of attempt 1" in text
    assert "fetch" in text
    assert '{"n": 1, "token": "[redacted]"}' in text
    assert "<b>report</b>" in text
    assert "4.9 KiB" in text
    assert "7" in text.partition("Saved")[2]


def test_a_job_with_steps_may_be_retried_from_the_start(
    storage: Storage, client: FlaskClient
) -> None:
    with_steps, without = dead_with_steps(storage), job_with(storage, JobStatus.DEAD)

    offered = [shown(client, each).find("#job").text for each in (with_steps, without)]

    assert ["Retry from the start" in text for text in offered] == [True, False]
