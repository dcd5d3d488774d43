"""The way to the server is long: jobs run later, and nobody is taken for dead."""

from __future__ import annotations

from statistics import median

from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.outages import LEASE_S, plan_of, require_sound
from tests.acceptance.kill_workers import Driver
from tests.support.proxy import proxied

# By which each piece of data comes later, either way. A round trip takes twice that.
DELAYS_MS = (0, 2, 50, 100)
PROBES = 5
# Of a job in an empty queue, beside the round trips of its claim and a busy machine.
STARTS_S = 2.0
TRIPS = 20


def far_away(bench: Bench) -> str:
    """C9."""
    settings = bench.settings
    starts_ms: dict[int, float] = {}
    with proxied(settings) as proxy:

        def inject(driver: Driver) -> None:
            assert isinstance(driver, UnderFault)
            for delay_ms in DELAYS_MS:
                proxy.weather.delay_s = delay_ms / 1000
                driver.store_plainly(bench.pick(20, 60, 600), 1)
                probes = [driver.probe() for _ in range(PROBES)]
                limit_s = STARTS_S + TRIPS * 2 * delay_ms / 1000
                assert max(probes) <= limit_s, f"{delay_ms} ms: {max(probes):.1f} s"
                starts_ms[delay_ms] = median(probes) * 1000

        driver = UnderFault(
            plan_of(bench, jobs=bench.pick(50, 300, 3_000)),
            bench.url,
            bench.folder,
            inject,
            duration_s=bench.pick(3, 10, 60),
            worker_url=proxy.url_of(settings),
        )
        report = driver.run()
        # The fleet has stopped by now, with the longest way.
    require_sound(report)
    assert report.figures["jobs given back"] == 0, report.text()
    figures = ", ".join(
        f"{delay} ms: {start:.0f} ms" for delay, start in starts_ms.items()
    )
    return (
        f"from stored to started by one-way delay, {figures}; "
        f"{report.figures['acknowledged']} jobs with a lease of {LEASE_S:g} s, "
        "0 lost, 0 extra runs, 0 given back"
    )
