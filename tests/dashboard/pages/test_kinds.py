"""The page of metrics: figures by queue and kind, machines, scope, hostile names."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.browser.filling import sample
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import open_page
from tests.support.backends import each_backend
from tests.support.clocks import MovingClock
from tests.support.figures import PastProcess

ADMIN = Principal.with_role("root", "admin")
LIMITED = Principal.with_role("mailer", "viewer", queues=["mail"])
HOSTILE = "<script>fetch('/hit')</script>\"><img src=/hit>"


class Site:
    """Figures of an hour, and a client whose clock stands at its end."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        for name in ("mail", "bulk"):
            storage.queues.create(QueueSettings(name))
        self.past = PastProcess(storage)
        self.past.runs("mail", "send", [100] * 30, retried=10)
        self.past.clock.move(1800)
        self.past.runs("bulk", "pack", [4000] * 5, dead=2)
        self.past.clock.move(60)

    def client(self, principal: Principal = ADMIN) -> FlaskClient:
        """Return a client of a caller."""
        clock = MovingClock(self.past.clock.now_us())
        return client_of_principal(self.storage, principal, clock=clock)

    def open(self, query: str = "", principal: Principal = ADMIN) -> Element:
        """Open the page."""
        answer = open_page(self.client(principal), f"{PREFIX}/kinds{query}")
        assert answer.status_code == 200, answer.text[:2000]
        return parsed(answer.text)


@pytest.fixture
def site(storage: Storage) -> Site:
    return Site(storage)


def rows(page: Element) -> list[str]:
    body = page.find("#kinds").find("tbody")
    return [row.find("th").text for row in body.all("tr")]


def test_the_headline_is_the_answer(site: Site) -> None:
    head = site.open().find("h1").text

    assert head == "Last 24 hours: 35 jobs done, 26% of runs failed, p95 4s"
    assert (
        site.open("?kind=send")
        .find("h1")
        .text.startswith(
            "Last 24 hours, send: 30 jobs done, 25% of runs failed, p95 10"
        )
    )


def test_kinds_and_queues_have_their_totals(site: Site) -> None:
    assert rows(site.open()) == ["pack", "send"]
    assert rows(site.open("?sort=name&by=queue")) == ["bulk", "mail"]
    assert rows(site.open("?sort=-runs")) == ["send", "pack"]
    assert rows(site.open("?queue=mail")) == ["send"]
    assert rows(site.open("?kind=pack")) == ["pack"]


def test_a_chosen_kind_or_queue_has_the_spread_of_its_run_times(site: Site) -> None:
    words = "5 completed runs: half took at most 4s, 95% 4s, 99% 4s"

    for query in ("?kind=pack", "?queue=bulk&by=queue"):
        spread = site.open(query).find("#spread")
        assert words in spread.text
        assert spread.find("svg")["aria-label"] == words
    for query in ("", "?kind=none", "?queue=bulk&kind=send"):
        assert site.open(query).find("#spread").text == ""


def test_a_chart_has_words_and_a_table_without_script(site: Site) -> None:
    page = site.open("?range=1h&table=throughput")

    chart = page.find("#throughput")
    assert "Completed from 0 to 30" in chart.all("div")[0]["aria-label"]
    assert len(chart.find("tbody").all("tr")) == 60
    link = next(each for each in chart.all("a") if each["href"].startswith("?range=1h"))
    assert link is not None
    assert not site.open("?range=1h").find("#throughput").all("table")


def test_a_series_is_hidden_by_the_address(site: Site) -> None:
    page = site.open("?toggle=throughput:Completed&toggle=throughput:Started")

    chart = page.find("#throughput")
    hidden = [
        link.find("span").text
        for link in chart.all("a")
        if "data-off" in link.attributes
    ]
    assert hidden == ["Completed"]


