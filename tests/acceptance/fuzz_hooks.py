"""What JSON Schema cannot say, made true of the requests that schemathesis generates.

Only requests that are meant to be valid are touched: each rule here is one that a
handler checks between two keys, or a form that JSON Schema does not tell apart. What is
meant to be invalid is sent as it is.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

# Keys whose values are the caller's own; nothing in them has to fit a rule.
_FREE = frozenset({"payload"})
# The second of each pair must not be smaller than the first.
_ORDERED = (
    ("base_seconds", "max_seconds"),
    ("backoff_base_seconds", "backoff_max_seconds"),
    ("from", "to"),
)


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: object
) -> None:
    """Repair a request that is meant to be valid."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    # Assigning makes schemathesis judge the request again, and no body at all as wrong.
    if isinstance(case.body, dict):
        case.body = repaired(case.body)
    if isinstance(case.query, dict):
        _order(case.query)


def repaired(value: Any) -> Any:
    """Return a body that follows the rules between its keys."""
    if isinstance(value, dict):
        document = {
            key: item if key in _FREE else repaired(item) for key, item in value.items()
        }
        _order(document)
        return document
    if isinstance(value, list):
        return [repaired(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        # For JSON Schema 1.0 is an integer; the contract refuses it where one stands.
        return int(value)
    return value


def _order(document: MutableMapping[str, Any]) -> None:
    for low, high in _ORDERED:
        values = document.get(low), document.get(high)
        if None not in values and type(values[0]) is type(values[1]):
            document[low], document[high] = sorted(values)  # type: ignore[type-var]
