"""Charts in a browser: labels, gaps, every worker, read-out, zoom, and tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect

from flask_forge_jobs.dashboard import words
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.metrics import (
    SAMPLE_LEVELS,
    DatabaseHealth,
    ResourceUse,
    SampleSums,
    floor_to,
)
from tests.dashboard.browser.sites import Site, running_site
from tests.support.browser import complaints_of, lent_tab
from tests.support.figures import PastProcess
from tests.support.jobs import claim_one

MINUTE_US = 60_000_000
_COLOURS = "all => all.map(each => getComputedStyle(each).getPropertyValue('--c'))"
# Nobody measured then, in minutes before now.
SILENT = range(20, 30)


@pytest.fixture(scope="module")
def charted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with samples of two workers over six hours, and runs of three days."""
    with running_site(tmp_path_factory.mktemp("charted")) as site:
        storage = site.storage
        storage.open()
        now_us = storage.metrics.now_us()
        for number in range(3):
            past = PastProcess(storage, now_us - number * DAY_US)
            past.runs("mail", "send", [100] * 9 + [90_000], dead=1)
        for worker_id in ("worker-1", "worker-2"):
            storage.workers.beat(worker_id, f"name of {worker_id}", ["mail"], [])
            storage.samples.put(worker_id, dict(_samples(now_us)))
        yield site


def _samples(now_us: int) -> Iterator[tuple[tuple[int, int], SampleSums]]:
    for level in SAMPLE_LEVELS:
        step = level // 60
        for minute in range(0, 360, step):
            if minute in SILENT:
                continue
            sums = SampleSums()
            health = DatabaseHealth(db_size_bytes=500_000_000, wal_bytes=4_000_000)
            sums.add(ResourceUse(cpu_pct=40.0, rss_bytes=300_000_000), health)
            sums.reads.record_many([2000])
            sums.writes.record_many([5000])
            yield (level, floor_to(now_us - minute * MINUTE_US, level)), sums


@pytest.fixture
def page(browser: Browser, charted: Site) -> Iterator[Page]:
    """The page of metrics of six hours."""
    site = charted
    with lent_tab(browser, site.headers["admin"]) as opened:
        complaints = complaints_of(opened)
        opened.goto(site.url("/kinds?range=6h"))
        yield opened
        assert complaints == []


def read_outs(page: Page) -> list[str]:
    """Return the times that are pointed at, with their dates."""
    shown = page.locator(".chart .at").all_inner_texts()
    return [each for each in shown if each.endswith(" UTC")]


def drag(page: Page, start: float, end: float) -> None:
    """Drag over a part of the first chart."""
    box = page.locator("#throughput .ch").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + start * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], box["y"] + 40, steps=4)
    page.mouse.up()


def test_D22_charts_of_the_same_time_are_read_together(page: Page) -> None:
    last = page.locator(".chart .at").all_inner_texts()
    page.locator("#run_time .plot").focus()
    page.keyboard.press("End")

    assert len(read_outs(page)) == 3
    assert len(set(read_outs(page))) == 1
    assert page.locator("#throughput .cx").count() >= 1
    before = read_outs(page)[0]
    page.keyboard.press("ArrowLeft")
    assert read_outs(page)[0] != before
    page.keyboard.press("Escape")
    assert page.locator(".chart .at").all_inner_texts() == last
    # With its day where the chart has begun before midnight.
    time = re.compile(r"([A-Z][a-z]{2} \d+ )?\d\d:\d\d( so far)?")
    assert all(time.fullmatch(each) for each in last)


def test_a_screen_reader_hears_a_chart_that_is_read_by_keys_alone(page: Page) -> None:
    caption = page.locator("#run_time figcaption")
    page.locator("#run_time .plot").focus()
    page.keyboard.press("End")

    assert caption.get_attribute("aria-live") == "polite"
    # The other charts of the same time would say it again.
    assert page.locator("[aria-live=polite]").count() == 1
    page.keyboard.press("Tab")
    assert caption.get_attribute("aria-live") == "off"
    page.locator("#run_time .plot").hover()
    assert len(read_outs(page)) == 3
    assert page.locator("[aria-live=polite], .chart output").count() == 0


def test_D25_a_zoom_is_in_the_address_and_ends_where_it_began(page: Page) -> None:
    drag(page, 0.25, 0.5)
    page.wait_for_url("**from=**")

    charts = page.locator("#throughput, #run_time, #wait_time").all()
    assert len({each.get_attribute("data-x") for each in charts}) == 1
    query = parse_qs(urlsplit(page.url).query)
    assert query["range"] == ["6h"]
    assert len(query["from"]) == len(query["to"]) == 1
    page.locator("[data-reset]").click()
    page.wait_for_url(lambda url: "from=" not in url)
    assert "range=6h" in page.url
    page.go_back()
    page.wait_for_url("**from=**")


def test_a_chart_is_zoomed_by_keys(page: Page) -> None:
    page.locator("#throughput .plot").focus()
    page.keyboard.press("+")

    page.wait_for_url("**from=**")


