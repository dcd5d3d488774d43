"""A plugin of pytest that makes sure that a copy tests itself.

Nothing would be said of a mutant by tests that have imported the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

COPY_VARIABLE = "FORGE_JOBS_MUTANTS_COPY"


def pytest_configure() -> None:
    """Refuse to begin with another package than that of the copy."""
    import flask_forge_jobs

    used, copy = Path(flask_forge_jobs.__file__), Path(os.environ[COPY_VARIABLE])
    if not used.resolve().is_relative_to(copy.resolve()):
        raise pytest.UsageError(f"{used} is not the package of {copy}")
