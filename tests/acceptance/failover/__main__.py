"""Takes a PostgreSQL server away under load and gives it back.

It is stopped, killed, frozen, replaced for a while by one that takes no writes, or
waits for a standby that is lost, with a long lease and a short one. Producers in Python
and clients of the API store jobs all the time, and workers run them. No job may be
lost, stuck, run or stored twice, and no process may end; two seconds after the server
everybody is back, and within five jobs start as soon as before.

Run it with ``python -m tests.acceptance.failover``: twelve trials, some 15 minutes. It
prints its seed, a line for each trial and a table; the exit status is 1 when something
did not hold.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.acceptance.failover.outcome import Outcome, table
from tests.acceptance.failover.trial import Trial
from tests.support.outages import (
    Away,
    frozen,
    killed,
    routed_to_a_standby,
    stopped,
    without_its_standby,
)

LEASES_S = (60.0, 20.0)
DOWN_S = 5.0
LOST_S = 20.0


def trials(frozen_s: list[float], only: list[str]) -> Iterator[Trial]:
    """Yield the whole set, or those of the ways that are named."""
    ways: list[tuple[Away, float]] = [
        (stopped, DOWN_S),
        (killed, DOWN_S),
        *((frozen, down_s) for down_s in frozen_s),
        (routed_to_a_standby, DOWN_S),
        (without_its_standby, LOST_S),
    ]
    for lease_s in LEASES_S:
        for away, down_s in ways:
            if not only or away.__name__ in only:
                yield Trial(away, down_s, lease_s)


def seconds(text: str) -> list[float]:
    """Return what ``--frozen-s`` names."""
    return [float(each) for each in text.split(",")]


def main() -> int:
    """Run all trials; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.failover",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--frozen-s", type=seconds, default=[20.0, 60.0])
    parser.add_argument("--only", default="", help="ways, separated by commas")
    given = parser.parse_args()
    seeds = random.Random(given.seed)
    sys.stdout.write(f"seed {given.seed}\n")
    outcomes: list[Outcome] = []
    for trial in trials(given.frozen_s, list(filter(None, given.only.split(",")))):
        folder = Path(tempfile.mkdtemp(prefix="failover-"))
        outcome = trial.run(folder, seeds.randrange(1_000_000))
        missed = "; ".join(outcome.misses())
        sys.stdout.write(
            f"{f'MISSED ({missed})' if missed else 'held'}: {trial.name}, lease "
            f"{trial.lease_s:g} s; the API said {outcome.answers} ({folder})\n"
        )
        sys.stdout.flush()
        outcomes.append(outcome)
    sys.stdout.write(f"{table(outcomes)}\n")
    return 1 if any(each.misses() for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
