from __future__ import annotations

import pytest

from flask_forge_jobs.api.openapi.refusals import (
    COMMON,
    kinds_of,
    responses,
    schemas,
)


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (400, ["validation"]),
        (401, ["unauthorized"]),
        (404, ["not_found"]),
        (409, ["conflict"]),
        (413, ["validation"]),
        (429, ["rate_limited"]),
        (500, ["internal", "storage"]),
        (503, ["unavailable"]),
    ],
)
def test_a_status_has_the_kinds_of_the_table(status: int, kinds: list[str]) -> None:
    assert kinds_of(status) == kinds


def test_only_a_validation_error_names_a_field() -> None:
    for name, schema in schemas().items():
        assert ("field" in schema["required"]) is (name == "ValidationError")


def test_a_rate_limit_has_seconds_and_no_message() -> None:
    assert schemas()["RateLimitedError"]["required"] == ["kind", "retry_after_secs"]


def test_every_common_status_has_a_response() -> None:
    assert list(responses(set(COMMON))) == [str(status) for status in COMMON]
