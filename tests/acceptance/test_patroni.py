"""What the driver in ``patroni`` makes of figures, and what it needs."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.checker import SECOND_NS
from tests.acceptance.patroni import packages, settings
from tests.acceptance.patroni.__main__ import chosen
from tests.acceptance.patroni.events import EVENTS
from tests.acceptance.patroni.outcome import Outcome, table
from tests.acceptance.patroni.watching import READY, Call, WayWatch

GOOD = Outcome(
    "the primary is killed", "hosts", jobs=500, orders=60, promoted_s=20.4, way_s=20.6,
    first_s=0.5, longest_s=3.1, health_s=0.4, ready_s=2.2,
)  # fmt: skip


def call(began_s: float, took_s: float = 0.1, *, is_good: bool = True) -> Call:
    began_ns = int(began_s * SECOND_NS)
    return Call(began_ns, began_ns + int(took_s * SECOND_NS), is_good)


def watch(*writes: Call) -> WayWatch:
    found = WayWatch("postgresql://nowhere", 0)
    found.writes += writes
    return found


@pytest.mark.parametrize(
    ("change", "miss"),
    [
        ({"lost": 1}, "1 lost"),
        ({"stuck": 2}, "2 stuck"),
        ({"twice": 3}, "3 twice"),
        ({"untrue": 1}, "1 stored after a refusal"),
        ({"halves": 1}, "1 halves of an order"),
        ({"ended": 1}, "1 processes ended"),
        ({"first_s": 3.1}, "first job after 3.1 s"),
        ({"longest_s": 14.1}, "a call took 14.1 s"),
        ({"health_s": 1.1}, "/health took 1.1 s"),
        ({"ready_s": math.inf}, "readiness took inf s"),
        ({"lies": 5}, '2 times "ready" without writes'),
        ({"complaints": ["the password is in api.log"]}, "the password is in api.log"),
    ],
)
def test_whatever_does_not_hold_is_missed(change: dict[str, object], miss: str) -> None:
    outcome = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]  # by name

    assert GOOD.misses() == []
    assert outcome.misses() == [miss]
    assert "MISSED" in table([outcome])
    assert "MISSED" not in table([GOOD])


def test_a_first_host_that_hangs_costs_its_time_out() -> None:
    late = dataclasses.replace(GOOD, first_s=4.9)
    frozen = dataclasses.replace(late, event="the primary freezes for 35 s")

    assert late.misses()
    assert not frozen.misses()


def test_a_way_is_back_when_writes_go_through_for_good() -> None:
    seen = watch(
        call(0), call(2, is_good=False), call(3), call(4, 5.5), call(5), call(6)
    )

    assert seen.back_ns(SECOND_NS) == call(5).ended_ns
    assert watch(call(0), call(2)).back_ns(SECOND_NS) is None
    assert seen.is_back(SECOND_NS) is False
    assert watch(*(call(at) for at in range(2, 6))).is_back(SECOND_NS)


def test_readiness_lies_while_no_write_goes_through() -> None:
    seen = watch(call(1), call(5, is_good=False), call(6, 20.0))
    seen.answers = {READY: [call(1), call(5.2), call(5.4, is_good=False), call(6.2)]}

    assert seen.lies([]) == [call(5.2), call(6.2)]
    assert seen.lies([call(6.3)]) == [call(5.2)]


def test_the_longest_answer_is_one_after_the_event() -> None:
    seen = watch()
    seen.answers = {READY: [call(1, 9.0), call(11, 0.5), call(12, 0.2)]}

    assert seen.longest_s(READY, 11 * SECOND_NS) == 0.5
    assert seen.longest_s(READY, 20 * SECOND_NS) == math.inf


def test_events_are_chosen_by_parts_of_their_names() -> None:
    assert chosen("") == list(EVENTS)
    assert [event.name for event in chosen("etcd,switch")] == [
        "a switchover", "no etcd for 20 s",
    ]  # fmt: skip
    assert len({event.name for event in EVENTS}) == len(EVENTS)


def test_everything_listens_on_loopback() -> None:
    servers = dict(zip(settings.NODES, (5, 6, 7), strict=True))
    checks = dict(zip(settings.NODES, (8, 9, 10), strict=True))
    ports = settings.Ports(1, 2, 3, 4, servers, checks)

    node = json.loads(settings.patroni("n1", ports, Path("/x"), Path("/y")))
    texts = settings.haproxy(ports), settings.pgbouncer(ports, Path("/z"))

    assert node["postgresql"]["listen"] == "127.0.0.1:5"
    assert node["restapi"]["listen"] == "127.0.0.1:8"
    assert "bind 127.0.0.1:3\n" in texts[0]
    assert "listen_addr = 127.0.0.1\nlisten_port = 4\n" in texts[1]


def test_missing_packages_are_told_with_the_way_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "_SBIN", os.devnull)
    monkeypatch.setenv("PATH", os.devnull)

    with pytest.raises(packages.MissingError, match=r"needs patroni.* python3-etcd"):
        packages.require_all()
    monkeypatch.setattr(packages, "_SERVERS", tmp_path)
    with pytest.raises(packages.MissingError, match="needs postgres,"):
        packages.server_programs()


def test_the_command_says_what_it_does() -> None:
    """It imports, wherever the packages are missing."""
    command = [sys.executable, "-m", "tests.acceptance.patroni", "--help"]

    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "needs Debian's" in told