def test_series_and_tables_come_and_go_in_place(page: Page) -> None:
    page.evaluate("window.kept = true")
    chart = page.locator("#throughput")

    chart.get_by_label("Show as a table: Jobs per minute").click()
    expect(chart.locator("tbody tr")).to_have_count(72)
    chart.get_by_text("Enqueued").first.click()
    expect(chart.locator("[data-off]")).to_have_count(2)

    assert page.evaluate("window.kept")
    assert "toggle=throughput%3AEnqueued" in page.url
    page.reload()
    expect(chart.locator("[data-off]")).to_have_count(2)


def test_P01_P15_D13_D14_every_worker_and_the_whole_database_are_drawn(
    page: Page,
) -> None:
    started = page.locator("#throughput .legend a", has_text="Started")
    # It is not drawn, and has a figure as the others.
    expect(started.locator("b")).to_be_visible()
    strokes = page.locator("#throughput .bs.c-amber, #throughput .sq.c-amber")
    assert len(set(strokes.evaluate_all(_COLOURS))) == 1
    heads = {text.strip() for text in page.locator("th").all_text_contents()}
    assert {"Kind", "Runs", "Failed", "Mean", "p50", "p95", "p99", "Total"} <= heads
    for name in ("cpu", "memory", "disk_used"):
        names = page.locator(f"#{name} .legend span").all_inner_texts()
        assert names == ["name of worker-1", "name of worker-2"]
    for name in ("reads", "writes", "calls", "size", "log"):
        line = page.locator(f"#{name} .ln").first
        expect(line).to_have_attribute("d", re.compile("M"))
    expect(page.locator("#size .legend b")).to_have_text("477 MiB")


def test_the_key_of_each_percentile_is_another_stroke(page: Page) -> None:
    keys = page.locator("#run_time .legend a").evaluate_all(
        """all => all.map(each => getComputedStyle(each, "::before"))
          .map(style => [style.borderTopStyle, style.width])"""
    )

    # A dashed stroke of two pixels that is shorter has no gap in Chromium.
    assert keys == [["solid", "14px"], ["dashed", "14px"], ["dotted", "14px"]]


def test_D15_a_missing_sample_is_a_gap(page: Page, charted: Site) -> None:
    page.goto(charted.url("/kinds?range=1h"))

    path = page.locator("#cpu .ln").first.get_attribute("d") or ""
    assert path.count("M") == 2
    table = page.goto(charted.url("/kinds?range=1h&table=cpu"))
    assert table is not None
    shown = page.locator("#cpu td:first-of-type").all_inner_texts()
    assert {words.NOTHING, "40%"} == set(shown)


def test_D19_ticks_are_round_in_their_unit(page: Page) -> None:
    assert page.locator("#size .ys text").all_text_contents() == [
        "0", "256 MiB", "512 MiB",
    ]  # fmt: skip
    times = page.locator("#run_time .ys text").all_text_contents()
    assert set(times) <= {"1ms", "10ms", "100ms", "1s", "10s", "1m", "10m", "1h"}


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.long), 390])
def test_D20_weeks_name_their_days_and_no_label_meets_another(
    page: Page, charted: Site, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(charted.url("/kinds?range=7d"))

    for name in ("throughput", "cpu"):
        labels = page.locator(f"#{name} .xs text:visible")
        boxes = [each.bounding_box() for each in labels.all()]
        ends = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
        assert len(ends) >= 2
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))
        names = labels.all_text_contents()
        days = {each.split()[0] for each in names if each != "so far"}
        assert days <= {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}


def test_a_table_of_a_chart_fits_a_phone(page: Page, charted: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(charted.url("/kinds?range=1h&table=throughput"))

    wide, seen = page.locator("#throughput .data").evaluate(
        "box => [box.scrollWidth, box.clientWidth]"
    )

    assert wide <= seen


def _box(shown: Locator) -> FloatRect:
    box = shown.bounding_box()
    assert box is not None
    return box


def test_the_numbers_of_tiles_stand_on_one_line(
    browser: Browser, charted: Site
) -> None:
    """Also beside one with a note below its number."""
    storage = charted.storage
    storage.jobs.enqueue(NewJob("send", queue_name="tiles"))
    claim_one(storage, owner="gone", queue_name="tiles")
    with lent_tab(browser, charted.headers["admin"]) as page:
        page.goto(charted.url("/queues/tiles"))
        tiles = page.locator("#tiles .tile")
        assert any(tiles.locator("em").all_inner_texts())

        numbers = tiles.locator("> b").all()

        assert len({_box(each)["y"] for each in numbers}) == 1


def test_small_charts_and_ids_of_a_worker_take_one_line_each(
    browser: Browser, charted: Site
) -> None:
    worker_id = "01M8T533G82VN4BVB0APPZXMW7"
    charted.storage.workers.beat(worker_id, None, ["mail"], [])
    now_us = charted.storage.metrics.now_us()
    charted.storage.samples.put(worker_id, dict(_samples(now_us)))
    with lent_tab(browser, charted.headers["admin"]) as page:
        page.goto(charted.url(f"/workers/{worker_id}"))
        heads = page.locator(".mini figcaption")
        expect(heads).to_have_count(7)
        for head in heads.all():
            title, button = _box(head.locator("h3")), _box(head.locator(".btn"))
            assert button["y"] < title["y"] + title["height"], head.text_content()
        shown = page.locator(".facts dd code", has_text=worker_id).first
        assert _box(shown)["height"] < 22
