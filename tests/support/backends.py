"""Which backends a test runs on."""

from __future__ import annotations

import pytest

BACKENDS = ("sqlite", "postgres")

#: For a test in a folder whose tests run on SQLite unless they say otherwise.
each_backend = pytest.mark.parametrize("backend", BACKENDS, indirect=True)
