"""The jobs that an action left alone, in the address of the page that lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from flask_forge_jobs.model.bulk import SkipReason

PATH = "skipped"
MAX_IDS = 50
WHY_SKIPPED: Mapping[str, str] = {
    SkipReason.NOT_FOUND: "no longer there",
    SkipReason.WRONG_STATUS: "in another state by now",
    SkipReason.DEDUPE_CONFLICT: "another job holds their dedupe key",
}
_MORE = "more"
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def skips_path(skipped: Sequence[Mapping[str, str]], total: int) -> str | None:
    """Return the address of the page below the mount point; None without any.

    Args:
        skipped: ``id`` and ``reason`` of each, as the API answers.
        total: How many were skipped in all.
    """
    by_reason: dict[str, list[str]] = {}
    for each in skipped[:MAX_IDS]:
        by_reason.setdefault(each["reason"], []).append(each["id"])
    if not by_reason:
        return None
    query = {reason: ".".join(ids) for reason, ids in by_reason.items()}
    if total > MAX_IDS:
        query[_MORE] = str(total - MAX_IDS)
    return f"{PATH}?{urlencode(query)}"


def skips_in(query: Mapping[str, str]) -> tuple[Sequence[tuple[str, list[str]]], int]:
    """Return the ids by reason in words, and how many more there are."""
    groups = []
    for reason, words in WHY_SKIPPED.items():
        ids = query.get(reason, "").split(".", MAX_IDS)[:MAX_IDS]
        if known := [each for each in ids if _ID.fullmatch(each)]:
            groups.append((words, known))
    more = query.get(_MORE, "")
    return groups, int(more) if _NUMBER.fullmatch(more) else 0
