"""Runs rows of the fault table one after the other and prints what was seen."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.faults.fault import Bench, Fault, Scale
from tests.support.databases import fresh_url

_TITLES = ("fault", "backend", "figure", "seen", "seconds", "")
_LONGEST_ERROR = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault on one backend.

    ``error`` is the whole traceback; empty when everything held.
    """

    fault: Fault
    backend: str
    figure: str
    seen: str
    seconds: float
    error: str = ""

    @property
    def verdict(self) -> str:
        """``held`` or ``VIOLATED``."""
        return "VIOLATED" if self.error else "held"


def run_all(
    faults: Iterable[Fault], backends: Sequence[str], scale: Scale, seed: int
) -> Iterator[Outcome]:
    """Run each fault on those of the backends that it names.

    Args:
        faults: The rows.
        backends: The backends that are asked for.
        scale: How much to do.
        seed: Every fault draws from it in its own way, so that one that is run alone
            does the same as within the whole table.
    """
    for fault in faults:
        for backend in backends:
            if backend in fault.backends:
                yield run_one(fault, backend, scale, seed)


def run_one(fault: Fault, backend: str, scale: Scale, seed: int) -> Outcome:
    """Run one fault on a fresh database; what it raises is an outcome too."""
    folder = Path(tempfile.mkdtemp(prefix=f"fault-{fault.name}-{backend}-"))
    source = random.Random(f"{seed}-{fault.name}-{backend}")
    began_at = time.monotonic()
    error = ""
    try:
        with _logging_to(folder / "driver.log"), fresh_url(backend) as url:
            # Without the server, which takes a while to start.
            began_at = time.monotonic()
            seen = fault.run(Bench(backend, url, source, scale, folder))
            took_s = time.monotonic() - began_at
    except Exception as problem:  # noqa: BLE001  # it is the outcome, and is shown
        took_s = time.monotonic() - began_at
        error = f"{traceback.format_exc()}left in {folder}"
        seen = _first_line(problem)
    else:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
    return Outcome(fault, backend, fault.figure_at(scale), seen, took_s, error)


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Keep what the package logs in this process out of the table."""
    logger = logging.getLogger("flask_forge_jobs")
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)
        handler.close()


def _first_line(problem: Exception) -> str:
    lines = str(problem).splitlines() or [""]
    return f"{type(problem).__name__}: {lines[0]}"[:_LONGEST_ERROR]


def text(outcomes: Sequence[Outcome]) -> str:
    """Return the table, and below it the whole of what went wrong."""
    rows = [_TITLES, *(_row(outcome) for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    violated = [outcome for outcome in outcomes if outcome.error]
    lines.append(f"{len(outcomes) - len(violated)} held, {len(violated)} violated")
    lines += [
        f"\n{each.fault.name} on {each.backend}\n{each.error}" for each in violated
    ]
    return "\n".join(lines)


def _row(outcome: Outcome) -> tuple[str, ...]:
    return (
        outcome.fault.name,
        outcome.backend,
        outcome.figure,
        outcome.seen,
        f"{outcome.seconds:.1f}",
        outcome.verdict,
    )


def announce(outcome: Outcome) -> None:
    """Say on standard error that one is done; the table comes at the end."""
    sys.stderr.write(
        f"{outcome.fault.name} on {outcome.backend}: {outcome.verdict} "
        f"({outcome.seconds:.1f} s) {outcome.seen}\n"
    )
    sys.stderr.flush()
