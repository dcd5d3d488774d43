"""A database whose transactions are stricter than ours by default."""

from __future__ import annotations

from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.load import UnderFault
from tests.acceptance.faults.log_texts import FAILED
from tests.acceptance.faults.outages import plan_of, require_sound
from tests.acceptance.kill_workers import Driver

LEVELS = ("serializable", "repeatable read")
THREADS = 8
JOBS_A_SECOND = 200


def strict_by_default(bench: Bench) -> str:
    """C15."""
    jobs = bench.pick(200, 2_000, 20_000)
    seen = [_under(bench, level, jobs) for level in LEVELS]
    return "; ".join(seen)


def _under(bench: Bench, level: str, jobs: int) -> str:
    (name,) = bench.sql.run("SELECT current_database()")[0]
    bench.sql.run(
        f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'"
    )
    folder = bench.folder / level.replace(" ", "-")
    folder.mkdir()

    def inject(driver: Driver) -> None:
        assert isinstance(driver, UnderFault)
        driver.store_plainly(jobs // 2, THREADS)

    driver = UnderFault(
        plan_of(bench, jobs // 2),
        bench.url,
        folder,
        inject,
        duration_s=jobs / 2 / JOBS_A_SECOND,
    )
    report = driver.run()
    require_sound(report)
    bench.sql.run("DELETE FROM forge_job")
    failures = driver.fleet.log.read_bytes().count(FAILED.encode())
    assert failures == 0, f"{failures} calls of workers failed"
    assert driver.unclear == 0, f"{driver.unclear} calls of the producer failed"
    return (
        f"{level}: {report.figures['acknowledged']} jobs, 0 lost, 0 extra runs, "
        "no call failed"
    )
