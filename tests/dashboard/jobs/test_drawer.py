"""A job beside its list: ``job=`` in the address of the list."""

from __future__ import annotations

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.dashboard.pages import jobs as page_module
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from tests.dashboard.markup import Element
from tests.dashboard.pages.test_jobs import links, lists_of
from tests.support.backends import on_sqlite
from tests.support.jobs import job_with, run

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/mail.py", line 3, in send
    raise KeyError("id")
KeyError: 'id'
"""


def linked(page: Element, job_id: str) -> list[str]:
    """Return the addresses in the row of a job."""
    return [each["href"] for each in page.find(f"#j-{job_id}").all("a")]


def test_a_list_opens_a_job_beside_it(storage: Storage) -> None:
    payload = {"to": "ann", "password": "hidden"}
    storage.jobs.enqueue(NewJob("send", queue_name="mail", payload=payload))
    job_id = run(
        storage, Dead("KeyError: 'id'", traceback=TRACEBACK), queue_name="mail"
    ).id
    lists = lists_of(storage)
    listed = lists.open("dead?queue=mail")
    beside, alone = linked(listed, job_id)
    assert (beside, alone) == (f"?queue=mail&job={job_id}", f"./jobs/{job_id}")

    page = lists.open(f"dead{beside}")
    drawer = page.find("#ask")

    # The list stays, and the way back has its filter.
    assert page.all(f"#j-{job_id}")
    assert drawer["data-back"] == "./dead?queue=mail"
    assert links(drawer)["Open its page"] == f"./jobs/{job_id}"
    for text in ("KeyError: 'id'", "mail.py:3", "It has been dead for", "ann"):
        assert text in drawer.text
    assert "hidden" not in drawer.text
    buttons = [each.text for each in drawer.all("button")]
    assert buttons == ["", "Retry", "Delete"]


@on_sqlite
@pytest.mark.parametrize("job_id", ["0" * 26, "<b>", ""])
def test_a_job_that_is_gone_opens_nothing(storage: Storage, job_id: str) -> None:
    job_with(storage, JobStatus.DEAD)

    page = lists_of(storage).open(f"dead?job={job_id}")

    assert not page.all("dialog")
    assert len(page.find("#rows").all("tr")) == 2


@on_sqlite
def test_a_job_of_another_queue_opens_nothing(storage: Storage) -> None:
    job_id = job_with(storage, JobStatus.DEAD, queue_name="bank")
    ann = Principal.with_role("ann", "viewer", queues=["mail"])

    assert not lists_of(storage, ann).open(f"jobs?job={job_id}").all("dialog")


@on_sqlite
def test_a_viewer_sees_a_job_and_no_action(storage: Storage) -> None:
    job_id = job_with(storage, JobStatus.DEAD)
    ann = Principal.with_role("ann", "viewer")

    drawer = lists_of(storage, ann).open(f"jobs?job={job_id}").find("#ask")

    assert [each.text for each in drawer.all("button")] == [""]
    assert not drawer.all("form")


@on_sqlite
def test_a_refresh_of_the_rows_does_not_read_the_job(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = job_with(storage, JobStatus.DEAD)
    lists = lists_of(storage)
    read = []
    monkeypatch.setattr(page_module, "JobView", lambda *given: read.append(given))

    for only in ("rows,foot", "ask,keys"):
        lists.get(f"jobs?job={job_id}&only={only}")

    assert len(read) == 1
