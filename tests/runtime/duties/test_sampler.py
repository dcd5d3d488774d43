"""What a worker measures of itself, on both backends."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import cast

import psutil
import pytest

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.metrics import DatabaseHealth, SampleSums, Window, window
from flask_forge_jobs.runtime.duties import sampler as sampler_module
from flask_forge_jobs.runtime.duties.sampler import ResourceMeter, Sampler
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.samples import SampleStore
from tests.support.clocks import SECOND_US, START_US, MovingClock

BIG = 8 * 1024 * 1024
HALF_HOUR_US = 1800 * SECOND_US
MOMENT_US = START_US - START_US % HALF_HOUR_US
HOUR = window(from_micros(MOMENT_US), from_micros(MOMENT_US) + timedelta(hours=1), 60)


# -- one process -------------------------------------------------------------------


def test_a_process_measures_itself(tmp_path: Path) -> None:
    meter = ResourceMeter(tmp_path)
    total = 0
    for number in range(2_000_000):
        total += number

    use = meter.use()

    assert 0 < use.cpu_pct <= 100
    assert BIG < use.rss_bytes < 1000 * BIG
    assert 0 < use.disk_used_pct <= 100


def test_a_process_measures_what_psutil_does(tmp_path: Path) -> None:
    meter, process = ResourceMeter(tmp_path), psutil.Process()
    process.cpu_percent()
    before = process.io_counters().write_bytes
    with (tmp_path / "written").open("wb") as file:
        file.write(bytes(BIG))
        file.flush()
        os.fsync(file.fileno())
    sum(range(10_000_000))

    use = meter.use()

    cpu_pct = process.cpu_percent() / (os.cpu_count() or 1)
    written = process.io_counters().write_bytes - before
    assert use.cpu_pct == pytest.approx(cpu_pct, rel=0.5)
    assert use.rss_bytes == pytest.approx(process.memory_info().rss, rel=0.1)
    assert use.disk_write_bytes == pytest.approx(written, rel=0.1)
    percent = psutil.disk_usage(str(tmp_path)).percent
    assert use.disk_used_pct == pytest.approx(percent, abs=1)


def test_a_system_without_proc_tells_the_peak_of_memory_and_no_traffic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_STATM", "_IO"):
        monkeypatch.setattr(sampler_module, name, tmp_path / "gone")

    use = ResourceMeter(tmp_path).use()

    assert use.rss_bytes >= psutil.Process().memory_info().rss * 0.9
    assert (use.disk_read_bytes, use.disk_write_bytes) == (0, 0)


def test_disk_bytes_are_those_since_the_last_call(tmp_path: Path) -> None:
    meter = ResourceMeter(tmp_path)
    meter._disk = (meter._disk[0] - 5, meter._disk[1] - 7)

    first, second = meter.use(), meter.use()

    assert first.disk_read_bytes >= 5
    assert first.disk_write_bytes >= 7
    assert second.disk_read_bytes >= 0


def test_a_volume_that_is_gone_counts_as_empty(tmp_path: Path) -> None:
    assert ResourceMeter(tmp_path / "gone").use().disk_used_pct == 0.0


# -- samples -----------------------------------------------------------------------


def sampler_of(storage: Storage, host: str, clock: MovingClock) -> Sampler:
    return Sampler(
        storage.samples,
        storage.recorder,
        worker_id=host,
        directory=Path.cwd(),
        clock=clock,
    )


def test_each_process_stores_its_own_samples(storage: Storage) -> None:
    clock = MovingClock(MOMENT_US)
    samplers = [sampler_of(storage, host, clock) for host in ("A", "B")]
    for sampler in samplers:
        sampler.tick()
    storage.jobs.enqueue(NewJob("noop"))
    for _ in range(3):
        for sampler in samplers:
            sampler.tick()
        clock.move(60)

    by_minute = storage.samples.within(HOUR, 60)
    by_half_hour = storage.samples.within(Window(MOMENT_US, HALF_HOUR_US, 1), 1800)

    assert list(by_minute) == ["A", "B"]
    assert [each.samples for each in by_minute["A"].values()] == [1, 1, 1]
    assert by_half_hour["A"][0].samples == 3
    sums = by_minute["A"][0]
    assert sums.rss_bytes > BIG
    assert sums.db_size_bytes > 10_000
    assert sums.writes.count >= 1


def test_samples_are_kept_while_the_database_is_away() -> None:
    class Store:
        is_away = True
        rows: dict[tuple[int, int], SampleSums] = {}  # noqa: RUF012  # one test

        def health(self) -> DatabaseHealth:
            return DatabaseHealth()

        def put(self, host: str, samples: dict[tuple[int, int], SampleSums]) -> None:
            assert host == "A"
            if self.is_away:
                raise StorageUnavailableError("away")
            self.rows.update(samples)

    store, clock = Store(), MovingClock(MOMENT_US)
    sampler = Sampler(
        cast("SampleStore", store),
        Recorder(clock),
        worker_id="A",
        directory=Path.cwd(),
        clock=clock,
    )
    sampler.tick()
    for _ in range(3):
        with pytest.raises(StorageUnavailableError):
            sampler.tick()
        clock.move(60)
    store.is_away = False
    sampler.tick()

    assert [level for level, _ in store.rows].count(60) == 4
    assert store.rows[1800, MOMENT_US].samples == 4
    assert len(sampler._held) == 3
