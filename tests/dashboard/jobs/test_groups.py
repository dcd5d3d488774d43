"""Dead jobs by error, in place of their rows: ``group=error``."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from tests.dashboard.markup import Element
from tests.dashboard.pages.test_jobs import links, lists_of
from tests.support.backends import on_sqlite
from tests.support.failing import fail
from tests.support.jobs import enqueue

PATH = "dead?group=error"


def fill(storage: Storage) -> None:
    for number, kind in enumerate(("send", "send", "post")):
        fail(storage, Dead(f"timeout after {number} s"), "mail", kind)
    fail(storage, Dead("no card <b>"), "bank", "charge")


def rows(page: Element) -> list[list[str]]:
    table = page.find("#rows").all("tr")[1:]
    return [[cell.text for cell in row.all("td")][:3] for row in table]


def test_dead_jobs_are_grouped_in_place(storage: Storage) -> None:
    fill(storage)
    lists = lists_of(storage)
    page = lists.open("dead")
    page = lists.open(links(page.find("#main"))["By error"])

    assert page.find("h1").text == "4 jobs are dead"
    assert rows(page) == [
        ["timeout after <n> s", "3", "post and 1 more"],
        ["no card <b>", "1", "charge"],
    ]
    assert not page.all("#bulk")
    assert links(page.find("#main"))["One by one"] == "./dead"
    retry = links(page.find("#rows"))["Retry 3"]
    question = lists.open(retry).find("#ask")
    assert question.find("h2").text == "Retry 3 jobs?"
    # The way back is the list of these jobs.
    assert parse_qs(urlsplit(question["data-back"]).query) == {
        "signature": ["timeout after <n> s"], "all": ["1"]
    }  # fmt: skip


@on_sqlite
def test_groups_keep_queue_and_kind(storage: Storage) -> None:
    fill(storage)

    page = lists_of(storage).open(f"{PATH}&queue=mail&kind=send")

    assert rows(page) == [["timeout after <n> s", "2", "send"]]
    assert "queue=mail&kind=send" in links(page.find("#rows"))["Retry 2"]


@on_sqlite
@pytest.mark.parametrize("more", ["&error=timeout", "&last=1h"])
def test_other_conditions_show_the_jobs(storage: Storage, more: str) -> None:
    fill(storage)

    page = lists_of(storage).open(PATH + more)

    assert len(page.find("#rows").all("input")) >= 3
    assert "group=error" not in str(links(page.find("#main")))


@on_sqlite
def test_other_lists_have_no_groups(storage: Storage) -> None:
    fill(storage)

    assert lists_of(storage).open("jobs?group=error").find("#rows").all("input")


@on_sqlite
def test_a_viewer_gets_no_action_on_a_group(storage: Storage) -> None:
    fill(storage)
    ann = Principal.with_role("ann", "viewer", queues=["mail"])

    page = lists_of(storage, ann).open(PATH)

    assert rows(page) == [["timeout after <n> s", "3", "post and 1 more"]]
    assert list(links(page.find("#rows"))) == ["timeout after <n> s"]


@on_sqlite
def test_cancelled_jobs_have_no_error(storage: Storage) -> None:
    fill(storage)
    lists = lists_of(storage)
    assert "no error" not in lists.open(PATH).find("#rows").text

    storage.job_admin.cancel(enqueue(storage))

    shown = lists.open(PATH).find("#rows").text
    assert "1 job has no error: cancelled." in shown
