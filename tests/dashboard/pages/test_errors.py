"""Failures by signature as a page, on both backends."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.auth.permissions import ROLES, Principal
from flask_forge_jobs.dashboard.failures import view as module
from flask_forge_jobs.model.outcomes import Dead, Failed
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.browser.filling import TRACEBACK, hostile
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import open_page
from tests.support.failing import fail
from tests.support.sql import Sql

STRANGE = frozenset(("script", "img", "iframe", "style", "object", "base", "b1"))
PATH = f"{PREFIX}/errors"


def client_of(storage: Storage, role: str, *queues: str) -> FlaskClient:
    principal = Principal("ann", ROLES[role], frozenset(queues) if queues else None)
    return client_of_principal(storage, principal)


@pytest.fixture
def client(storage: Storage) -> FlaskClient:
    """A client of an admin."""
    return client_of(storage, "admin")


@pytest.fixture
def failures(storage: Storage) -> Storage:
    """Seven failures: four dead and two retrying of one error, one of another."""
    for number in range(4):
        outcome = Dead(f"timeout after {number} s", traceback=TRACEBACK)
        fail(storage, outcome, "billing", "charge")
    for number in range(2):
        fail(storage, Failed(f"timeout after {number} s"), "billing", "refund")
    fail(storage, Dead("no card"), "other", "charge")
    return storage


def shown(client: FlaskClient, query: str = "", status: int = 200) -> Element:
    answer = open_page(client, PATH + query)
    assert answer.status_code == status, answer.text
    return parsed(answer.text)


def signatures(page: Element) -> list[str]:
    return [
        link.text for link in page.find("#groups").all("a") if link["class"] == "sig"
    ]


TIMEOUT = "?signature=timeout+after+%3Cn%3E+s"


@pytest.mark.usefixtures("failures")
def test_the_headline_is_the_answer(client: FlaskClient) -> None:
    page = shown(client)

    assert page.find("h1").text == "One of 2 errors makes 85% of 7 failures in 24 hours"
    assert "2 new in the last hour" in page.find("#summary").text
    assert signatures(page) == ["timeout after <n> s", "no card"]


def test_of_two_errors_with_half_of_the_failures_none_heads_the_page(
    storage: Storage, client: FlaskClient
) -> None:
    for error in ("no card", "no account"):
        fail(storage, Dead(error), "billing", "charge")

    assert shown(client).find("h1").text == "2 errors made 2 failures in 24 hours"


@pytest.mark.usefixtures("failures")
def test_a_page_whose_errors_are_gone_says_so(
    client: FlaskClient, storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 1)
    (following,) = [each for each in shown(client).all("a") if each.text == "Next"]
    storage.errors.fold(0)
    sql.run("DELETE FROM forge_error_bucket WHERE signature = 'no card'")
    sql.run("DELETE FROM forge_error WHERE signature = 'no card'")

    page = shown(client, following["href"])

    assert page.find("h1").text == "One error made 6 failures in 24 hours"
    assert "No more errors" in page.find("#groups").text


@pytest.mark.usefixtures("failures")
def test_a_group_tells_kinds_queues_and_counts(client: FlaskClient) -> None:
    first = shown(client).find("article")

    assert "charge refund in billing" in first.text
    assert "6 85%" in first.text
    assert "Run 2 retries now" in first.text
    assert "Retry 4 dead jobs" in first.text
    assert first.find("svg")["aria-label"] == "at most 6 in one bar, 6 in the last"
    links = [each["href"] for each in first.all("a")]
    assert any(each.startswith("./dead?signature=timeout") for each in links)


@pytest.mark.usefixtures("failures")
def test_groups_are_filtered_and_ordered(client: FlaskClient) -> None:
    assert signatures(shown(client, "?queue=other")) == ["no card"]
    assert signatures(shown(client, "?kind=refund")) == ["timeout after <n> s"]
    assert signatures(shown(client, "?sort=-last_seen"))[0] == "no card"
    nothing = shown(client, "?kind=none")
    assert "No error matches these filters" in nothing.text
    assert "Clear" in nothing.text


@pytest.mark.parametrize("within", ["24h", "7d", "30d"])
@pytest.mark.usefixtures("failures")
def test_the_range_is_chosen(client: FlaskClient, within: str) -> None:
    page = shown(client, f"?range={within}")

    current = [
        each.text for each in page.find("#summary").all("a") if each["aria-current"]
    ]
    assert current[-1].replace(" ", "") == within
    assert signatures(page)[0] == "timeout after <n> s"


def test_nothing_has_failed(client: FlaskClient) -> None:
    page = shown(client)

    assert page.find("h1").text == "Nothing has failed in 24 hours"
    assert signatures(page) == []
    filtered = shown(client, "?kind=absent").find("h1").text
    assert filtered == "No error matches in 24 hours"


@pytest.mark.parametrize(
    "query", ["?range=1y", "?sort=x", "?cursor=x", f"?kind={'x' * 999}", "?queue=%00"]
)
@pytest.mark.usefixtures("failures")
def test_invalid_parameters_fall_back(client: FlaskClient, query: str) -> None:
    assert len(signatures(shown(client, query))) == 2


def test_many_groups_are_paged(storage: Storage, client: FlaskClient) -> None:
    for number in range(30):
        word = "".join(chr(ord("a") + int(digit)) for digit in f"{number:03}")
        fail(storage, Dead(f"fault {word}"))

    first = shown(client)
    (following,) = [e for e in first.all("a") if e.text == "Next"]
    second = shown(client, following["href"])

    assert first.find("h1").text == "30 errors made 30 failures in 24 hours"
    assert "1\u201325 of 30 errors" in first.text
    assert "26\u201330 of 30 errors" in second.text
    # The share is that of all failures, not of those on the page.
    assert "1 3%" in first.find("article").text
    assert "shares are of 30 failures" in second.text
    assert len({*signatures(first), *signatures(second)}) == 30


def test_a_trend_is_red_only_if_no_job_comes_again(
    storage: Storage, client: FlaskClient
) -> None:
    fail(storage, Dead("one fault"))
    assert "c-red" in str(shown(client).find("article").find("svg")["class"])
    fail(storage, Failed("one fault"))

    assert "c-amber" in str(shown(client).find("article").find("svg")["class"])


# -- one group ---------------------------------------------------------------------


@pytest.mark.usefixtures("failures")
def test_one_group_has_an_example_and_its_kinds(client: FlaskClient) -> None:
    page = shown(client, TIMEOUT)

    assert page.find("h1").text == "timeout after <n> s"
    groups = page.find("#groups").text
    assert "6 failures in 24 hours" in groups
    assert "Kindsfailures in 24 hours" in groups
    assert "chargebilling4 refundbilling2" in groups
    assert "Delete 4 dead jobs" in page.find("#summary").text


def test_the_example_has_its_traceback(failures: Storage, client: FlaskClient) -> None:
    fail(failures, Dead("timeout after 9 s", traceback=TRACEBACK), "billing", "charge")

    page = shown(client, TIMEOUT)

    assert "shop/billing.py:12 in charge" in page.find("#groups").text


def test_without_its_job_the_example_is_the_message(
    storage: Storage, client: FlaskClient
) -> None:
    job_id = fail(storage, Dead("timeout after 9 s", traceback=TRACEBACK))
    storage.job_admin.delete(job_id)

    groups = shown(client, TIMEOUT).find("#groups").text

    assert "timeout after 9 sThe job that failed last is deleted" in groups


@pytest.mark.parametrize("signature", ["unknown", "x" * 5000, "%00"])
def test_an_unknown_group_has_a_way_back(client: FlaskClient, signature: str) -> None:
    page = shown(client, f"?signature={signature}", status=404)

    assert "No failure has this signature" in page.text
    links = [link["href"] or "" for link in page.all("a")]
    assert max(map(len, links)) < 300


# -- who may see it ----------------------------------------------------------------


def test_a_limited_caller_sees_the_own_queues_only(failures: Storage) -> None:
    limited = client_of(failures, "operator", "other")

    assert signatures(shown(limited)) == ["no card"]
    assert signatures(shown(limited, "?queue=billing")) == ["no card"]
    assert "refund" not in open_page(limited, PATH + TIMEOUT).text


def test_a_viewer_is_offered_no_change(failures: Storage) -> None:
    viewer = client_of(failures, "viewer")

    for query in ("", TIMEOUT):
        page = shown(viewer, query)
        asked = [each["href"] for each in page.all("a") if "ask=" in each["href"]]
        assert all("ask=keys" in address for address in asked)
        assert not {"Run 2 retries now", "Retry 4 dead jobs"} & {
            e.text for e in page.all("a")
        }


def test_P05_signatures_and_names_are_text(
    storage: Storage, client: FlaskClient
) -> None:
    for text in hostile()[:5]:
        fail(storage, Dead(f"E: {text}", traceback=f"{TRACEBACK}{text}"))
    page = shown(client)

    addresses = [e["href"] for e in page.all("a") if e["class"] == "sig"]
    for each in (page, *(shown(client, address) for address in addresses)):
        for element in each.find("main")._within():
            assert element.name not in STRANGE
            assert not any(key.startswith("on") for key in element.attributes)
            assert not element["href"].lower().startswith(("javascript:", "data:"))
