from __future__ import annotations

import flask_migrate
from flask import Flask

from tests.examples.shop.reports import close_day


def test_the_migrations_make_what_the_models_say(app: Flask) -> None:
    """Tables of the jobs in the same file disturb nobody."""
    with app.app_context():
        close_day.enqueue()  # the first job makes them

        flask_migrate.check()
        flask_migrate.downgrade(revision="base")
        flask_migrate.upgrade()