def test_a_zoom_is_in_the_address_and_has_a_way_back(site: Site) -> None:
    now = from_micros(site.past.clock.now_us())
    ends = (f"{now - timedelta(minutes=each):%Y-%m-%dT%H:%MZ}" for each in (50, 20))
    start, end = ends
    page = site.open(f"?range=7d&from={start}&to={end}")

    reset = next(link for link in page.all("a") if "data-reset" in link.attributes)
    assert (reset.text, reset["href"]) == ("Back to 7d", "?range=7d")
    assert page.find("#throughput")["data-x"].endswith(",30000,60")


def test_machines_are_for_those_who_see_all_queues(site: Site) -> None:
    assert "No figures in this range" in site.open().find("#machines").text
    assert not site.open("", LIMITED).all("#machines")

    part = open_page(site.client(LIMITED), f"{PREFIX}/kinds?only=machines")

    assert part.text.strip() == ""


def test_charts_of_machines_without_figures_are_named_and_not_drawn(
    site: Site,
) -> None:
    sample(site.storage, "w1")
    client = client_of_principal(site.storage, ADMIN)

    page = open_page(client, f"{PREFIX}/kinds?range=15m")

    machines = parsed(page.text).find("#machines")
    drawn = [each["id"] for each in machines.all("figure")]
    assert drawn == ["cpu", "memory", "disk", "disk_used", "calls"]
    assert "range: database reads, database writes, database size" in machines.text
    # They say nothing of one kind.
    assert not site.open("?kind=send").all("#machines")


def test_a_limited_caller_sees_its_queues_only(site: Site) -> None:
    page = site.open("", LIMITED)

    assert rows(page) == ["send"]
    assert "bulk" not in page.text
    assert "pack" not in page.text
    refused = open_page(site.client(LIMITED), f"{PREFIX}/kinds?queue=bulk")
    assert refused.status_code == 403


def test_the_names_of_strangers_are_text(storage: Storage) -> None:
    past = PastProcess(storage)
    past.runs("mail", HOSTILE, [10])
    clock = MovingClock(past.clock.now_us() + 60_000_000)
    client = client_of_principal(storage, ADMIN, clock=clock)

    page = parsed(open_page(client, f"{PREFIX}/kinds").text)

    assert rows(page) == [HOSTILE]
    assert len(page.all("script")) == 1
    assert not page.all("img")


def test_nothing_has_an_empty_state(storage: Storage) -> None:
    page = parsed(
        open_page(client_of_principal(storage, ADMIN), f"{PREFIX}/kinds").text
    )

    assert page.find("h1").text == "Last 24 hours: no job ended"
    assert page.find("#kinds").find("h2").text == "Kinds"
    assert "No job ended in this range" in page.find("#kinds").text


@pytest.mark.parametrize("query", ["?range=x&sort=y&toggle=z&from=1", "?page=x&by=x"])
def test_invalid_values_leave_the_links(site: Site, query: str) -> None:
    page = site.open(query)

    assert rows(page) == ["pack", "send"]
    for link in page.find("#kinds").all("a"):
        assert "sort=y" not in link["href"]


@each_backend
@pytest.mark.parametrize("path", [f"{PREFIX}/kinds", f"{PREFIX}/"])
def test_a_nul_leaves_the_address(storage: Storage, path: str) -> None:
    client = client_of_principal(storage, ADMIN)

    answer = open_page(client, f"{path}?queue=%00&kind=a%00b&worker=a%00b")

    assert answer.status_code == 200
    assert "%00" not in answer.text


@pytest.mark.parametrize("path", [f"{PREFIX}/kinds", f"{PREFIX}/"])
def test_links_repeat_no_more_of_the_address_than_a_page_has(
    storage: Storage, path: str
) -> None:
    client = Site(storage).client()
    own = len(open_page(client, path).text)

    for name in ("toggle", "table", "worker"):
        many = "&".join(f"{name}=n{number}" for number in range(3000))
        for query in (many, f"{name}={'n' * 20_000}"):
            answer = open_page(client, f"{path}?{query}")
            assert answer.status_code == 200
            assert len(answer.text) < own + 60_000
    long = open_page(client, f"{path}?kind={'n' * 20_000}&queue={'n' * 20_000}")
    assert long.status_code == 200
    assert len(long.text) < own + 60_000
