"""Makes small mistakes in a copy of the package, and looks whether tests notice.

Run it with ``python -m tests.mutants``: the nearest tests of all mutants without a
mistake, then those of each mutant with it. A mutant whose tests pass has survived. The
exit status is 1 when fewer than 95 of 100 were killed, or when nothing can be said of
one: its place in the code is gone, its tests fail without it, or they do not begin.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.copies import Copy
from tests.mutants.mutant import Mutant
from tests.mutants.runner import LIMIT_S, Result, Runner, Verdict, is_good_enough
from tests.support.postgres import SERVER_VARIABLE, running_server

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the mutants from the command line."""
    options = _options()
    mutants = [each for each in MUTANTS if options.only in f"{each.name} {each.path}"]
    if options.list or not mutants:
        for mutant in mutants:
            _say(f"{mutant.name}  ({mutant.path})")
        _say(f"{len(mutants)} of {len(MUTANTS)} mutants")
        return 0 if mutants else 2
    began_at = time.monotonic()
    results = _run(mutants, options.jobs, options.limit)
    _say(_total(results, time.monotonic() - began_at))
    return 0 if is_good_enough(results) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="mutants with this in their name or in the path of their file",
    )
    parser.add_argument(
        "--jobs",
        type=_positive,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="how many at once; default: one for each core",
    )
    parser.add_argument(
        "--limit",
        type=_positive,
        default=int(LIMIT_S),
        metavar="SECONDS",
        help=f"longest time for one mutant; default: {LIMIT_S:.0f}",
    )
    parser.add_argument("--list", action="store_true", help="name them and end")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def _run(mutants: Sequence[Mutant], jobs: int, limit_s: float) -> list[Result]:
    results = []
    with contextlib.ExitStack() as stack:
        # One server for all; the tests make databases of their own in it.
        url = stack.enter_context(running_server(is_durable=False))
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="forge-mutants-"))
        )
        environ = os.environ | {SERVER_VARIABLE: url}
        copies = [
            Copy(folder / f"copy-{number}", ROOT, environ)
            for number in range(min(jobs, len(mutants)))
        ]
        _say(f"{len(mutants)} mutants, {len(copies)} at a time; first without any")
        for result in Runner(ROOT, copies, limit_s).run(mutants):
            _say(str(result))
            results.append(result)
    return results


def _total(results: Sequence[Result], seconds: float) -> str:
    counts = Counter(result.verdict for result in results)
    killed = sum(result.is_killed for result in results)
    parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
    share = 100 * killed / len(results)
    lines = [f"{killed} of {len(results)} killed ({share:.1f} %) in {seconds:.0f} s"]
    lines.append(parts)
    lines += [
        f"{result.verdict}: {result.mutant.name}"
        for result in results
        if not result.is_killed
    ]
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
