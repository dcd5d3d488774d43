"""Long bulk actions: from a list to their progress, their result, and their stop."""

from __future__ import annotations

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.blueprint import BlueprintOptions
from flask_forge_jobs.dashboard.jobs import questions
from flask_forge_jobs.handlers.bulk_runs import BulkRunner
from flask_forge_jobs.model.bulk_runs import BulkRunState
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.bulk_walk import work_on
from tests.api.mounting import PREFIX, mount
from tests.dashboard.jobs.test_actions import send, tick
from tests.dashboard.pages.test_jobs import Lists, links, lists_of
from tests.dashboard.sites import PERSON
from tests.support.jobs import having, job_with
from tests.support.sql import Sql


@pytest.fixture(autouse=True)
def _long_and_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three jobs be many, and leave the work to the tests."""
    monkeypatch.setattr(questions, "MAX_AT_ONCE", 2)
    monkeypatch.setattr(BulkRunner, "start", lambda *_: None)


def begun(storage: Storage, lists: Lists) -> str:
    for _ in range(3):
        job_with(storage, JobStatus.DEAD, queue_name="mail")
    question = lists.open("dead?queue=mail&all=1&ask=delete").find("#ask")
    assert "goes on in the background" in question.text
    answer = send(lists, question.find("form"))
    assert answer.status_code == 303, answer.text
    return lists.path.rpartition("/")[2]


def test_a_long_action_goes_on_after_its_request(storage: Storage) -> None:
    lists = lists_of(storage)
    run_id = begun(storage, lists)

    page = lists.open(lists.path)

    assert lists.path == f"{PREFIX}/bulk/{run_id}"
    assert page.find("h1").text == "Deleting 3 jobs"
    assert "Its first batch is under way." in page.find("#total").text
    assert "3 jobs to go" in page.find("#messages").text
    assert "queue is mail" in page.find("#run").text
    assert page.find("noscript").find("meta")["content"] == "2"
    run = storage.bulk_runs.get(run_id)
    assert run.author.actor == "user:root"
    holder = BulkRunner().holder
    assert not work_on(storage, run_id, holder, lambda: False)  # another holder has it
    storage.bulk_runs.stop(run_id)


def test_a_run_shows_its_result_and_is_listed(storage: Storage, sql: Sql) -> None:
    lists = lists_of(storage)
    run_id = begun(storage, lists)
    sql.run("UPDATE forge_bulk_run SET expires_at = 0")
    assert not work_on(storage, run_id, "another", lambda: False)

    page = lists.open(lists.path)

    assert page.find("h1").text == "3 jobs deleted"
    assert not page.find("#main").all("noscript")
    assert not page.find("#run").all("form")
    assert storage.job_reader.total(having(JobStatus.DEAD)) == 0
    listed = lists.open("../bulk")
    assert links(listed.find("#runs"))["3 jobs deleted"] == f"./bulk/{run_id}"


def test_a_run_is_stopped(storage: Storage) -> None:
    lists = lists_of(storage)
    run_id = begun(storage, lists)

    answer = send(lists, lists.open(lists.path).find("#run").find("form"))

    assert answer.status_code == 303
    assert storage.bulk_runs.get(run_id).state is BulkRunState.STOPPED
    assert lists.open(lists.path).find("h1").text == "Stopped: 0 jobs deleted"
    assert storage.job_reader.total(having(JobStatus.DEAD)) == 3


@pytest.mark.parametrize("queues", [["other"], []])
def test_a_run_on_other_queues_is_not_there(
    storage: Storage, queues: list[str]
) -> None:
    run_id = begun(storage, lists_of(storage))
    limited = lists_of(storage, Principal.with_role("ops", "operator", queues=queues))

    missing = limited.get(f"bulk/{run_id}")
    assert missing.status_code == 404
    assert "it is not of your queues" in missing.text
    assert run_id not in limited.get("../bulk").text


def test_a_viewer_sees_a_run_and_cannot_stop_it(storage: Storage) -> None:
    run_id = begun(storage, lists_of(storage))
    viewer = lists_of(storage, Principal.with_role("eve", "viewer"))

    page = viewer.open(f"bulk/{run_id}")

    assert not page.find("#run").all("form")


def test_readers_with_other_rights_share_no_run(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("pay", '{"card": "4111-1111"}', queue_name="mail"))
    callers = {role: Principal.with_role(role, role) for role in ("admin", "viewer")}
    client = mount(
        storage,
        BlueprintOptions(authenticator=lambda sent: callers[sent.headers["X-Role"]]),
        testing=False,
    )
    begun = client.post(
        f"{PREFIX}/v1/bulk-runs",
        json={"action": "retry", "filter": {"payload_search": "4111-1111"}},
        headers={"X-Role": "admin"},
    )

    shown = {
        role: client.get(
            f"{PREFIX}/bulk/{begun.get_json()['id']}",
            headers={**PERSON, "X-Role": role},
        ).text
        for role in ("viewer", "admin")
    }

    assert "4111-1111" in shown["admin"]
    assert "4111-1111" not in shown["viewer"]


def test_skipped_jobs_are_behind_a_link(storage: Storage) -> None:
    lists = lists_of(storage)
    job_with(storage, JobStatus.DEAD, queue_name="mail")
    other_id = job_with(storage, JobStatus.DEAD, queue_name="mail")
    question = tick(lists, lists.open("dead"), 2, "retry").find("#ask")
    storage.job_admin.delete(other_id)

    send(lists, question.find("form"))
    message = lists.open(lists.path).find("#messages")
    page = lists.open(message.find("a")["href"].removeprefix("./"))

    assert "1 job retried, 1 skipped: no longer there." in message.text
    assert page.find("h1").text == "1 job was skipped"
    section = page.find("section")
    assert section.find("h2").text == "No longer there"
    assert links(section) == {other_id: f"./jobs/{other_id}"}


@pytest.mark.parametrize(
    ("query", "headline"),
    [
        ("", "Skipped jobs"),
        ("not_found=<b1>.A.&more=7&wrong_status=%00", "8 jobs were skipped"),
        (f"wrong_status={'.'.join(['A'] * 99)}", "50 jobs were skipped"),
        ("more=-1&not_found=A", "1 job was skipped"),
    ],
)
def test_the_address_of_skipped_jobs_is_checked(
    storage: Storage, query: str, headline: str
) -> None:
    page = lists_of(storage).open(f"skipped?{query}")

    assert page.find("h1").text == headline
    # An address without jobs proves nothing about an action.
    assert ("This address names no jobs" in page.text) is (query == "")
    assert page.all("b1") == []
