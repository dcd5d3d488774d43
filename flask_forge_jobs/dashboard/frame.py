"""The frame around every page: navigation, state of the work, alarms, preferences.

Everything is computed when a template asks for it, so a partial update pays only for
the blocks that it shows. The counts are those of the attention report, which is read
once a second and process for all pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import RequestState
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.callers import Caller, caller_of
from flask_forge_jobs.dashboard.forms import notes
from flask_forge_jobs.dashboard.forms.inputs import Forms
from flask_forge_jobs.dashboard.forms.notes import Note
from flask_forge_jobs.dashboard.nav_counts import CRON, ERRORS, nav_counts
from flask_forge_jobs.dashboard.overview.grouping import grouped
from flask_forge_jobs.dashboard.page_route import PageRoute
from flask_forge_jobs.dashboard.preferences import REFRESH_S, THEMES, preferred
from flask_forge_jobs.dashboard.reads import report_of
from flask_forge_jobs.errors import ForgeJobsError
from flask_forge_jobs.handlers.attention.report import Report
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.sentences import Sentence

# Jobs by state, as the page counts them, or errors, by the path of their page: a moment
# lies between two reads.
Counted = Callable[[], Mapping[str, int]]
# Of the frame itself; every page can be asked for them.
REFRESHED = ("state", "pages", "alarms")
FRAME_BLOCKS = (*REFRESHED, "messages", "ask", "keys")
_READS = frozenset(
    {Permission.READ, Permission.METRICS_READ, Permission.PAYLOAD_REVEAL}
)
# Parameters that belong to one request.
_MOMENTARY = ("only", "ask", "stream", "tag")
# Of the address; a longer one is no person's.
_LONGEST_QUERY = 8_000
# Where the number beside an entry comes from, and how it is shown.
_COUNTS: Mapping[str, tuple[str, str]] = {
    "/scheduled": ("scheduled", ""),
    "/retries": ("failed", "warn"),
    "/dead": ("dead", "bad"),
}
# Word, state, icon, and the page that lists it.
_STATES = (
    ("waiting", JobStatus.PENDING, "pending", "/jobs"),
    ("in progress", JobStatus.IN_PROGRESS, "running", "/jobs"),
    ("retrying", JobStatus.FAILED, "retries", "/retries"),
    ("dead", JobStatus.DEAD, "dead", "/dead"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A page in the navigation; ``path`` is below the mount point."""

    name: str
    path: str
    icon: str
    key: str | None
    is_current: bool
    starts_group: bool
    count: int | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """One fact of the state line, and the list behind it.

    A fact that lasts since an instant is shown with its age.
    """

    word: str
    shown: str
    icon: str
    href: str | None
    since: datetime | None = None


