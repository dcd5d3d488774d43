"""Outputs that fail."""

from __future__ import annotations

import errno
import io
from typing import NoReturn


class FullDisk(io.StringIO):
    """Where no more fits."""

    def write(self, _: str, /) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")
