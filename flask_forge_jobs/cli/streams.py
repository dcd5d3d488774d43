"""The standard streams of a command, which the caller may have closed."""

from __future__ import annotations

from typing import TextIO


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal; one that is closed, None, is not."""
    return stream is not None and stream.isatty()
