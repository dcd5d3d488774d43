"""Sentences for operators: a fact, its evidence as data, and the action that helps.

A sentence begins with the fact and names the thing; count, time and cause follow. The
reader can check it against its evidence, so no number of the text is missing there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Action:
    """The one request that helps.

    ``path`` begins with ``/v1`` and is below the mount point of the API. ``body`` is
    its JSON; None means none. ``label`` is the text of a button: a verb, then its
    object. With ``if_match``, the quoted tag of what it changes, it changes nothing
    else.
    """

    method: str
    path: str
    label: str
    body: Mapping[str, object] | None = None
    if_match: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence.

    ``code`` identifies it for programs. ``evidence`` holds JSON values, and instants
    as ``datetime``; the code determines its keys. ``action`` is None if there is
    nothing to do.
    """

    code: str
    text: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    action: Action | None = None


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number and its noun: ``1 job``, ``12,000 jobs``.

    ``many`` is the plural; None means ``one`` with an ``s``.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(texts: Sequence[str], word: str = "and") -> str:
    """Return ``x``, ``x and y`` or ``x, y and z``; of no text, this raises."""
    *first, last = texts
    return f"{', '.join(first)} {word} {last}" if first else last
