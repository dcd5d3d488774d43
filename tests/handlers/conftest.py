"""Handlers read and write through the stores, which have tests on both."""

from __future__ import annotations

from tests.support.backends import backend

__all__ = ["backend"]
