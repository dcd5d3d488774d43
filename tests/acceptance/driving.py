"""The command line that the drivers share: on which backends, with what plan."""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.backends import BACKENDS
from tests.support.databases import fresh_url

# What the short forms among the tests draw from, so that they say the same of the same
# code; a command draws another one each time.
SHORT_SEED = 20_261_126
Number = int | float
# Called with the URL of an empty database, a folder for ledgers and logs, and the
# options by name. Returns a report, and whether everything held that must.
Run = Callable[..., tuple[str, bool]]


def drive(
    name: str, about: str | None, options: Mapping[str, Number | None], run: Run
) -> int:
    """Run a driver from the command line.

    Args:
        name: Of the driver; its folders are named after it.
        about: What ``--help`` says.
        options: Numbers that can be given, with their defaults; a ``seed`` of None is
            drawn, once for all backends, and printed.
        run: The driver.

    Returns:
        The exit status: 1 when something did not hold.
    """
    parser = argparse.ArgumentParser(description=about)
    add_backend(parser)
    for option, default in options.items():
        kind = float if isinstance(default, float) else int
        parser.add_argument(f"--{option.replace('_', '-')}", type=kind, default=default)
    given = vars(parser.parse_args())
    backends = chosen_backends(given.pop("backend"))
    if "seed" in given and given["seed"] is None:
        given["seed"] = secrets.randbelow(1_000_000)
    all_hold = True
    for backend in backends:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-{backend}-"))
        with fresh_url(backend) as url:
            text, holds = run(url, folder, **given)
        seed = f", seed {given['seed']}" if "seed" in given else ""
        sys.stdout.write(f"{backend}{seed}\n{text}\nledger and log: {folder}\n\n")
        sys.stdout.flush()
        all_hold = all_hold and holds
    return 0 if all_hold else 1


def measure_each(word: str, measure: Callable[[str], tuple[str, bool]]) -> int:
    """Measure backends one after the other and print what came out.

    Args:
        word: A backend, or ``both``.
        measure: Returns a report on a backend, and whether all limits are met.

    Returns:
        The exit status: 1 when a limit was missed.
    """
    are_met = True
    for backend in chosen_backends(word):
        text, is_met = measure(backend)
        sys.stdout.write(f"{text}\n\n")
        sys.stdout.flush()
        are_met = are_met and is_met
    return 0 if are_met else 1


def add_best(parser: argparse.ArgumentParser) -> None:
    """Let a command line judge a busy machine more mildly."""
    parser.add_argument(
        "--best",
        action="store_true",
        help="judge by the best of the repeats: other work on the machine only adds",
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Let a command line choose one backend; it is both by default."""
    parser.add_argument("--backend", choices=(*BACKENDS, "both"), default="both")


def chosen_backends(word: str) -> tuple[str, ...]:
    """Return the backends that a command line names: one, or ``both``."""
    return BACKENDS if word == "both" else (word,)


def numbers_of(plan: type[Any]) -> dict[str, Number | None]:
    """Return the fields of a plan and their defaults; a seed has none."""
    numbers: dict[str, Any] = {
        field.name: field.default for field in dataclasses.fields(plan)
    }
    return numbers | {"seed": None} if "seed" in numbers else numbers
