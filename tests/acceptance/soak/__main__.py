"""The command line of the soak."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.acceptance.driving import add_backend, chosen_backends, numbers_of
from tests.acceptance.soak import __doc__ as about
from tests.acceptance.soak.driver import Plan, Soak
from tests.acceptance.soak.load import Loop
from tests.acceptance.soak.pace import PERIOD_S, Pace
from tests.support.databases import fresh_url
from tests.support.threads import run_together

# What comes after the load: the last jobs, and a stop.
_MORE_S = 900.0


def main() -> int:
    """Soak the backends side by side; return the exit status."""
    parser = argparse.ArgumentParser(description=about)
    add_backend(parser)
    for name, default in numbers_of(Plan).items():
        kind = int if name == "seed" else float
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default)
    given = vars(parser.parse_args())
    backends = chosen_backends(given.pop("backend"))
    if given["seed"] is None:
        given["seed"] = secrets.randbelow(1_000_000)
    plan = Plan(**given)
    pace = Pace(plan.rate, plan.load)

    def soak(backend: str) -> bool:
        folder = Path(tempfile.mkdtemp(prefix=f"soak-{backend}-"))
        with fresh_url(backend) as url:
            text, holds = Soak(plan, url, folder, pace).run()
        sys.stdout.write(f"{text}\nlogs: {folder}\n\n")
        sys.stdout.flush()
        return holds

    limit_s = plan.minutes * 60 + _MORE_S
    loop = Loop("pace", PERIOD_S, pace.turn)
    loop.start()
    held = run_together([partial(soak, each) for each in backends], limit_s=limit_s)
    loop.stop()
    for what, times in loop.errors.items():
        sys.stdout.write(f"BROKEN: {what} ({times} x)\n")
    return 0 if all(held) and not loop.errors else 1


if __name__ == "__main__":
    sys.exit(main())
