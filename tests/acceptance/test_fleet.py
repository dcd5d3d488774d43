"""What a fleet writes down of its workers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.acceptance.application import SWEEPS_SUFFIX
from tests.acceptance.checker import SECOND_NS
from tests.acceptance.fleet import Fleet, Worker
from tests.acceptance.ledger import Life


def test_a_worker_watches_from_its_first_sweep_on_and_not_in_between(
    tmp_path: Path,
) -> None:
    sql: Any = None
    fleet = Fleet("sqlite:///unused", tmp_path, sql, threads=1, lease_s=2.0)
    sweeps = [(6, 20), (7, 5), (7, 30), (7, 30.5), (7, 33)]
    lines = [f"{pid} {int(at_s * SECOND_NS)}\n" for pid, at_s in sweeps]
    Path(f"{fleet.ledger}{SWEEPS_SUFFIX}").write_text("".join(lines), "ascii")

    for pid in (7, 8):
        process = cast("Any", SimpleNamespace(pid=pid))
        worker = Worker("w0", process, from_ns=10 * SECOND_NS)
        fleet.note_end(worker, at_ns=34 * SECOND_NS)

    gap = (int(30.5 * SECOND_NS), 33 * SECOND_NS)
    assert fleet.lives == [Life(7, 30 * SECOND_NS, 34 * SECOND_NS, (gap,))]


@pytest.mark.parametrize(
    ("from_s", "watched_s"),
    [(0, 17), (10, 17), (11, 18), (13, 19), (16, 20), (17, None)],
)
def test_gaps_are_no_time_in_which_a_worker_watched(
    from_s: int, watched_s: int | None
) -> None:
    gap = (12 * SECOND_NS, 15 * SECOND_NS)
    life = Life(7, 10 * SECOND_NS, 20 * SECOND_NS, (gap,))

    watched_ns = life.has_watched_ns(from_s * SECOND_NS, 4 * SECOND_NS)

    assert watched_ns == (None if watched_s is None else watched_s * SECOND_NS)
