"""Files that the test's own process has open."""

from __future__ import annotations

import gc
from pathlib import Path


def open_descriptors() -> set[str]:
    """Return the numbers of the open files, without those of garbage.

    Compare with ``<=``: what an earlier test has left may be closed at any moment.
    """
    gc.collect()
    return {each.name for each in Path("/dev/fd").iterdir()}
