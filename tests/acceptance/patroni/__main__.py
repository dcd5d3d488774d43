"""Breaks a real PostgreSQL cluster under load and looks what its users notice.

Patroni with three nodes, etcd, HAProxy and PgBouncer run on loopback, with the settings
that the manual recommends. Ten events befall it, each once: its primary is killed, then
frozen, and so on. Each is seen by three ways at once: through HAProxy, by a URL of
several hosts, and through PgBouncer. For each way workers run jobs, callers store them
in Python, in transactions of their own and through the API, and health and readiness
are asked twice a second. The rows must equal what was said.

Run it with ``python -m tests.acceptance.patroni``: some 15 minutes. It needs Debian's
packages, and says so if they are missing; no service needs to run. It prints its seed,
a line for each event and a table; the exit status is 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.acceptance.patroni.cluster import WAYS, patroni_cluster
from tests.acceptance.patroni.events import EVENTS, Event
from tests.acceptance.patroni.outcome import Outcome, table
from tests.acceptance.patroni.packages import MissingError, require_all
from tests.acceptance.patroni.trial import run


def chosen(words: str) -> Sequence[Event]:
    """Return the events whose names contain one of several words; all without any."""
    wanted = list(filter(None, words.split(",")))
    return [
        event
        for event in EVENTS
        if not wanted or any(word in event.name for word in wanted)
    ]


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run all events; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.patroni",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--only", default="", help="parts of names, with commas")
    parser.add_argument("--ways", default=",".join(WAYS))
    given = parser.parse_args()
    try:
        require_all()
    except MissingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    say(f"seed {given.seed}")
    folder = Path(tempfile.mkdtemp(prefix="patroni-"))
    folder.chmod(0o755)  # the cluster runs as another user
    outcomes = _run_all(folder, chosen(given.only), given.seed, given.ways.split(","))
    say(table(outcomes))
    if any(each.misses() for each in outcomes):
        say(f"logs and ledgers: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _run_all(
    folder: Path, events: Sequence[Event], seed: int, ways: Sequence[str]
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with patroni_cluster(folder / "cluster") as cluster:
        for number, event in enumerate(events):
            say(f"{event.name} ...")
            place = folder / f"{number:02}"
            found = run(cluster, event, place, seed + number, ways)
            for each in found:
                missed = "; ".join(each.misses())
                say(f"  {each.way}: {f'MISSED ({missed})' if missed else 'held'}")
            outcomes += found
    return outcomes


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
