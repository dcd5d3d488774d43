"""Makes the first page of a process as quick as the others.

Otherwise its visitor waits until the pages are imported and their templates compiled.
"""

from __future__ import annotations

import gc
import threading

from flask import Flask
from jinja2 import TemplateError

from flask_forge_jobs.dashboard.environment import environment
from flask_forge_jobs.dashboard.table import page_routes
from flask_forge_jobs.loaded import leave_out_of_collections

_OURS = "forge_jobs/"


def warm_up(app: Flask) -> None:
    """Import the pages and compile their templates; a wrong one fails when it shows."""
    page_routes()
    with app.app_context():
        templates = environment()
        for name in templates.list_templates():
            if name.startswith(_OURS):
                try:
                    templates.get_template(name)
                except TemplateError:
                    continue


def begin_to_warm_up(app: Flask) -> None:
    """Do so in a thread of its own, while the process answers already."""

    def run() -> None:
        warm_up(app)
        # A collection would walk all templates, which stops a page for 10 ms. Garbage
        # that is left out would stay for good.
        gc.collect()
        leave_out_of_collections()

    threading.Thread(target=run, name="forge-jobs-warm-up", daemon=True).start()
