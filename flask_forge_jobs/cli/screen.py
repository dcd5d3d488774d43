"""``flask forge-jobs status --watch``: the present state, drawn again and again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NoReturn

import click

from flask_forge_jobs.cli.local_api import Document, LocalApi
from flask_forge_jobs.cli.log_lines import EXIT_INTERRUPTED
from flask_forge_jobs.cli.queues import COLUMNS
from flask_forge_jobs.cli.tables import WIDTHS, Column, Row, brief, table_lines
from flask_forge_jobs.handlers.queue_rates import NO_RATES, QueueRates, queue_rates
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.sentences import count
from flask_forge_jobs.state import ApplicationState

LOOK_EVERY_S = 2.0
MAX_SENTENCES = 5
MAX_RUNS = 8
_LEAST_QUEUES = 3
# Of a page of 100 workers, those with the longest runs are shown.
_MAX_WORKERS = 100
# Escape sequences of every terminal since the VT100.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _NEXT, _BELOW = "\x1b[H", "\x1b[K\n", "\x1b[J"


_QUEUES = (
    *(each for each in COLUMNS if each.head not in ("SCHEDULED", "SLOTS")),
    Column("A MINUTE", lambda queue: f"{queue['per_minute']:,.1f}", is_number=True),
    Column("P95", "p95", is_number=True),
)
_RUNS = (
    Column("RUNS", lambda run: brief(run["run_ms"] / 1000), is_number=True),
    Column("KIND", "kind", is_elastic=True),
    Column("QUEUE", "queue_name", is_elastic=True),
    Column("WORKER", "worker", is_elastic=True),
    Column("JOB", "job_id"),
)


def watch(
    lines: Callable[[os.terminal_size], Iterable[str]],
    *,
    is_coloured: bool = True,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Draw lines on the terminal until Ctrl-C, which ends with the exit status 130.

    SIGTERM ends it likewise, with 143. ``lines`` takes the size of the terminal.
    """
    out = sys.stdout
    before = signal.signal(signal.SIGTERM, _end)
    try:
        out.write(_ENTER)
        while True:
            size = shutil.get_terminal_size((WIDTHS[1], 24))
            drawn = islice(lines(size), size.lines - 1)
            out.write(_HOME)
            for line in drawn:
                out.write(f"{line if is_coloured else click.unstyle(line)}{_NEXT}")
            out.write(_BELOW)
            out.flush()
            pause(LOOK_EVERY_S)
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
    finally:
        out.write(_LEAVE)
        out.flush()
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def screen_lines(
    state: ApplicationState, api: LocalApi, size: os.terminal_size
) -> Iterator[str]:
    """Yield the lines of one look, fitted to a size: needs, queues, longest runs."""
    attention = api.call("v1_attention").document
    queues = _queues(state, api)
    workers = api.call("v1_workers", query={"limit": _MAX_WORKERS}).document
    now = from_micros(state.clock.now_us())
    yield f"{now:%Y-%m-%d %H:%M:%S}Z  {_workers(workers, attention)}  (Ctrl-C ends)"
    yield ""
    needs = list(_needs(attention, size.columns))
    yield from needs
    runs = _longest(workers["rows"])
    # The first line, two headings and four blank lines.
    left = size.lines - len(needs) - len(runs) - 7
    yield ""
    yield from _cut(queues, max(left, _LEAST_QUEUES))
    if runs:
        yield ""
        yield from table_lines(_RUNS, runs)


def _needs(attention: Document, width: int) -> Iterator[str]:
    yield from textwrap.wrap(one_line(attention["summary"]["text"]), width)
    for sentence in attention["sentences"][:MAX_SENTENCES]:
        text = f"- {one_line(sentence['text'])}"
        yield from textwrap.wrap(text, width, subsequent_indent="  ")


def _cut(queues: Sequence[Row], limit: int) -> Iterator[str]:
    yield from table_lines(_QUEUES, queues[:limit])
    if len(queues) > limit:
        yield f"and {count(len(queues) - limit, 'more queue')}"


def _queues(state: ApplicationState, api: LocalApi) -> list[Row]:
    """Return the queues with their pace, the fullest first."""
    queues = api.call("v1_queues").document
    now = from_micros(state.clock.now_us())
    rates = queue_rates(state.storage, [each["name"] for each in queues], now=now)
    paced = [{**each, **_pace(rates.get(each["name"], NO_RATES))} for each in queues]
    return sorted(paced, key=lambda each: (-each["counts"]["pending"], each["name"]))


def _pace(rates: QueueRates) -> dict[str, object]:
    p95_ms = rates.run_p95_ms
    return {
        "per_minute": rates.per_minute,
        "p95": None if p95_ms is None else brief(p95_ms / 1000),
    }


def _workers(page: Document, attention: Document) -> str:
    counts, evidence = page["counts"], attention["summary"]["evidence"]
    words = [count(counts["live"] + counts["late"], "worker")]
    if "capacity" in evidence:
        words.append(f"{evidence['running']} of {evidence['capacity']} slots busy")
    if counts["lost"]:
        words.append(f"{counts['lost']} lost within the hour")
    return ", ".join(words)


def _longest(workers: Sequence[Document]) -> Sequence[Row]:
    runs = [
        {**run, "worker": worker["worker_name"] or worker["worker_id"]}
        for worker in workers
        for run in worker["running"]
    ]
    return sorted(runs, key=lambda run: -int(run["run_ms"]))[:MAX_RUNS]
