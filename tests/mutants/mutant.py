"""A mutant: the package with one small mistake in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "flask_forge_jobs"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake, such as a reviewer overlooks.

    Args:
        name: What it breaks, in a few words; no two mutants share it.
        path: The file, below the package.
        old: Text that stands there exactly once.
        new: What takes its place.
        tests: The nearest tests, as pytest names them, below ``tests``.
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def places(self, root: Path) -> int:
        """Return how often the old text stands in the file of a checkout.

        Args:
            root: The folder that holds the package.
        """
        return (root / PACKAGE / self.path).read_text("utf-8").count(self.old)
