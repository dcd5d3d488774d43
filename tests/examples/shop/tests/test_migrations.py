from __future__ import annotations

import flask_migrate
from flask import Flask


def test_the_migrations_make_what_the_models_say(app: Flask) -> None:
    """Tables of the jobs in the same file disturb nobody."""
    with app.app_context():
        flask_migrate.check()
        flask_migrate.downgrade(revision="base")
        flask_migrate.upgrade()
