"""The short form of the measurement: others work while retention deletes."""

from __future__ import annotations

import pytest

from tests.acceptance.retention_interference import LIMIT, Report, Waits, measure

ROWS, PASSES = 6_000, 3


@pytest.mark.long
def test_others_work_while_retention_deletes(database_url: str) -> None:
    """How long they wait is for the full form, on a machine of its own."""
    report = measure(database_url, rows=ROWS, passes=PASSES, baseline_s=1.0)

    assert list(report.deleted) == [ROWS // PASSES] * PASSES
    for waits in report.waits:
        assert waits.alone, report.text()
        assert waits.beside, report.text()
        # Who is kept out waits for the end of a pass.
        assert max(waits.beside) < max(report.took_s), report.text()


def test_what_is_slower_than_twice_is_told() -> None:
    alone = [1.0, 2.0, 10.0]
    met = Waits("enqueue", alone, [10.0 * LIMIT])
    missed = Waits("pickup", alone, [10.0 * LIMIT + 0.1])

    report = Report("sqlite", [5, 6], [1.0, 2.5], [met, missed])

    assert (met.ratio, report.is_met) == (LIMIT, False)
    title, _, *lines = report.text().splitlines()
    assert title == ("sqlite: 2 passes deleted 11 jobs in 3.5 s, the longest in 2.5 s")
    assert [line.split()[-1] for line in lines] == ["met", "MISSED"]
