"""The spread of run times: bars over a logarithmic axis."""

from __future__ import annotations

from flask_forge_jobs.dashboard.charts.spread import BINS, spread
from flask_forge_jobs.model.histograms import Histogram


def of(*times_ms: float) -> Histogram:
    histogram = Histogram()
    histogram.record_many(round(ms * 1000) for ms in times_ms)
    return histogram


def test_every_run_is_in_a_bar() -> None:
    made = spread(of(*[20] * 90, *[700] * 9, 5200))

    assert made is not None
    assert (
        made.words == "100 completed runs: half took at most 20ms, 95% 709ms, 99% 709ms"
    )
    shown = [words for _, words, _ in made.labels]
    assert shown == ["10ms", "20ms", "50ms", "100ms", "200ms", "500ms", "1s", "2s",
                     "5s", "10s"]  # fmt: skip
    assert (made.labels[0][0], made.labels[-1][0]) == ("0%", "100%")
    assert made.bars.bars.count("M") == 3
    assert made.bars.box.startswith(f"-.5 0 {BINS} ")


def test_one_run_has_one_time() -> None:
    made = spread(of(20))

    assert made is not None
    assert made.words == "1 completed run, 20ms"


def test_times_beyond_the_axis_stand_at_its_ends() -> None:
    for times in ([0], [0.0004, 1], [10**13], [1] * 3):
        made = spread(of(*times))
        assert made is not None
        assert made.bars.bars


def test_nothing_has_no_spread() -> None:
    assert spread(Histogram()) is None
