"""Limits: the tokens of each rate limit, and the jobs that hold concurrency keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.parameters import NumberedPage, Parameters
from flask_forge_jobs.handlers.concurrency import HeldKey, held_keys
from flask_forge_jobs.handlers.rate_limits import list_all
from flask_forge_jobs.model.limits import RateLimit
from flask_forge_jobs.model.sentences import count

PAGE_SIZE = 50
_ASKS = ("drain", "delete")


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One rate limit; ``share`` of its tokens is left, in thousandths."""

    limit: RateLimit
    share: int

    @property
    def is_used_up(self) -> bool:
        """Whether no whole token is left."""
        return self.limit.tokens < 1

    @property
    def is_paused(self) -> bool:
        """Whether it gains no token before ``last_refilled_at``."""
        return self.limit.refilled_at_us > self.limit.read_at_us


class LimitList:
    """All limits."""

    def __init__(self, api: Api, parameters: Parameters) -> None:
        self._api = api
        self.part = parameters.text("q")
        self.number = parameters.number("page", range(1, 1_000), 1)

    @cached_property
    def _all(self) -> tuple[list[RateLimit], int]:
        api = self._api
        return api.snapshots.get("rate limits", lambda: list_all(api.storage))

    @cached_property
    def keys(self) -> Sequence[HeldKey]:
        """The concurrency keys that jobs hold or wait for."""
        api = self._api
        return api.snapshots.get("held keys", lambda: held_keys(api.storage))

    @cached_property
    def matching(self) -> Sequence[LimitRow]:
        """The rate limits whose scope has the part that is looked for."""
        part = self.part.casefold()
        limits, _ = self._all
        return [
            LimitRow(each, round(1000 * each.tokens / each.capacity))
            for each in limits
            if part in each.scope.casefold()
        ]

    @cached_property
    def page(self) -> NumberedPage:
        """Where this page lies among the rate limits that match."""
        return NumberedPage(self.number, PAGE_SIZE, len(self.matching))

    @property
    def rows(self) -> Sequence[LimitRow]:
        """The rate limits on this page."""
        return self.page.of(self.matching)

    def row(self, scope: str) -> LimitRow | None:
        """Return the rate limit of a scope."""
        return next((row for row in self.matching if row.limit.scope == scope), None)

    @property
    def total(self) -> int:
        """How many rate limits there are."""
        return self._all[1]

    @property
    def headline(self) -> str:
        """How many limits there are, and which hold jobs back."""
        if not self.total and not self.keys:
            return "No limit is in use"
        limits, total = self._all
        used_up = sum(each.tokens < 1 for each in limits)
        waiting = sum(key.waiting for key in self.keys)
        parts = [count(total, "rate limit")]
        if used_up:
            parts.append(f"{used_up:,} used up")
        if waiting:
            parts.append(count(waiting, "job waits for a key", "jobs wait for a key"))
        return ", ".join(parts)


def limits(api: Api) -> Mapping[str, object]:
    """Show all limits, and the form of one of them where the address says so."""
    parameters = Parameters(request)
    listed = LimitList(api, parameters)
    asked = listed.row(parameters.text("scope"))
    verb = parameters.one_of("ask", _ASKS)
    return {
        "limits": listed,
        "asked": asked,
        "verb": verb if asked is not None else None,
        "edited": parameters.text("edit"),
        "is_new": parameters.one_of("new", ("1",)) is not None,
        "query": parameters.kept,
    }


ROUTES = (
    page(
        "/limits", limits, blocks=("headline", "buckets", "held"),
        nav="Limits", icon="limits", order=33, key="l",
    ),
)  # fmt: skip
