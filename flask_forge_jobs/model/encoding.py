"""Writes compact JSON without NaN: in ASCII as the databases keep it, or in Unicode."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

Pieces = Callable[[object, int], Iterable[str]]


def _made_once(escape_name: str, *, ensure_ascii: bool) -> Pieces:
    slow = json.JSONEncoder(
        ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":")
    )
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    escape: Any = getattr(json.encoder, escape_name, None)
    if make is None or escape is None:
        return lambda value, _: slow.iterencode(value)
    # JSONEncoder makes one of these for each value, which takes half of its time.
    encoder: Pieces = make(
        None, slow.default, escape, None, ":", ",", False, False, False
    )
    return encoder


unicode_pieces_of = _made_once("c_encode_basestring", ensure_ascii=False)
"""The same in Unicode."""
pieces_of = _made_once("c_encode_basestring_ascii", ensure_ascii=True)
"""Returns the JSON text of a value in pieces; takes 0 as its second argument.

A value that refers to itself is a ``RecursionError``.
"""
