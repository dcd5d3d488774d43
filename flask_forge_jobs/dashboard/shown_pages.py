"""The page that shows what a sentence is about, for those without another button."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

from flask_forge_jobs.model.sentences import Action, Sentence

# Pages of the routes that actions refer to; a name behind one is a page of its own.
_OF_ROUTES: Mapping[str, str] = {
    "/v1/batches": "batches",
    "/v1/cron": "cron",
    "/v1/errors": "errors",
    "/v1/jobs": "jobs",
    "/v1/queue/workers": "workers",
    "/v1/queues": "queues",
    "/v1/rate-limits": "limits",
    "/v1/storage/info": "system",
    "/v1/workers": "workers",
}
# By what the evidence names, the most special first.
_OF_EVIDENCE: Mapping[str, tuple[str, str]] = {
    "batch": ("batches", "Show batch"),
    "schedule": ("cron", "Show schedule"),
    "queue": ("queues", "Show queue"),
    "queues": ("workers", "Show workers"),
    "stored": ("system", "Show database"),
    "hazards": ("system", "Show database"),
}
_LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class ShownPage:
    """A link: its label, and the path below the mount point with its query."""

    label: str
    parts: Sequence[str]
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The address of its list."""
        return f"/{self.parts[0]}"


def page_of(action: Action) -> ShownPage | None:
    """Return the page for an action that only shows something, or None."""
    if action.method != "GET":
        return None
    path, _, query = action.path.partition("?")
    if path in _OF_ROUTES:
        return ShownPage(action.label, (_OF_ROUTES[path],), parse_qs(query))
    route, _, name = path.rpartition("/")
    page, name = _OF_ROUTES.get(route), unquote(name)
    if page is None:
        return None
    if page == _LIMITS:  # a limit has no page of its own
        return ShownPage(action.label, (page,), {"q": [name]})
    return ShownPage(action.label, (page, name))


def page_about(sentence: Sentence) -> ShownPage | None:
    """Return the page that shows the subject of a sentence, or None."""
    shown = None if sentence.action is None else page_of(sentence.action)
    if shown is not None:
        return shown
    for key, (page, label) in _OF_EVIDENCE.items():
        name = sentence.evidence.get(key)
        if isinstance(name, str):
            return ShownPage(label, (page, name))
        if name is not None:
            return ShownPage(label, (page,))
    return None
