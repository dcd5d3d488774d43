"""The current request: its state, and its checked body and query.

The body is parsed here, because Flask's parser accepts ``NaN``, duplicate keys and
UTF-16, and answers errors in HTML. The order of the checks is the reference's: media
type (UnsupportedMediaType), size (RequestEntityTooLarge), syntax and shape
(InvalidInputError with the field ``json`` or the path of the first wrong key).
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any, cast
from uuid import uuid4
from weakref import ref

from flask import Request, request
from marshmallow import Schema
from marshmallow.fields import List
from werkzeug.exceptions import (
    ClientDisconnected,
    HTTPException,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.http import parse_options_header
from werkzeug.wsgi import LimitedStream, get_input_stream

from flask_forge_jobs.api.loading import loaded
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.fields import UNKNOWN_MESSAGE, V1Schema
from flask_forge_jobs.auth.permissions import Permission, Principal
from flask_forge_jobs.config.checks import near_match
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.payloads import MAX_DEPTH, load

if TYPE_CHECKING:
    from flask_forge_jobs.storage.base import Storage

logger = logging.getLogger(__name__)

ID_HEADER = "X-Request-Id"
_ID_VARIABLE = "HTTP_X_REQUEST_ID"
_STATE = "forge_jobs_state"
ID_PATTERN = "[A-Za-z0-9._-]{1,128}"
_ID = re.compile(ID_PATTERN)
# Of a body that is too long, this many times the limit is read and discarded.
DISCARDED_BODIES = 4
DISCARDED_AT_ONCE = 65_536
# Objects and arrays in a body, which take up to 200 bytes of memory each. A payload of
# 1 MiB has room for 174,762 pairs of one-digit numbers.
MAX_CONTAINERS = 200_000
EVENT_STREAM = "text/event-stream"
_JSON_MEDIA_TYPE = re.compile(r"application/(?:[a-z0-9!#$&^_.-]+\+)?json")
NO_KEYS = V1Schema()
# There are fewer routes with a query.
_MAX_SCHEMAS = 256
# Clients send few different ones, and each request asks twice.
_MAX_MEDIA_TYPES = 16
_NO_BYTES = re.compile(r"(?:utf|ucs)[-_]?(?:16|32|2|4)(?:[-_]?[bl]e)?")


@dataclass(slots=True)
class RequestState:
    """One request, from its first look-up to its response.

    It leads to the request itself, because access through Flask's proxies is slow and
    every response needs it dozens of times. The request has the state, so the way back
    is weak: else both, with the body, would wait for the garbage collector.
    """

    find_request: Callable[[], Request | None]
    id: str
    # Unset for a URL without a route.
    route: Route = field(init=False, repr=False)
    is_routed: bool = False
    began: float = field(default_factory=perf_counter)
    # Whether a page has the same address.
    is_varied: bool = False
    # None until the caller is known, and on open routes.
    principal: Principal | None = None
    # Whether a visitor of an open page has a valid token of ours.
    has_token: bool = False
    # Whether the caller has signed in with one.
    has_session: bool = False
    # That of the form tokens of a browser that sent none.
    new_nonce: str | None = None
    # Whether the response may show secrets.
    reveals: bool = False
    # The fields of a sent form, the values of each name; None until it is read.
    form: Mapping[str, Sequence[str]] | None = None
    # The parsed body; None until it is read.
    document: object = None
    # Digests of the old and the new value of an edit.
    edit: dict[str, str] | None = None
    # Whether the audit entry is stored.
    is_noted: bool = False
    has_storage_failed: bool = False
    # The stores that read what a scrape of the metrics shows.
    scraped: Storage | None = None

    @property
    def request(self) -> Request:
        """The request, which has not ended."""
        return cast("Request", self.find_request())

    def may(self, permission: Permission) -> bool:
        """Return whether the caller, who may be unknown, has a permission."""
        return self.principal is not None and self.principal.may(permission)


def present_state() -> RequestState:
    """Return the state of the current request.

    Its id is the client's ``X-Request-Id`` if that matches ``[A-Za-z0-9._-]{1,128}``,
    else a new one; other texts must not get into the log.
    """
    # Kept on the request itself, because every access through Flask's proxies costs six
    # calls.
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    known = asked.__dict__
    state: RequestState | None = known.get(_STATE)
    if state is None:
        # Not from its headers: each that is absent raises and catches an exception.
        offered = asked.environ.get(_ID_VARIABLE, "")
        is_valid = _ID.fullmatch(offered)
        state = RequestState(ref(asked), offered if is_valid else uuid4().hex)
        known[_STATE] = state
    return state


def prefers_page(request: Request) -> bool:
    """Return whether a client prefers a page to JSON, as browsers do.

    So does one that asks for the page as an event stream.
    """
    offered = ["application/json", "text/html", EVENT_STREAM]
    return request.accept_mimetypes.best_match(offered) in offered[1:]


def load_body(
    request: Request, schema: Schema, max_bytes: int, *, is_optional: bool
) -> dict[str, Any]:
    """Return the body of a request, loaded by a schema.

    If it is optional, no body means an empty object.
    """
    if not is_optional:
        check_media_type(request)
    body = read_body(request, max_bytes)
    if is_optional:
        if not body:
            return loaded({}, schema)
        check_media_type(request)
    return loaded(_parsed(body), schema)


def _parsed(body: bytes) -> object:
    try:
        # The request around a payload adds one level to what may be stored.
        document = load(body, max_depth=MAX_DEPTH + 1, max_containers=MAX_CONTAINERS)
    except InvalidInputError as error:
        # The parser names the path of the wrong value; the contract's field is "json".
        path = error.field.removeprefix("json").lstrip(".")
        message = f"{path}: {error.message}" if path else error.message
        raise InvalidInputError("json", message) from error
    present_state().document = document  # for the audit trail
    return document


def load_query(request: Request, schema: Schema) -> dict[str, Any]:
    """Return the query of a request, loaded by a schema.

    Only parameters declared as ``List`` may be repeated. Values are text, so numbers
    are declared as :class:`~flask_forge_jobs.api.schemas.fields.Digits`.
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
            raise InvalidInputError(key, "contains a NUL character")
        if isinstance(fields[key], List):
            document[key] = values
        elif len(values) > 1:
            raise InvalidInputError(key, "is given more than once")
        else:
            document[key] = values[0]
    return loaded(document, schema)


