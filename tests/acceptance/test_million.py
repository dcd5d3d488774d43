"""The short form of the measurement: the shape of the figures, with generous limits."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.databases import sqlite_url
from tests.acceptance.million import FEW_ROWS, Figure, Subject, compare, measure, table
from tests.support.postgres import fresh_database

ROWS = 20_000
REPEATS = 10
# Ratios of a scan would be near 20; a busy machine alone makes a few.
LARGEST_RATIO = 8.0
LIMIT_MS = 250.0
# The exact total of a range of time is counted, so it grows with the range.
COUNTED = ("list: wide range", "list: status + wide range")


def _measured(url: str, rows: int) -> dict[str, float]:
    with closing(Subject(url, rows, is_crossed=False)) as subject:
        subject.sql.assert_counts_equal_rows()
        return measure(subject, rows, REPEATS)


def test_reads_and_claims_do_not_scan(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if backend == "sqlite":
        few = _measured(sqlite_url(tmp_path / "few.sqlite"), FEW_ROWS)
        many = _measured(sqlite_url(tmp_path / "many.sqlite"), ROWS)
    else:
        server: str = request.getfixturevalue("postgres_server")
        with fresh_database(server) as url:
            few = _measured(url, FEW_ROWS)
        with fresh_database(server) as url:
            many = _measured(url, ROWS)

    figures = compare(few, many)
    text = table(backend, ROWS, figures)
    assert all(figure.many_ms <= LIMIT_MS for figure in figures), text
    steady = [figure for figure in figures if figure.name not in COUNTED]
    assert all(figure.ratio <= LARGEST_RATIO for figure in steady), text


def test_table_tells_what_is_missed() -> None:
    figures = [
        Figure("overview", few_ms=1.0, many_ms=2.5, limit_ms=2.0),
        Figure("claim", few_ms=1.0, many_ms=1.5, limit_ms=5.0),
    ]

    overview, claim = table("sqlite", 1_000_000, figures).splitlines()[-2:]

    assert overview.split() == ["overview", "1.00", "2.50", "2.5", "2.0", "MISSED"]
    assert claim.split()[-1] == "met"
