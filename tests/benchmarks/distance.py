"""``python -m tests.benchmarks.distance``: draining a PostgreSQL server far away.

Drains waiting jobs in turns: directly, and through a line that delays each piece of
data by half of the round trip either way, without limiting the rate. It prints the
rates of each pair and the median of their ratios, and asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading
from collections.abc import Iterator
from statistics import median
from urllib.parse import quote

import click

from flask_forge_jobs.config.database import DatabaseSettings
from tests.benchmarks.contender import OURS
from tests.benchmarks.runner import _run
from tests.support.postgres import fresh_database, running_server

_CHUNK = 262_144
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Line:
    """Listens on a free port of loopback and passes everything on, later.

    ``delay_s`` is how much later, either way.
    """

    def __init__(self, settings: DatabaseSettings, delay_s: float) -> None:
        self._settings = settings
        self._delay_s = delay_s
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, "127.0.0.1", 0)
        )
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the database through the line."""
        port = self._server.sockets[0].getsockname()[1]
        known = self._settings
        user = quote(known.username or "", safe="")
        if known.password:
            user += f":{quote(known.password, safe='')}"
        return f"postgresql://{user}@127.0.0.1:{port}/{known.database}?sslmode=disable"

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        far_reader, far_writer = await self._connect()
        await asyncio.gather(
            self._pass_on(reader, far_writer), self._pass_on(far_reader, writer)
        )

    async def _connect(self) -> Streams:
        host, port = self._settings.host or "localhost", self._settings.port
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        writing = asyncio.create_task(self._write(pieces, writer))
        while data := await reader.read(_CHUNK):
            pieces.put_nowait((self._loop.time() + self._delay_s, data))
        pieces.put_nowait((self._loop.time() + self._delay_s, b""))
        await writing

    async def _write(
        self, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due_at, data = await pieces.get()
            if (left_s := due_at - self._loop.time()) > 0:
                await asyncio.sleep(left_s)
            if not data:
                writer.close()
                return
            with contextlib.suppress(ConnectionError):
                writer.write(data)

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@contextlib.contextmanager
def line_to(url: str, delay_s: float) -> Iterator[str]:
    """Yield the address of a database through a line."""
    line = Line(DatabaseSettings.from_url(url), delay_s)
    try:
        yield line.url
    finally:
        line.close()


def drain(server_url: str, jobs: int, round_trip_s: float) -> float:
    """Return how many jobs a second a worker ends in a new database."""
    with fresh_database(server_url) as url, contextlib.ExitStack() as stack:
        _run("fill", OURS, "postgres", url, "--jobs", jobs)
        reached = url
        if round_trip_s:
            reached = stack.enter_context(line_to(url, round_trip_s / 2))
        return float(_run("drain", OURS, "postgres", reached, "--jobs", jobs)["rate"])


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.distance", description=__doc__
    )
    parser.add_argument("--jobs", type=int, default=20_000, help="default: 20000")
    parser.add_argument("--pairs", type=int, default=5, help="default: 5")
    parser.add_argument("--round-trip-ms", type=float, default=1.0, help="default: 1.0")
    options = parser.parse_args()
    far_s = options.round_trip_ms / 1000
    ratios = []
    with running_server() as server_url:
        for number in range(options.pairs):
            order = (0.0, far_s) if number % 2 == 0 else (far_s, 0.0)
            rates = {each: drain(server_url, options.jobs, each) for each in order}
            ratios.append(rates[far_s] / rates[0.0])
            click.echo(f"near {rates[0.0]:,.0f}/s, far {rates[far_s]:,.0f}/s")
    click.echo(
        f"far / near, median of {len(ratios)} pairs: {median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
