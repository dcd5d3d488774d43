"""Objects that are left out of collections, and still looked for."""

from __future__ import annotations

import gc

import sqlalchemy

from flask_forge_jobs.loaded import all_objects, leave_out_of_collections


def test_an_engine_that_is_left_out_is_still_among_all_objects() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    leave_out_of_collections()
    try:
        assert not any(each is engine for each in gc.get_objects())
        assert any(each is engine for each in all_objects())
    finally:
        gc.unfreeze()
        engine.dispose()
