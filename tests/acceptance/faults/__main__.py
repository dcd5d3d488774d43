"""Injects the faults of the matrix one by one and prints what held.

Run it with ``python -m tests.acceptance.faults``: every fault on the backends that it
names, as often as tier T1 of the matrix asks. ``--only B1,C3`` runs some of them,
``--full`` runs them as often as the matrix itself says. The exit status is 1 when
something did not hold that must.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.acceptance.driving import add_backend, chosen_backends
from tests.acceptance.faults.fault import Scale
from tests.acceptance.faults.matrix import FAULTS, chosen
from tests.acceptance.faults.table import announce, run_all, text


def main() -> int:
    """Run the table from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="names, separated by commas")
    add_backend(parser)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    try:
        faults = chosen(FAULTS, arguments.only)
    except ValueError as error:
        parser.error(str(error))
    seed = arguments.seed
    if seed is None:
        seed = secrets.randbelow(1_000_000)
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.flush()
    scale = Scale.FULL if arguments.full else Scale.CHANGE
    outcomes = []
    for outcome in run_all(faults, chosen_backends(arguments.backend), scale, seed):
        announce(outcome)
        outcomes.append(outcome)
    sys.stdout.write(f"{text(outcomes)}\n")
    return 1 if any(outcome.error for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
