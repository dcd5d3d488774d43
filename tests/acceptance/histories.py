"""Random histories of jobs, on both databases side by side and on a model of the rules.

Run it with ``python -m tests.acceptance.histories --examples 200 --steps 50``. It
prints its seed; the exit status is 1 when the three did not agree, and the shortest
history that shows it is printed. Its short form, which runs the same histories each
time, is ``tests/contract/test_state_machine.py``.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback

from flask_forge_jobs.config.database import DatabaseSettings
from tests.contract.test_state_machine import compare_histories
from tests.support.databases import fresh_url

EXAMPLES, STEPS = 200, 50


def main() -> int:
    """Compare histories; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.histories",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="histories")
    parser.add_argument("--steps", type=int, default=STEPS, help="most steps of each")
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    said = f"seed {seed}: {given.examples} histories of up to {given.steps} steps"
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
    began_at = time.monotonic()
    with fresh_url("postgres") as url:
        try:
            compare_histories(
                DatabaseSettings.from_url(url),
                examples=given.examples,
                steps=given.steps,
                seed_=seed,
            )
        except Exception:  # noqa: BLE001  # shown, and told by the exit status
            traceback.print_exc()
            return 1
    sys.stdout.write(f"agreed everywhere, in {time.monotonic() - began_at:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
