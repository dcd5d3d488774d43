"""What the template of a list shows that no other test of the lists covers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.jobs.listings import DEAD_JOBS, JOBS, Listing
from flask_forge_jobs.dashboard.jobs.paging import Page
from flask_forge_jobs.dashboard.jobs.reading import JobList
from flask_forge_jobs.dashboard.jobs.view import Asked, ListView
from flask_forge_jobs.model.ordering import StatusCounts
from tests.dashboard.jobs.test_query import NOW, read
from tests.dashboard.jobs.test_rows import row

EVERYTHING = frozenset(Permission)
SOME = StatusCounts(dead=60, failed=40)


def viewed(
    text: str = "",
    listing: Listing = JOBS,
    asked: Asked | None = None,
    may: frozenset[Permission] = EVERYTHING,
    **values: Any,
) -> ListView:
    query = read(text, listing)
    jobs = SimpleNamespace(
        query=query,
        now=NOW,
        job_filter=query.job_filter(NOW),
        **{
            "matching": SOME,
            "counts": SOME,
            "has_all_counts": True,
            "is_exact": True,
            "searched": None,
            **values,
        },
    )
    return ListView(cast("JobList", jobs), may, asked or Asked())


@pytest.mark.parametrize(
    ("before", "shown", "extent"),
    [
        (0, 50, "1\u201350 of 100"),
        (50, 50, "51\u2013100 of 100"),
        (None, 50, "50 of 100"),
        # Jobs have left the list since the page before was shown.
        (80, 50, "50 of 100"),
        (100, 0, "0 of 100"),
    ],
)
def test_the_extent_of_a_page(before: int | None, shown: int, extent: str) -> None:
    page = Page([row().job] * shown, before)

    assert viewed(page=page).extent == extent


def test_a_search_shows_only_numbers_that_it_has_counted() -> None:
    view = viewed("status=dead", has_all_counts=False, counts=StatusCounts(dead=60))

    numbers = {name: number for name, _, _, number in view.tabs}
    assert numbers == {
        "All": None,
        "Waiting or scheduled": None,
        "Scheduled": None,
        "In progress": None,
        "Retrying": None,
        "Dead": 60,
        "Done": None,
    }


def test_a_part_of_the_jobs_is_named_and_offers_no_action_on_all() -> None:
    page = Page([row().job] * 50)
    bounded = StatusCounts(dead=7, done=3, bound=10)

    counted = viewed(page=page, matching=bounded, counts=bounded, is_exact=False)
    found = viewed("q=out", searched=20_000, is_exact=False)

    assert (counted.headline, counted.parts) == ("More than 10 jobs match", "")
    assert counted.extent == "1\u201350 of more than 10"
    assert {number for _, _, _, number in counted.tabs} == {None}
    assert counted.part == ("Counting stops at 10.", "Count all jobs")
    sentence = "Only the newest 20,000 jobs are searched."
    assert found.part == (sentence, "Search all jobs")
    assert found.whole == "jobs?q=out&search=all"
    assert counted.offers == found.offers == ()
    assert viewed().part is None


def test_another_filter_is_a_bounded_search_again() -> None:
    query = viewed("q=out&search=all").query

    assert query.address(sort="attempts") == "jobs?q=out&sort=attempts&search=all"
    assert query.address(queues=("mail",)) == "jobs?queue=mail&q=out"


def test_an_export_has_the_states_and_the_order_of_the_list() -> None:
    view = viewed("queue=mail&after=5.id&col=next", DEAD_JOBS)

    assert view.export("csv") == ("jobs.csv?status=dead&queue=mail&sort=-completed_at")


def test_the_bar_has_the_actions_that_the_list_allows() -> None:
    assert [verb.action for verb in viewed("", DEAD_JOBS).verbs] == ["retry", "delete"]
    assert len(viewed().verbs) == 5
    assert viewed(may=frozenset()).verbs == []


@pytest.mark.parametrize(
    "asked",
    [
        Asked(verb="delete"),
        Asked(verb="purge", is_all=True),
        Asked(verb="cancel", is_all=True),
        Asked(verb="retry", ticked=["done.A"]),
        Asked(verb="save"),
    ],
)
def test_no_question_is_asked_in_vain(asked: Asked) -> None:
    view = viewed("status=dead", asked=asked, matching=StatusCounts(dead=60))

    assert view.question is None


def test_a_dialog_is_shown_to_those_who_may_use_it() -> None:
    asked = Asked(verb="enqueue")

    assert viewed(asked=asked).dialog == "enqueue"
    assert viewed(asked=asked, may=frozenset()).dialog is None
    assert viewed(asked=Asked(verb="save"), may=frozenset()).dialog == "save"
    assert viewed(asked=Asked(verb="delete")).dialog is None


def test_fields_of_the_filter_show_its_values() -> None:
    view = viewed("error=out&from=2026-11-01T08:00:00&queue=mail&sort=-attempts")

    assert view.value("error") == "out"
    assert view.value("from") == "2026-11-01T08:00:00"
    assert view.value("to") == view.value("last") == ""
    assert view.kept_by_form == [("queue", "mail"), ("sort", "-attempts")]
