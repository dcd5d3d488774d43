"""Row B13: permits of jobs whose workers are killed."""

from __future__ import annotations

from tests.acceptance.faults.fault import Bench
from tests.acceptance.limiting import Driver, Size


def permit_of_the_dead(bench: Bench) -> str:
    """B13: workers are killed with jobs that have permits; none stays taken."""
    size = Size(
        processes=bench.pick(3, 3, 8),
        seconds=0.0,
        kills=bench.pick(2, 20, 50),
        between_s=1.0,
    )
    seed = bench.random.randrange(1_000_000)
    driver = Driver(size, seed, bench.url, bench.folder)
    driver.kill()
    assert not driver.complaints, driver.text()
    bench.sql.assert_counts_equal_rows()
    figures = driver.figures
    return (
        f"{figures['kills']} kills, {figures['kills that held permits']} held permits; "
        f"at most {figures['most at once for one account']} at once, afterwards "
        f"{figures['after the last kill']}"
    )
