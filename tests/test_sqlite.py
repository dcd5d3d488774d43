from __future__ import annotations

import subprocess
import sys

from flask_forge_jobs import sqlite
from flask_forge_jobs.storage.sqlite import shared_file


def test_it_has_the_event_for_the_applications_connections() -> None:
    assert sqlite.disable_autocheckpoint is shared_file.disable_autocheckpoint


def test_it_does_not_import_sqlalchemy() -> None:
    script = (
        "import sys, flask_forge_jobs.sqlite; sys.exit('sqlalchemy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
