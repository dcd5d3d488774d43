"""The short form of the measurement: a costly body and a large answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.costly_requests import requests
from tests.acceptance.request_costs import Figure, Filling, chosen, measure, table
from tests.support.databases import sqlite_url

MET = Figure("a request", 200, cpu_s=0.3, memory_mib=50.0, health_s=0.5)


def test_a_costly_body_and_a_large_answer_are_cheap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.acceptance.request_costs.REST_S", 0.05)
    wishes = [*chosen("kinds of {}"), *chosen("/v1/errors")[:1]]

    figures = measure(
        sqlite_url(tmp_path / "queue.sqlite"),
        tmp_path,
        wishes,
        crowd=3,
        filling=Filling(rows=1_000, dead=200, listed=1),
    )

    assert [each.status for each in figures] == [400, 200], table("costs", figures)
    # /health depends on what else the machine does, and the driver measures it.
    costs = [replace(each, health_s=0.0) for each in figures]
    assert not any(each.missed for each in costs), table("costs", figures)


def test_requests_have_names_of_their_own() -> None:
    assert len({each.name for each in requests()}) == len(requests())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"cpu_s": 0.31}, ["CPU"]),
        ({"memory_mib": 50.1}, ["memory"]),
        ({"health_s": 0.51}, ["/health"]),
        ({"health_s": None}, []),
        ({"is_answered": False}, ["answer"]),
    ],
)
def test_a_figure_knows_what_it_misses(
    change: dict[str, Any], expected: list[str]
) -> None:
    figure = replace(MET, **change)

    assert figure.missed == expected
    verdict = f"MISSED {expected[0]}" if expected else "met"
    assert table("sqlite", [figure]).endswith(f"  {verdict}")
