"""For an application that shares its SQLite file with the jobs.

The SQLite of most Pythons has a bug that can damage a file when two connections write
and checkpoint at the same moment. The package keeps its own connections apart; pass
:func:`disable_autocheckpoint` to your own. This module does not import SQLAlchemy.
"""

from __future__ import annotations

from flask_forge_jobs.storage.sqlite.shared_file import disable_autocheckpoint

__all__ = ["disable_autocheckpoint"]
