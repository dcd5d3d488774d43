from __future__ import annotations

from flask_forge_jobs.api.schemas.errors import ErrorsQuerySchema


def test_a_query_without_parameters_is_of_a_month() -> None:
    assert ErrorsQuerySchema().load({}) == {
        "queue_names": (),
        "kinds": (),
        "within": "30d",
        "sort": "-count",
        "limit": 50,
        "cursor": None,
    }
