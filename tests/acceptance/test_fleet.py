"""What a fleet writes down of its workers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.acceptance.application import STARTS_SUFFIX
from tests.acceptance.fleet import Fleet, Worker
from tests.acceptance.ledger import Life


def test_a_worker_rescues_nothing_before_it_has_started(tmp_path: Path) -> None:
    sql: Any = None
    fleet = Fleet("sqlite:///unused", tmp_path, sql, threads=1, lease_s=2.0)
    starts = "6 20\n7 30\n"
    Path(f"{fleet.ledger}{STARTS_SUFFIX}").write_text(starts, "ascii")

    for pid in (6, 7, 8):
        process = cast("Any", SimpleNamespace(pid=pid))
        fleet.note_end(Worker("w0", process), at_ns=100)

    assert fleet.lives == [Life(6, 20, 100), Life(7, 30, 100)]