def refuse_unknown_parameters(request: Request, schema: Schema | None) -> None:
    """Refuse parameters that a schema does not know; None knows none.

    Routes without a query of their own would pass over a condition in it.
    """
    if not request.query_string:
        return
    fields = {} if schema is None else schema.fields
    known = [field.data_key or name for name, field in fields.items()]
    for key in request.args:
        if key not in known:
            raise InvalidInputError(key, UNKNOWN_MESSAGE + near_match(key, known))


@lru_cache(_MAX_SCHEMAS)
def _defaults(schema: Schema) -> Mapping[str, Any]:
    """Return the result of loading an empty query; most reads have no query."""
    return loaded({}, schema)


def refuse_bad_unread_body(request: Request, max_bytes: int) -> None:
    """Check the body of a route that takes none.

    Only an object with keys is an error, because the client means them to count; the
    reference's route does not read the body.
    """
    body = read_body(request, max_bytes)
    if not body:
        return
    check_media_type(request)
    try:
        document = load(body, max_containers=MAX_CONTAINERS)
    except InvalidInputError:
        return
    if isinstance(document, dict):
        loaded(document, NO_KEYS)


def check_media_type(request: Request) -> None:
    """Check that the body is declared as uncompressed JSON.

    JSON is UTF-8 whatever ``charset`` says, so only a UTF-16 or UTF-32 charset is
    refused here; the parser refuses other bytes.
    """
    environ = request.environ
    if not _is_json(environ.get("CONTENT_TYPE", "")):
        raise UnsupportedMediaType("expected Content-Type: application/json in UTF-8")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise UnsupportedMediaType("a compressed body is not accepted")


@lru_cache(_MAX_MEDIA_TYPES)
def _is_json(content_type: str) -> bool:
    media_type, parameters = parse_options_header(content_type)
    charset = parameters.get("charset", "utf-8").lower()
    is_json = _JSON_MEDIA_TYPE.fullmatch(media_type.lower())
    return is_json is not None and not _NO_BYTES.fullmatch(charset)


def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body, chunked or not; errors have the field ``body``."""
    # One more than allowed: werkzeug cuts a chunked body at its limit without an error
    # (LimitedStream.readall), so a longer body shows by one extra byte. Before Flask
    # 3.1 the request's max_content_length cannot be set.
    length = request.content_length
    try:
        if "stream" in vars(request):
            # Made without a limit, when a hook of the application asked for a form.
            limited = LimitedStream(request.stream, max_bytes + 1, is_max=True)
            request.stream = cast("IO[bytes]", limited)
        elif length is not None and length <= max_bytes:
            request.stream = io.BytesIO(_read_short(request))
        else:
            request.stream = get_input_stream(
                request.environ, max_content_length=max_bytes + 1
            )
        body = request.get_data()
    except RequestEntityTooLarge:
        _discard(request, length or 0, max_bytes)
        raise
    except HTTPException:
        raise
    except Exception as error:  # each server raises its own for damaged chunks
        logger.info("a body could not be read: %r", error)
        raise InvalidInputError("body", "could not be read completely") from error
    if len(body) > max_bytes:
        max_discarded = DISCARDED_BODIES * max_bytes
        left = max_discarded if length is None else length - len(body)
        _discard(request, left, max_bytes)
        raise RequestEntityTooLarge
    # If the client disconnects, gunicorn returns the part that arrived.
    if len(body) < (length or 0):
        raise InvalidInputError("body", "is shorter than its Content-Length")
    return body


def _read_short(request: Request) -> bytes:
    """Read a body in one call; Werkzeug's stream takes several, and copies it."""
    source, length = request.environ["wsgi.input"], request.content_length or 0
    body: bytes = source.read(length)
    while len(body) < length and (more := source.read(length - len(body))):
        body += more
    if len(body) < length and "wsgi.input_terminated" not in request.environ:
        raise ClientDisconnected  # as Werkzeug's stream does
    return body


def _discard(request: Request, size: int, max_bytes: int) -> None:
    """Read on for a while; else the client sees a cut connection, not a response."""
    stream = request.environ["wsgi.input"]
    left = min(size, DISCARDED_BODIES * max_bytes)
    with contextlib.suppress(Exception):  # see read_body
        while left > 0 and (chunk := stream.read(min(left, DISCARDED_AT_ONCE))):
            left -= len(chunk)
