"""All mutants: they are data, in the TOML files of this folder, one an area.

A table is one mutant: its header says what it breaks, and the file below the package.
``old`` is the text that stands there, ``new`` takes its place (nothing if it is left
out), and ``tests`` are the nearest ones (the file's own if they are left out).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tests.mutants.mutant import Mutant


def load(path: Path) -> Iterator[Mutant]:
    """Yield the mutants of one file.

    Raises:
        ValueError: A table is no mutant; the message names both.
    """
    for name, places in tomllib.loads(path.read_text("utf-8")).items():
        try:
            ((file, edit),) = places.items()
            tests = tuple(edit.pop("tests", [_own_tests(file)]))
            yield Mutant(name, file, edit.pop("old"), edit.pop("new", ""), tests)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}: {name!r} is no mutant: {error}") from error
        if edit:
            raise ValueError(f"{path.name}: {name!r} has unknown keys: {sorted(edit)}")


def _own_tests(file: str) -> str:
    """Return the tests of a module, which have its name."""
    path = PurePosixPath(file)
    return str(path.with_name(f"test_{path.name}"))


MUTANTS: tuple[Mutant, ...] = tuple(
    mutant
    for path in sorted(Path(__file__).parent.glob("*.toml"))
    for mutant in load(path)
)
