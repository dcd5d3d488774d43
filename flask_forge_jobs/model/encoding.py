"""Writes JSON as the databases keep it: compact ASCII without NaN."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any


def _made_once() -> Callable[[object, int], Iterable[str]]:
    slow = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    escape: Any = getattr(json.encoder, "c_encode_basestring_ascii", None)
    if make is None or escape is None:
        return lambda value, _: slow.iterencode(value)
    # JSONEncoder makes one of these for each value, which takes half of its time.
    encoder: Callable[[object, int], Iterable[str]] = make(
        None, slow.default, escape, None, ":", ",", False, False, False
    )
    return encoder


pieces_of = _made_once()
"""Returns the JSON text of a value in pieces; takes 0 as its second argument.

A value that refers to itself is a ``RecursionError``.
"""
