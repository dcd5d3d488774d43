"""A request's query, loaded by a schema as a body is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from flask import Request
from marshmallow import Schema, ValidationError
from marshmallow.fields import List

from flask_forge_jobs.api.request import first_fault
from flask_forge_jobs.errors import InvalidInputError

# More than there are routes with a query.
_MOST_SCHEMAS = 256


def load_query(request: Request, schema: Schema) -> dict[str, Any]:
    """Return the query of a request, loaded by a schema.

    A parameter that the schema declares as ``List`` may be repeated, no other that it
    knows may.
    Values are text, so numbers are declared as
    :class:`flask_forge_jobs.api.schemas.fields.Digits`.

    Args:
        request: What came in.
        schema: The expected parameters. Whether an unknown one is refused is the
            schema's to say.

    Raises:
        InvalidInputError: Field is the parameter at fault: it is unknown, repeated,
            missing, holds a NUL character, or its value does not fit.
    """
    if not request.query_string:
        return dict(_defaults(schema))
    fields = {field.data_key or name: field for name, field in schema.fields.items()}
    document: dict[str, object] = {}
    for key, values in request.args.lists():
        if key not in fields:
            document[key] = values[0]
            continue
        if any("\x00" in value for value in values):
            raise InvalidInputError(key, "holds a NUL character")
        if isinstance(fields[key], List):
            document[key] = values
        elif len(values) > 1:
            raise InvalidInputError(key, "is given more than once")
        else:
            document[key] = values[0]
    return _loaded(schema, document)


@lru_cache(_MOST_SCHEMAS)
def _defaults(schema: Schema) -> Mapping[str, Any]:
    """Return what no query at all loads to; most reads are like that."""
    return _loaded(schema, {})


def _loaded(schema: Schema, document: Mapping[str, object]) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", schema.load(document))
    except ValidationError as error:
        raise first_fault(error, schema) from error