class Frame:
    """The frame of one page.

    ``is_read_only`` says that changes are refused, whatever the caller's role.
    ``paces`` are the choices of ``refresh_s``.
    ``reads`` is False for pages that say that a read failed. ``is_error`` is True for
    pages in place of the one that was asked for, which have nothing to refresh.
    """

    paces = REFRESH_S

    def __init__(self, api: Api, state: RequestState, *, reads: bool) -> None:
        self._api = api
        self._state = state
        self.reads = reads
        self.is_error = False
        self.options = api.options
        self.now = api.now
        self.is_read_only = api.is_read_only
        self.counted: Counted = dict
        self.root = way_to_mount_point(state.request, state.route)
        self.query: Mapping[str, object] = {}
        # Most links repeat it.
        if len(state.request.query_string) <= _LONGEST_QUERY:
            self.query = {
                key: values
                for key, values in state.request.args.lists()
                if key not in _MOMENTARY
            }

    @cached_property
    def only(self) -> Sequence[str] | None:
        """The blocks that the request asks for; None means the whole page."""
        asked = self._state.request.args.get("only")
        return None if asked is None else asked.split(",")

    @property
    def ask(self) -> str | None:
        """The question that the page shows, such as ``keys``."""
        return self._state.request.args.get("ask")

    @property
    def refreshes(self) -> bool:
        """Whether anything of the page changes by itself; a form does not."""
        return not self.is_error and isinstance(self._state.route, PageRoute)

    @property
    def blocks(self) -> str:
        """The blocks that the script asks for, which are those that are shown."""
        route = self._state.route
        own = route.blocks if isinstance(route, PageRoute) else ()
        return ",".join((*REFRESHED, *own))

    # -- addresses -----------------------------------------------------------------

    def link(self, parts: Sequence[str], query: Mapping[str, object]) -> str:
        """Return the address of a path below the mount point."""
        first, *names = parts
        path = "/".join([quote(first), *(quote(name, safe="") for name in names)])
        return self.root + path + _query(query)

    def here_with(self, changes: Mapping[str, object]) -> str:
        """Return the address of this page with other parameters."""
        return _query({**self.query, **changes}) or "?"

    @property
    def here(self) -> str:
        """The path of this page below the mount point, with its query."""
        request = self._state.request
        levels = self._state.route.path.count("/")
        parts = f"{request.script_root}{request.path}".rsplit("/", levels)[1:]
        path = "" if self._state.route.path == "/" else "/".join(map(quote, parts))
        return path + _query(self.query)

    @property
    def is_search(self) -> bool:
        """Whether this is the page of the search."""
        return self._state.route.path == "/find"

    def has(self, path: str) -> bool:
        """Return whether there is such a page for the caller."""
        return any(route.path == path for route in self._open)

    # -- forms --------------------------------------------------------------------

    @cached_property
    def forms(self) -> Forms:
        """The forms of the page, which come back to it."""
        return Forms(self._api, self._state, self.root, self.here)

    @cached_property
    def note(self) -> Note | None:
        """What the form before this page has done; shown once, by a whole page."""
        caller = self._state.principal
        if self.only is not None or caller is None:
            return None
        return notes.take(self._api, self._state.request, caller.id)

    # -- caller --------------------------------------------------------------------

    @cached_property
    def caller(self) -> Caller | None:
        """The signed-in caller."""
        return caller_of(self._state)

    def may(self, permission: Permission) -> bool:
        """Return whether the caller has a permission and may use it now."""
        is_allowed = permission in _READS or not self.is_read_only
        return is_allowed and self._state.may(permission)

    # -- preferences ---------------------------------------------------------------

    @cached_property
    def theme(self) -> str:
        """``system``, ``light`` or ``dark``."""
        return preferred(self._state.request, "theme")

    @cached_property
    def refresh_s(self) -> int:
        """Seconds between two refreshes; 0 pauses them."""
        return int(preferred(self._state.request, "refresh"))

    @cached_property
    def offers_stream(self) -> bool:
        """Whether the server may send this page as events."""
        return self._api.streams.limit(self._state.request.environ) > 0

    @cached_property
    def has_ages(self) -> bool:
        """Whether instants are shown as their age, not as date and time."""
        return preferred(self._state.request, "times") == "ago"

    @property
    def next_theme(self) -> str:
        """The theme that the button chooses."""
        return THEMES[(THEMES.index(self.theme) + 1) % len(THEMES)]

    # -- counts --------------------------------------------------------------------

    @property
    def is_away(self) -> bool:
        """Whether the caller may read the report, and it cannot be read."""
        may_read = self._state.may(Permission.READ)
        return self.reads and may_read and self.report is None

    @cached_property
    def report(self) -> Report | None:
        """The attention report; None if the caller may not read it, or it fails."""
        if not self.reads or not self._state.may(Permission.READ):
            return None
        try:
            return report_of(self._api)
        except ForgeJobsError:
            return None

    @cached_property
    def needs(self) -> tuple[Sequence[Sentence], int]:
        """The report, alike sentences as one, and how many it leaves out."""
        return ((), 0) if self.report is None else grouped(self.report)

    @cached_property
    def evidence(self) -> Mapping[str, Any]:
        """The numbers of the report; empty if there are none."""
        return {} if self.report is None else self.report.summary.evidence

    @cached_property
    def _counts(self) -> Mapping[str, int]:
        """The jobs by state; empty if they are unknown."""
        counts = self.evidence.get("counts")
        return {} if counts is None else {**counts, **self.counted()}

    @cached_property
    def _open(self) -> Sequence[PageRoute]:
        pages = [each for each in self._api.pages if isinstance(each, PageRoute)]
        return [route for route in pages if self._api.may_open(route)]

    @cached_property
    def nav(self) -> Sequence[Entry]:
        """The pages that the caller may open."""
        if self._state.principal is None:
            return ()
        entries: list[Entry] = []
        group = None
        for route in sorted(self._open, key=lambda route: route.order):
            if route.nav is None:
                continue
            count, tone = self._count_of(route.path)
            starts = group not in {None, route.order // 10}
            group = route.order // 10
            entries.append(
                Entry(
                    route.nav, route.path.removeprefix("/"), route.icon, route.key,
                    self._is_within(route), starts, count, tone if count else "",
                )
            )  # fmt: skip
        return entries

    def _is_within(self, route: Route) -> bool:
        own = self._state.route
        path = own.part_of or own.path if isinstance(own, PageRoute) else own.path
        return path == route.path or (
            route.path != "/" and path.startswith(f"{route.path}/")
        )

    def _count_of(self, path: str) -> tuple[int | None, str]:
        evidence = self.evidence
        if path in (CRON, ERRORS):
            return self.counted().get(path, self._slow_counts.get(path)), ""
        if path in ("/queues", "/workers"):
            return evidence.get(path[1:]), ""
        if path in _COUNTS:
            name, tone = _COUNTS[path]
            return self._counts.get(name), tone
        return None, ""

    @cached_property
    def _slow_counts(self) -> Mapping[str, int]:
        if not self.evidence:
            return {}
        return nav_counts(
            self._api,
            counts_schedules=self.has(CRON),
            is_refresh=self.only is not None,
        )

    @cached_property
    def state(self) -> Sequence[State]:
        """The state of the work in five facts; none if they are unknown."""
        if not (counts := self._counts):
            return ()
        wait_s = self.evidence["oldest_wait_s"]
        wait = words.oldest(wait_s, counts["pending"])
        since = None
        if self.report is not None and wait_s:
            since = words.since(self.report.at, wait_s)
        return (
            *(
                State(
                    word, words.number(counts[status]), icon,
                    self._link_if(path, status if path == "/jobs" else None),
                )
                for word, status, icon, path in _STATES
            ),
            State("oldest wait", wait, "scheduled", self._link_if("/queues"), since),
        )  # fmt: skip

    def _link_if(self, path: str, status: str | None = None) -> str | None:
        if not self.has(path):
            return None
        return self.link([path[1:]], {"status": status})


def _query(query: Mapping[str, object]) -> str:
    pairs = [
        (key, words.stamp(value) if isinstance(value, datetime) else value)
        for key, values in query.items()
        for value in (values if isinstance(values, list | tuple) else [values])
        if value is not None
    ]
    return f"?{urlencode(pairs)}" if pairs else ""


def way_to_mount_point(request: Request, route: Route) -> str:
    """Return the relative address of the mount point, with a slash at its end.

    Relative links also work behind a proxy that strips a prefix without saying so. The
    index answers with and without a slash at the end of its address.
    """
    if route.path != "/":
        return "../" * (route.path.count("/") - 1) or "./"
    environ = request.environ
    last = f"{environ['SCRIPT_NAME']}{environ['PATH_INFO']}".rpartition("/")[2]
    return f"./{quote(last.encode('latin-1'))}/" if last else "./"
