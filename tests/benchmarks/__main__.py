"""``python -m tests.benchmarks``: measure, print the table, assert nothing."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import os
import platform
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import psycopg2

from tests.benchmarks.contender import BARE, CONTENDERS, OURS, UNCOUNTED
from tests.benchmarks.measure import seconds
from tests.benchmarks.report import notes, render
from tests.benchmarks.runner import FIGURES, Plan, measure
from tests.support.postgres import running_server

RATE_HZ = 50.0
_PACKAGES = (OURS, "huey", "procrastinate", "pgqueuer", "asyncpg", "psycopg")
_DURABILITY = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
_SYNC_COUNT = 200


def main() -> None:
    """Read the options, measure every backend and print."""
    options = _options()
    backends = tuple(CONTENDERS) if options.backend == "both" else (options.backend,)
    click.echo(_host())
    with contextlib.ExitStack() as stack:
        server_url = None
        if "postgres" in backends:
            server_url = stack.enter_context(running_server())
            click.echo(_server(server_url))
        plan = Plan(
            jobs=options.jobs,
            repeats=options.repeats,
            seconds=options.seconds,
            rate_hz=RATE_HZ,
            figures=options.only,
            server_url=server_url,
        )
        for backend in backends:
            contenders = (OURS, *_peers(backend, options.peers))
            if options.uncounted:
                contenders = (OURS, UNCOUNTED, *contenders[1:])
            if options.bare:
                contenders = (*contenders, BARE)
            report = measure(backend, contenders, plan, _say)
            click.echo(f"\n{render(report)}")
    click.echo(f"\n{notes()}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__
    )
    parser.add_argument(
        "--backend", choices=[*CONTENDERS, "both"], default="both", help="default: both"
    )
    parser.add_argument(
        "--only",
        type=_figures,
        default=FIGURES,
        metavar="NAMES",
        help=f"some of {','.join(FIGURES)}",
    )
    parser.add_argument(
        "--peers", metavar="NAMES", help="other queues, such as PgQueuer; default: all"
    )
    parser.add_argument(
        "--no-peers", action="store_const", const="", dest="peers", help="none of them"
    )
    parser.add_argument(
        "--uncounted",
        action="store_true",
        help="measure ours without the figures for the charts too",
    )
    parser.add_argument(
        "--bare",
        action="store_true",
        help="measure a table and one thread, without a queue, too",
    )
    parser.add_argument("--jobs", type=_positive, default=10_000, help="default: 10000")
    parser.add_argument("--repeats", type=_positive, default=3, help="default: 3")
    parser.add_argument(
        "--seconds", type=_positive, default=20, help="of each pickup; default: 20"
    )
    return parser.parse_args()


def _peers(backend: str, names: str | None) -> tuple[str, ...]:
    peers = tuple(each for each in CONTENDERS[backend] if each != OURS)
    if names is None:
        return peers
    return tuple(each for each in peers if each in names.split(","))


def _figures(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(FIGURES):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def _host() -> str:
    load, _, _ = os.getloadavg()
    versions = ", ".join(_versions())
    return "\n".join(
        (
            f"{os.cpu_count()} cores, load {load:.1f}",
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
            versions,
            f"4 KiB and fdatasync in {tempfile.gettempdir()}: {_syncs_per_s():,.0f}/s",
        )
    )


def _versions() -> Iterator[str]:
    for package in _PACKAGES:
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{package} not installed"
            continue
        if package == "psycopg":
            # Without its binary wheel it is pure Python, and its peers slower.
            yield f"psycopg in {importlib.import_module('psycopg').pq.__impl__}"


def _syncs_per_s() -> float:
    """Return what a durable commit can reach where the databases are."""
    with tempfile.TemporaryDirectory() as folder:
        descriptor = os.open(Path(folder) / "sync", os.O_CREAT | os.O_WRONLY)

        def write() -> None:
            for _ in range(_SYNC_COUNT):
                os.write(descriptor, bytes(4096))
                os.fdatasync(descriptor)

        try:
            return _SYNC_COUNT / seconds(write)
        finally:
            os.close(descriptor)


def _server(url: str) -> str:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        cursor = connection.cursor()
        shown = []
        for name in _DURABILITY:
            cursor.execute(f"SHOW {name}")
            (value,) = cursor.fetchone() or ("?",)
            shown.append(f"{name}={value}")
    return f"PostgreSQL: {' '.join(shown)}"


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
