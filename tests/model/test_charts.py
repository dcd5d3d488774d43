from __future__ import annotations

import random
from typing import Any

import pytest

from flask_forge_jobs.model.charts import NO_FIGURES, add_row, charts, figures_of
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.metrics import Tally, Window

SECOND_US = 1_000_000
WINDOW = Window(20 * SECOND_US, 10 * SECOND_US, 4)
RANDOM = random.Random(7)


def row(name: str, bucket: int, *counts: int, values: int = 5) -> tuple[Any, ...]:
    """Return a stored row of a bucket."""
    times = []
    for _ in range(3):
        histogram = Histogram()
        histogram.record_many(RANDOM.randrange(10**6) for _ in range(values))
        times.append(histogram.encode())
    return (name, WINDOW.start_us + bucket * WINDOW.width_us, *counts, *times)


@pytest.mark.parametrize("rows_of_a_bucket", [1, 2, 9])
def test_figures_are_those_of_the_added_up_tally(rows_of_a_bucket: int) -> None:
    rows = [
        row(name, bucket, 1, 2, 3, 4, 5, 6, values=RANDOM.randrange(40))
        for bucket in (0, 3)
        for name in ("a", "b")
        for _ in range(rows_of_a_bucket)
    ]
    RANDOM.shuffle(rows)

    found = charts(rows, WINDOW, ["a", "b", "idle"])

    for name in ("a", "b"):
        for bucket in (0, 3):
            tally = Tally()
            for name_of_row, at_us, *figures in rows:
                if (name_of_row, WINDOW.index_of(at_us)) == (name, bucket):
                    add_row(tally, figures)
            assert found[name][bucket] == figures_of(tally)
        assert found[name][1:3] == [NO_FIGURES] * 2
    assert found["idle"] == [NO_FIGURES] * WINDOW.count


def test_a_bucket_without_times_has_zeros() -> None:
    found = charts([row("a", 1, 1, 0, 0, 0, 2, 0, values=0)], WINDOW, ["a"])

    assert found["a"][1] == (1, 0, 0, 0, 2, 0, *[0] * 9)
