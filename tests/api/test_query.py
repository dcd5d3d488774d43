"""The query of a request, loaded by a schema."""

from __future__ import annotations

import pytest
from flask import Request
from marshmallow import Schema
from marshmallow.fields import List
from werkzeug.test import EnvironBuilder

from flask_forge_jobs.api.request import load_query
from flask_forge_jobs.api.schemas.fields import Digits, Text, V1Schema, WireSchema
from flask_forge_jobs.errors import InvalidInputError


class Strict(V1Schema):
    limit = Digits(required=True)
    kinds = List(Text(), data_key="kind", load_default=())


class Lenient(WireSchema):
    limit = Digits(load_default=7)


def _load(query: str, schema: Schema) -> dict[str, object]:
    return load_query(Request(EnvironBuilder(query_string=query).get_environ()), schema)


def test_a_list_takes_every_value_and_anything_else_takes_one() -> None:
    assert _load("limit=5&kind=a&kind=b", Strict()) == {"limit": 5, "kinds": ["a", "b"]}


def test_absent_parameters_take_their_defaults() -> None:
    assert _load("", Lenient()) == {"limit": 7}
    assert _load("limit=1", Strict()) == {"limit": 1, "kinds": ()}


def test_only_v1_refuses_an_unknown_parameter() -> None:
    assert _load("lmit=5", Lenient()) == {"limit": 7}
    with pytest.raises(InvalidInputError, match="not a known key") as caught:
        _load("limit=5&lmit=5", Strict())
    assert caught.value.field == "lmit"


def test_an_unknown_parameter_may_be_repeated_where_it_is_ignored() -> None:
    assert _load("lmit=5&limit=3&lmit=%00", Lenient()) == {"limit": 3}
    with pytest.raises(InvalidInputError, match="not a known key") as caught:
        _load("limit=5&lmit=5&lmit=6", Strict())
    assert caught.value.field == "lmit"


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("limit=1&limit=1", "more than once"),
        ("limit=x", "whole number"),
        ("limit=", "whole number"),
        ("", "is required"),
        ("other=1", "is required"),
    ],
)
def test_the_parameter_at_fault_is_named(query: str, complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint) as caught:
        _load(query, Strict())
    assert caught.value.field == "limit"


def test_a_nul_character_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="NUL") as caught:
        _load("limit=5&kind=a%00", Strict())
    assert caught.value.field == "kind"
