"""Groups errors that differ only in numbers and ids."""

from __future__ import annotations

import re

MAX_SIGNATURE_LENGTH = 200
_UUID = r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
_ULID = r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"
_HEX = r"\b0[xX][0-9a-fA-F]+\b|\b(?=[a-f]*[0-9])[0-9a-f]{12,}\b"
_VARIABLE = re.compile(rf"(?P<id>{_UUID}|{_ULID}|{_HEX})|[0-9]+")
_BLANKS = re.compile(r"\s+")


def signature(text: str) -> str:
    """Return an error's text with ids as ``<id>`` and numbers as ``<n>``.

    Whitespace becomes one blank; at most 200 characters are kept.
    """
    shown = _VARIABLE.sub(lambda match: "<id>" if match["id"] else "<n>", text)
    return _BLANKS.sub(" ", shown).strip()[:MAX_SIGNATURE_LENGTH]
