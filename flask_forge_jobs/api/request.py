"""A request's body and query, checked and loaded.

The bytes are read and parsed by us: Flask's own parser takes ``NaN``, duplicate keys
and UTF-16, and answers what it refuses in HTML. The order of the checks is media type,
size, syntax, shape, as in the reference.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from flask import Request
from marshmallow import Schema, ValidationError
from marshmallow.fields import List
from werkzeug.exceptions import (
    HTTPException,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.wsgi import get_input_stream

from flask_forge_jobs.api.request_state import present_state
from flask_forge_jobs.api.schemas.fields import V1Schema
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.payloads import MAX_DEPTH, load

logger = logging.getLogger(__name__)

DEFAULT_MAX_BODY_BYTES = 2_097_152
# A body that is too long is read on to this many times the limit, and thrown away.
DISCARDED_BODIES = 4
DISCARDED_AT_ONCE = 65_536
_JSON_MEDIA_TYPE = re.compile(r"application/(?:[a-z0-9!#$&^_.-]+\+)?json")
_NO_KEYS = V1Schema()
# More than there are routes with a query.
_MOST_SCHEMAS = 256
_NO_BYTES = re.compile(r"(?:utf|ucs)[-_]?(?:16|32|2|4)(?:[-_]?[bl]e)?")


def load_body(request: Request, schema: Schema, max_bytes: int) -> dict[str, Any]:
    """Return the body of a request, loaded by a schema.

    Args:
        request: What came in; its body is read here.
        schema: The expected shape.
        max_bytes: Longest accepted body.

    Raises:
        UnsupportedMediaType: The body is not declared as JSON in UTF-8.
        RequestEntityTooLarge: The body is longer than ``max_bytes``.
        InvalidInputError: Bad syntax (field ``json``) or the wrong shape (field is the
            path of the first key at fault, in order of declaration).
    """
    check_media_type(request)
    return _loaded(_parsed(read_body(request, max_bytes)), schema)


def load_optional_body(
    request: Request, schema: Schema, max_bytes: int
) -> dict[str, Any]:
    """Return the body of a request like :func:`load_body`; none is an empty object."""
    body = read_body(request, max_bytes)
    if not body:
        return _loaded({}, schema)
    check_media_type(request)
    return _loaded(_parsed(body), schema)


def _loaded(document: object, schema: Schema) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", schema.load(cast("Mapping[str, Any]", document)))
    except ValidationError as error:
        raise first_fault(error, schema) from error


def _parsed(body: bytes) -> object:
    try:
        # The document around a payload is a level of its own; what may be stored is
        # the same as in Python.
        document = load(body, max_depth=MAX_DEPTH + 1)
    except InvalidInputError as error:
        # The gate names the path of a value at fault; the contract's field is "json".
        path = error.field.removeprefix("json").lstrip(".")
        message = f"{path}: {error.message}" if path else error.message
        raise InvalidInputError("json", message) from error
    present_state().document = document  # for the audit trail
    return document


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
    return _loaded(document, schema)


@lru_cache(_MOST_SCHEMAS)
def _defaults(schema: Schema) -> Mapping[str, Any]:
    """Return what no query at all loads to; most reads are like that."""
    return _loaded({}, schema)


def refuse_bad_unread_body(request: Request, max_bytes: int) -> None:
    """Check a body that has nothing to say to the route.

    No body at all is fine, as is whatever holds no key: the reference's route does not
    read it.

    Raises:
        UnsupportedMediaType: There is a body that is not declared as JSON.
        RequestEntityTooLarge: The body is longer than ``max_bytes``.
        InvalidInputError: It is an object with a key, which somebody means to count.
    """
    body = read_body(request, max_bytes)
    if not body:
        return
    check_media_type(request)
    try:
        document = load(body)
    except InvalidInputError:
        return
    if isinstance(document, dict):
        _loaded(document, _NO_KEYS)


def check_media_type(request: Request) -> None:
    """Let JSON pass, not compressed.

    JSON is UTF-8 whatever ``charset`` says, and what is not UTF-8 is a fault of the
    body. One whose characters are no single bytes is taken at its word.

    Raises:
        UnsupportedMediaType: Anything else.
    """
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    is_json = _JSON_MEDIA_TYPE.fullmatch(request.mimetype)
    if not is_json or _NO_BYTES.fullmatch(charset):
        raise UnsupportedMediaType("expected Content-Type: application/json in UTF-8")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("a compressed body is not accepted")


def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body as bytes, chunked or not.

    Raises:
        RequestEntityTooLarge: It is longer than ``max_bytes``.
        InvalidInputError: It ended early or its chunks are damaged; field ``body``.
    """
    # One more than allowed: a chunked body is cut at the framework's limit without an
    # error (werkzeug's LimitedStream.readall), so one byte too many has to arrive.
    # Its max_content_length cannot be set before Flask 3.1.
    try:
        if "stream" not in vars(request):
            request.stream = get_input_stream(
                request.environ, max_content_length=max_bytes + 1
            )
        body = request.get_data()
    except RequestEntityTooLarge:
        _discard(request, request.content_length or 0, max_bytes)
        raise
    except HTTPException:
        raise
    except Exception as error:  # each server has its own for damaged chunks
        logger.info("a body could not be read: %r", error)
        raise InvalidInputError("body", "cannot be read to its end") from error
    if len(body) > max_bytes:
        if request.content_length is None:
            _discard(request, DISCARDED_BODIES * max_bytes, max_bytes)
        raise RequestEntityTooLarge
    # gunicorn hands over what came before the client went away as if it were all.
    if len(body) < (request.content_length or 0):
        raise InvalidInputError("body", "is shorter than its Content-Length")
    return body


def _discard(request: Request, size: int, max_bytes: int) -> None:
    """Read on, for a while: who still sends would see a cut connection, no answer."""
    stream = request.environ["wsgi.input"]
    left = min(size, DISCARDED_BODIES * max_bytes)
    with contextlib.suppress(Exception):  # as in read_body
        while left > 0 and (chunk := stream.read(min(left, DISCARDED_AT_ONCE))):
            left -= len(chunk)


def first_fault(error: ValidationError, schema: Schema) -> InvalidInputError:
    """Return the first of marshmallow's complaints, in order of declaration."""
    messages = error.messages
    if not isinstance(messages, dict):
        return _fault("body", messages)
    order = [field.data_key or name for name, field in schema.fields.items()]
    # Unknown keys come after the known ones; a complaint about the whole comes last.
    for key in (*order, *(key for key in messages if key != "_schema")):
        if key in messages:
            return _fault(str(key), messages[key])
    return _fault("body", messages)


def _fault(path: str, messages: object) -> InvalidInputError:
    while isinstance(messages, dict):
        key, messages = next(iter(messages.items()))
        if isinstance(key, int):
            path = f"{path}[{key}]"
        elif key != "_schema":
            path = f"{path}.{key}"
    first = messages[0] if isinstance(messages, list) and messages else messages
    return InvalidInputError(path, str(first))
