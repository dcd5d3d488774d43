"""Saved views: bounded, and safe whatever a cookie holds."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest

from flask_forge_jobs.dashboard.jobs.saved_views import (
    MAX_COOKIE_LENGTH,
    MAX_VIEWS,
    SavedView,
    views_in,
    with_view,
    without_view,
)


def cookie_of(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode()


def test_a_view_is_saved_replaced_and_removed() -> None:
    first = with_view((), " Stuck  mail ", "jobs?queue=mail&status=failed&x=1")
    second = with_view(views_in(first), "Dead today", "dead?last=24h&after=5.id")
    third = with_view(views_in(second), "Stuck mail", "retries")

    assert views_in(second) == [
        SavedView("Dead today", "dead?last=24h&after=5.id"),
        SavedView("Stuck mail", "jobs?status=failed&queue=mail"),
    ]
    assert views_in(third)[1].address == "retries"
    left = without_view(views_in(third), "Stuck mail")
    assert [view.name for view in views_in(left)] == ["Dead today"]


@pytest.mark.parametrize(
    "address",
    ["", "queues", "//evil.example/", "https://evil.example/", "../jobs", "jobs/1"],
)
def test_a_view_leads_to_a_list_only(address: str) -> None:
    assert with_view((), "name", address) is None
    assert views_in(cookie_of([["name", address]])) == []


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "\u202egnp"])
def test_a_name_is_visible(name: str) -> None:
    assert with_view((), name, "jobs") is None


@pytest.mark.parametrize(
    "cookie",
    [
        None,
        "",
        "%%%",
        "é",
        cookie_of({}),
        cookie_of([1]),
        cookie_of([["a"]]),
        cookie_of([["a", 5], [5, "jobs"]]),
        urlsafe_b64encode(b"[" * 3000).decode(),
    ],
)
def test_a_strange_cookie_holds_no_view(cookie: str | None) -> None:
    assert list(views_in(cookie)) == []


def test_there_is_room_for_some_views() -> None:
    cookie: str | None = None
    for number in range(MAX_VIEWS):
        cookie = with_view(views_in(cookie), f"view {number}", "jobs?queue=mail")
        assert cookie is not None

    assert with_view(views_in(cookie), "one more", "jobs") is None
    assert with_view(views_in(cookie), "view 0", "jobs") is not None


def test_a_cookie_stays_below_the_limit_of_browsers() -> None:
    cookie: str | None = None
    saved = 0
    while cookie is None or len(cookie) <= MAX_COOKIE_LENGTH:
        more = with_view(
            views_in(cookie), f"view {saved}", "jobs?queue=" + "q" * 250 + "&kind=k"
        )
        if more is None:
            break
        cookie, saved = more, saved + 1

    assert 5 < saved < MAX_VIEWS
    assert cookie is not None
    assert len(cookie) <= MAX_COOKIE_LENGTH


def test_an_address_is_bounded() -> None:
    many = "&".join(f"queue={'q' * 200}{n}" for n in range(4))

    assert with_view((), "name", f"jobs?{many}") is None
