from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator

from flask_forge_jobs.api.openapi.document import (
    COMMON,
    document,
    error_schemas,
    kinds_of,
    refusals_of,
    tag_of,
)
from flask_forge_jobs.api.openapi.headers import is_compared
from flask_forge_jobs.api.table import all_routes


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(all_routes(enable_demo=True))


def operations(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in described["paths"].values():
        yield from operations.values()


def validator(described: dict[str, Any], schema: dict[str, Any]) -> Any:
    return Draft202012Validator(schema | {"components": described["components"]})


def test_the_document_is_valid_openapi(described: dict[str, Any]) -> None:
    from openapi_spec_validator import validate  # each process would load it

    validate(described)


def test_the_same_routes_give_the_same_bytes(described: dict[str, Any]) -> None:
    again = document(all_routes(enable_demo=True))

    assert json.dumps(again) == json.dumps(described)


def test_every_route_is_one_operation(described: dict[str, Any]) -> None:
    named = [operation["operationId"] for operation in operations(described)]

    assert named == list(dict.fromkeys(named))
    assert set(named) == {route.endpoint for route in all_routes(enable_demo=True)}


def test_every_route_says_who_may_and_what_can_go_wrong(
    described: dict[str, Any],
) -> None:
    routes = {route.endpoint: route for route in all_routes(enable_demo=True)}
    for operation in operations(described):
        route = routes[operation["operationId"]]

        assert operation["tags"] == [tag_of(route)]
        assert operation.get("x-permission") == route.permission
        assert (operation.get("security") == []) is (route.permission is None)
        assert operation.get("deprecated", False) is route.is_deprecated
        answered = {str(status) for status in (route.status, *route.other_answers)}
        refused = {str(status) for status in refusals_of(route)}
        unchanged = {"304"} if is_compared(route) else set()
        assert set(operation["responses"]) == answered | unchanged | refused


def test_every_error_is_a_tagged_object_with_its_kind_first(
    described: dict[str, Any],
) -> None:
    named = described["components"]["schemas"]
    for status, response in described["components"]["responses"].items():
        schema = response["content"]["application/json"]["schema"]
        for each in schema.get("oneOf", [schema]):
            error = named[each["$ref"].rpartition("/")[2]]
            assert next(iter(error["properties"])) == "kind"
            assert error["additionalProperties"] is False
        assert ("Retry-After" in response["headers"]) is (
            status in {"409", "429", "503"}
        )


def test_every_example_fits_its_schema(described: dict[str, Any]) -> None:
    for operation in operations(described):
        places = [*operation.get("parameters", ())]
        places += operation.get("requestBody", {}).get("content", {}).values()
        for response in operation["responses"].values():
            places += response.get("content", {}).values()

        assert all("example" in place for place in places), operation["operationId"]
        for place in places:
            checked = validator(described, place["schema"])
            assert list(checked.iter_errors(place["example"])) == []


def test_every_operation_with_a_body_or_parameters_has_types_for_them(
    described: dict[str, Any],
) -> None:
    for operation in operations(described):
        for parameter in operation.get("parameters", ()):
            assert isinstance(parameter["schema"]["type"], str), parameter
    for name, schema in described["components"]["schemas"].items():
        for key, each in schema.get("properties", {}).items():
            known = {"type", "$ref", "anyOf", "const"} & set(each)
            assert known or each == {}, (name, key)


def test_the_demo_route_is_described_where_it_exists() -> None:
    assert "/jobs/enqueue-demo" not in document(all_routes(enable_demo=False))["paths"]


def test_it_takes_no_request_to_describe_the_routes() -> None:
    with Flask("elsewhere").app_context():
        assert document(())["paths"] == {}


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
    for name, schema in error_schemas().items():
        assert ("field" in schema["required"]) is (name == "ValidationError")


def test_a_rate_limit_has_seconds_and_no_message() -> None:
    assert error_schemas()["RateLimitedError"]["required"] == [
        "kind",
        "retry_after_secs",
    ]


def test_every_common_status_has_a_response() -> None:
    responses = document(all_routes(enable_demo=False))["components"]["responses"]

    assert {str(status) for status in COMMON} <= responses.keys()
