"""The short form: what is stored beside a chart does not make it dearer."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.charts import fill_figures, paths
from tests.acceptance.million import FEW_ROWS, Subject
from tests.support.databases import sqlite_url
from tests.support.work import VirtualMachine

MORE = 20
DAYS = 8


def steps(machine: VirtualMachine, path: Path, rows: int, days: int) -> dict[str, int]:
    """Return the steps of SQLite for each chart of a week."""
    with closing(Subject(sqlite_url(path), rows, is_crossed=False)) as subject:
        now_us = subject.sql.now_us()
        fill_figures(subject.storage, now_us, days)
        return {
            name: machine.steps(subject.getter(path))
            for name, path in paths(now_us).items()
            if "week" in name
        }


@pytest.mark.long
def test_a_chart_does_not_grow_with_what_it_does_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = VirtualMachine(monkeypatch)

    few = steps(machine, tmp_path / "few.sqlite", FEW_ROWS, DAYS)
    many = steps(machine, tmp_path / "many.sqlite", MORE * FEW_ROWS, 2 * DAYS)

    assert all(few.values()), few
    assert all(many[name] <= 1.25 * few[name] for name in few), (few, many)
