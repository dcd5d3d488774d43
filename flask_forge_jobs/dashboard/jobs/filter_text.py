"""The text field of a list: ``queue:mail error:"time out"`` becomes parts of a filter.

Words without a qualifier are a job's id, the name of a known queue or kind, or part of
an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_job_id

_WORD = re.compile(r'(?:([A-Za-z_]+):)?(?:"([^"]*)"|(\S+))')
# Qualifiers and the parameters that they set.
QUALIFIERS: Mapping[str, str] = {
    "queue": "queue",
    "kind": "kind",
    "status": "status",
    "error": "error",
    "payload": "q",
    "cron": "cron",
    "key": "dedupe_key",
    "tries": "min_attempts",
    "ending": "ending",
    "signature": "signature",
    "batch": "batch",
    "waiting": "waiting",
    "last": "last",
    "from": "from",
    "to": "to",
}
_OTHER_NAMES = {"q": "q", "dedupe_key": "dedupe_key", "min_attempts": "min_attempts"}


def job_id_in(text: str) -> str | None:
    """Return the id of a job if the text is nothing else."""
    try:
        return check_job_id(text.strip().upper())
    except InvalidInputError:
        return None


def parameters_of(
    text: str, *, queues: Collection[str] = (), kinds: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Return the parameters that a text means, in its order.

    ``queues`` and ``kinds`` are the known names.
    """
    parameters: list[tuple[str, str]] = []
    loose: list[str] = []
    for match in _WORD.finditer(text):
        qualifier, quoted, plain = match.groups()
        value = plain if quoted is None else quoted
        name = _name(qualifier)
        if name is not None:
            parameters.append((name, value))
        elif qualifier is not None:
            loose.append(match[0])
        elif value in queues:
            parameters.append(("queue", value))
        elif value in kinds:
            parameters.append(("kind", value))
        else:
            loose.append(value)
    if loose:
        parameters.append(("error", " ".join(loose)))
    return parameters


def _name(qualifier: str | None) -> str | None:
    if qualifier is None:
        return None
    word = qualifier.lower()
    return QUALIFIERS.get(word) or _OTHER_NAMES.get(word)
