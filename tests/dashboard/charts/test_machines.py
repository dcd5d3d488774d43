"""Charts of machines: every worker is drawn, and gaps are gaps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flask_forge_jobs.dashboard.charts import machines
from flask_forge_jobs.dashboard.charts.figure import Figure, Span
from flask_forge_jobs.handlers.machines import Machines
from flask_forge_jobs.handlers.samples import DbHealthBucket, ResourceBucket

NOW = datetime(2026, 11, 30, tzinfo=UTC)
SPAN = Span(NOW, 60, 2)
NOTHING = ResourceBucket(NOW, None, None, None, None, None)


def used(cpu_pct: float) -> ResourceBucket:
    return ResourceBucket(NOW, cpu_pct, 100, 10, 20, 41.0)


def found(**cpu: float) -> Machines:
    resources = {name: [NOTHING, used(pct)] for name, pct in cpu.items()}
    blank = DbHealthBucket(NOW, *[None] * 14)
    full = DbHealthBucket(NOW, 1, 2, 3, 60, 4, 5, 6, 30, 2, 3, 100, 2.0, 4096, 512)
    return Machines(resources, [blank, full], {"a1": "mail-1"})


def lines(figure: Figure) -> dict[str, list[float | None]]:
    return {each.name: list(each.values) for each in figure.lines}


def test_every_worker_has_a_line() -> None:
    several = found(a1=30, **{"01KB0000000000000000ABCDEF": 7})
    drawn = machines.resources(several, SPAN, machines.busiest(several))

    by_name = {figure.name: lines(figure) for figure in drawn}
    assert by_name["cpu"] == {"mail-1": [None, 30], "…0ABCDEF": [None, 7]}
    assert by_name["disk"] == {"read": [None, 20], "write": [None, 40]}
    assert drawn[0].axis.high == 100


def test_of_many_workers_the_busiest_are_drawn_or_the_chosen() -> None:
    many = found(**{f"w{number}": number for number in range(9)})

    assert machines.busiest(many) == ["w3", "w4", "w5", "w6", "w7", "w8"]
    assert machines.busiest(many, ["w1", "gone"]) == ["w1"]


def test_no_series_has_the_colour_of_good_or_bad() -> None:
    """Normal writes were red, and of six workers one was red and one green."""
    several = found(**{f"w{number}": number for number in range(6)})
    drawn = [
        *machines.resources(several, SPAN, machines.busiest(several)),
        *machines.database(several.database, SPAN, has_pool=True),
    ]

    looks = [[(each.tone, *each.look) for each in figure.lines] for figure in drawn]
    assert all(len({*each}) == len(each) for each in looks)
    tones = {tone for each in looks for tone, *_ in each}
    assert tones == {"blue", "ink", "violet"}


def test_a_size_that_nobody_measured_is_not_nothing() -> None:
    unmeasured = DbHealthBucket(NOW, 1, 2, 3, 60, 4, 5, 6, 30, 2, 3, 100, 2.0, 0, 0)
    without_log = DbHealthBucket(NOW, 1, 2, 3, 60, 4, 5, 6, 30, 2, 3, 100, 2.0, 9, 0)

    drawn = machines.database(
        [unmeasured, without_log], SPAN, share=lambda _: 1.0, has_pool=False
    )

    by_name = {figure.name: lines(figure) for figure in drawn}
    assert by_name["size"] == {"data": [None, 9]}
    assert by_name["log"] == {"log": [None, 0]}


@pytest.mark.parametrize("has_pool", [False, True])
def test_the_database_has_times_calls_and_sizes(has_pool: bool) -> None:
    shares = {0: 1.0, 1: 0.5}
    drawn = machines.database(
        found().database, SPAN, share=shares.get, has_pool=has_pool
    )

    by_name = {figure.name: lines(figure) for figure in drawn}
    assert by_name["reads"]["p95"] == [None, 2]
    assert by_name["calls"] == {"writes": [None, 60], "reads": [None, 120]}
    assert (by_name["size"]["data"], by_name["log"]["log"]) == (
        [None, 4096],
        [None, 512],
    )
    assert ("pool" in by_name) == has_pool


def test_no_worker_makes_empty_charts() -> None:
    drawn = machines.resources(Machines({}, [], {}), Span(NOW, 60, 0), [])

    assert all(figure.is_empty for figure in drawn)
