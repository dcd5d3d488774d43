"""``flask forge-jobs status --watch``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from flask_forge_jobs.cli import screen
from flask_forge_jobs.cli.local_api import LocalApi
from flask_forge_jobs.handlers.queue_rates import QueueRates
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.state import state_of
from tests.cli.console import Console
from tests.support.jobs import enqueue


def lines(console: Console, height: int = 24, width: int = 160) -> list[str]:
    state = state_of(console.app)
    with console.app.app_context():
        api = LocalApi(state, "command:ada")
        return list(screen.screen_lines(state, api, os.terminal_size((width, height))))


def test_needs_queues_and_workers(console: Console) -> None:
    for _ in range(3):
        enqueue(console.storage, queue_name="mail")
    enqueue(console.storage, queue_name="bank")

    head, blank, summary, need, *rest = lines(console)

    assert head.endswith("Z  0 workers, 0 of 0 slots busy  (Ctrl-C ends)")
    assert (blank, rest[0]) == ("", "")
    assert summary
    assert need.startswith("- No worker is running. 4 jobs wait")
    assert rest[1].split() == [
        "QUEUE", "STATE", "PENDING", "RUNNING", "FAILED", "DEAD", "OLDEST", "A",
        "MINUTE", "P95",
    ]  # fmt: skip
    assert [line.split()[0] for line in rest[2:]] == ["mail", "bank"]


def test_the_widest_figures_fit_80_columns(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "payments-of-all-shops"
    enqueue(console.storage, queue_name=name)
    brief = Histogram()
    brief.record_many([0])
    rates = QueueRates([1], per_minute=1234.5, run_times=[brief.encode()])
    monkeypatch.setattr(screen, "queue_rates", lambda *_, **__: {name: rates})

    shown = lines(console, width=80)

    assert any(line.endswith("1,234.5  <0.1ms") for line in shown)
    assert max(len(line) for line in shown) <= 80


def test_many_queues_are_cut_to_the_height(console: Console) -> None:
    for n in range(30):
        console.storage.queues.ensure(f"q{n:02}")

    shown = lines(console, height=20)

    assert len(shown) <= 19
    assert all(len(line) <= 80 for line in lines(console, width=80))
    assert shown[-1].startswith("and ")
    assert shown[-1].endswith(" more queues")


def test_the_longest_runs_of_all_workers() -> None:
    workers = [
        {
            "worker_name": name,
            "worker_id": "W",
            "running": [{"run_ms": ms, "kind": f"k{ms}"} for ms in times],
        }
        for name, times in (("a", [5, 900]), (None, [70]))
    ]

    runs = screen._longest(workers)

    assert [(run["kind"], run["worker"]) for run in runs] == [
        ("k900", "a"), ("k70", "W"), ("k5", "a"),
    ]  # fmt: skip


def test_the_terminal_is_left_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    looks = iter(range(2))

    def pause(_: float) -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt

    def drawn(size: os.terminal_size) -> Iterator[str]:
        yield from (f"line {n}" for n in range(size.lines + 5))

    with pytest.raises(SystemExit) as ended:
        screen.watch(drawn, pause=pause)

    out = capsys.readouterr().out
    assert ended.value.code == 130
    assert out.startswith("\x1b[?1049h")
    assert out.endswith("\x1b[?25h\x1b[?1049l")
    assert out.count("\x1b[H") == 3
    assert out.count("line 0\x1b[K") == 3
    assert "line 23" not in out


def test_a_termination_leaves_the_terminal_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        screen.watch(lambda _: ["line"], pause=lambda _: signal.raise_signal(15))

    assert ended.value.code == 143
    assert capsys.readouterr().out.endswith("\x1b[?25h\x1b[?1049l")
    assert signal.getsignal(signal.SIGTERM) == before


def test_watching_takes_no_other_option(console: Console) -> None:
    refusal = console.refusal("status", "--watch", "--json")

    assert "--watch works without queues and without --json" in refusal
    assert "--watch needs a terminal" in console.refusal("status", "--watch")
