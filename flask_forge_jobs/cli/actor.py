"""The user of a command, as the audit trail names it."""

from __future__ import annotations

import getpass
import os


def actor() -> str:
    """Return the name of this command's user, such as ``command:ada``."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):  # the user has no name
        name = str(os.getuid())
    return f"command:{name}"
