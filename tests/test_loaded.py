"""Objects that are left out of collections, and still looked for."""

from __future__ import annotations

import gc

import pytest
import sqlalchemy

from flask_forge_jobs.loaded import leave_out_of_collections, objects_of


def times(engine: sqlalchemy.Engine) -> int:
    return sum(each is engine for each in objects_of(sqlalchemy.Engine))


@pytest.mark.usefixtures("_what_is_loaded_is_left_out_again")
def test_an_engine_that_is_left_out_is_still_among_all_objects() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    leave_out_of_collections()
    try:
        assert not any(each is engine for each in gc.get_objects())
        assert times(engine) == 1
    finally:
        gc.unfreeze()
        engine.dispose()
    assert times(engine) == 1
