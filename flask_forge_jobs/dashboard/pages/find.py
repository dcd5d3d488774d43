"""Search: any page, queue, kind, job, batch, schedule or worker, and acts that help.

The palette shows the block ``results``; without script this is a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from flask import request
from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard import words
from flask_forge_jobs.dashboard.page import page
from flask_forge_jobs.dashboard.page_route import PageRoute
from flask_forge_jobs.dashboard.parameters import Parameters
from flask_forge_jobs.dashboard.reads import Part, Reads, is_refresh, report_of
from flask_forge_jobs.errors import BatchNotFoundError, StorageError
from flask_forge_jobs.handlers.batches import known_batch, list_batches
from flask_forge_jobs.handlers.workers import MAX_WORKERS_A_PAGE, list_workers
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.sentences import Action, Sentence

MAX_HITS = 12
# Of one kind of hits, so that a common word leaves room for the others.
_MAX_ALIKE = 6
# Of the hits for a text, for the acts, which stand behind all others.
_FOR_ACTS = 4
# Characters of a name in the words of an act, whose end says why.
_LONGEST_NAME = 40
_MAX_SCHEDULES = 1000
# The newest; an older one is found by its id.
_MAX_BATCHES = 200
# Names change seldom, and one that is new is shown a little later.
_KEPT_S = 5.0
_JOB_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was looked for.

    ``kind`` is its kind in a word. It has a path below the mount point, one part after
    the other, with a query; or an act of the attention report. Only an action has
    a ``verb``, which stands before the name of its object.
    """

    kind: str
    name: str
    path: Sequence[str] = ()
    query: Mapping[str, str] | None = None
    verb: str = ""
    act: Action | None = None

    @property
    def words(self) -> str:
        """The name behind its verb, as the search compares it."""
        return f"{self.verb} {self.name}".strip().casefold()


class Search:
    """The hits for a text, the best first."""

    def __init__(self, api: Api, text: str, pages: Sequence[PageRoute]) -> None:
        self._api = api
        self._pages = pages
        self.text = text
        self.is_away = False

    @cached_property
    def hits(self) -> Sequence[Hit]:
        """At most twelve hits; without a text, what needs the reader, and every page.

        While the database is away, pages alone are found.
        """
        part = self.text.casefold()
        try:
            return self._hits(part)
        except StorageError:
            self.is_away = True
            return _matching(self._of_pages(), part)

    def _hits(self, part: str) -> Sequence[Hit]:
        if not part:
            return [*islice(self._acts(), _MAX_ALIKE), *self._of_pages()]
        named = [*self._of_pages(), *self._of_names()]
        acts = [*islice(self._acts(), MAX_HITS), *self._dialogs()]
        places = [*self._by_id(), *_mixed(_matching(named, part))]
        last = [*_mixed(_matching(acts, part))]
        room = MAX_HITS - min(len(last), _FOR_ACTS)
        return [*places[:room], *last][:MAX_HITS]

    def _acts(self) -> Iterator[Hit]:
        report = report_of(self._api)
        for sentence in report.sentences:
            action = sentence.action
            if action is not None and action.method != "GET":
                yield Hit("action", _fact(sentence), verb=action.label, act=action)

    def _of_pages(self) -> Iterator[Hit]:
        for route in self._pages:
            if route.nav is not None:
                yield Hit("page", route.nav, (route.path.removeprefix("/"),))

    def _of_names(self) -> Iterator[Hit]:
        names = self._names
        for queue in self._queues:
            yield Hit("queue", queue.name, ("queues", queue.name))
        for name in names["kinds"]:
            yield Hit("kind", name, ("jobs",), {"kind": name})
        for name in names["schedules"]:
            yield Hit("schedule", name, ("cron", name))
        for worker_id, label in names["workers"]:
            yield Hit("worker", label, ("workers", worker_id))
        for batch_id, label in names["batches"]:
            yield Hit("batch", label, ("batches", batch_id))

    def _dialogs(self) -> Iterator[Hit]:
        may = self._api.principal.may
        if self._api.is_read_only:
            return
        if may(Permission.QUEUES_EDIT):
            for queue in self._queues:
                if not queue.paused:
                    query = {"ask": "pause", "queue": queue.name}
                    yield Hit("action", queue.name, ("queues",), query, "Pause")
        if may(Permission.CRON_EDIT):
            for name in self._names["schedules"]:
                yield Hit("action", name, ("cron", name), {"ask": "run"}, "Run now")

    def _by_id(self) -> Iterator[Hit]:
        """Yield the job or the batch whose id the text is."""
        api, item_id = self._api, self.text.upper()
        if not _JOB_ID.fullmatch(self.text):
            return
        if api.storage.job_reader.ids_in([item_id], api.scope.names()):
            yield Hit("job", item_id, ("jobs", item_id))
            return
        with suppress(BatchNotFoundError):
            known_batch(api.storage, item_id, api.scope.queues)
            yield Hit("batch", item_id, ("batches", item_id))

    @cached_property
    def _names(self) -> Reads:
        """Everything with a name that the caller may know, but for the queues."""
        parts = self._parts()
        return Reads(
            self._api.snapshots,
            ("names", self._api.scope.queues),
            {name: Part(part, _KEPT_S) for name, part in parts.items()},
            parts.keys() if is_refresh() else None,
        )

    @cached_property
    def _queues(self) -> Sequence[QueueSettings]:
        allows = self._api.scope.allows
        return [queue for queue in self._names["queues"] if allows(queue.name)]

    def _parts(self) -> Mapping[str, Callable[[], Sequence[Any]]]:
        storage, queues = self._api.storage, self._api.scope.queues

        def schedules() -> Sequence[str]:
            # Schedules belong to no queue: limited callers may not read them.
            is_limited = queues is not None
            lines = () if is_limited else storage.cron_history.lines(_MAX_SCHEDULES)
            return [line.name for line in lines]

        def workers() -> Sequence[tuple[str, str]]:
            rows = list_workers(storage, queues, limit=MAX_WORKERS_A_PAGE).rows
            return [
                (each.worker_id, words.worker(each.worker_id, each.worker_name))
                for each in (row.worker for row in rows)
            ]

        def batches() -> Sequence[tuple[str, str]]:
            rows = list_batches(
                storage,
                limit=_MAX_BATCHES,
                redactor=self._api.masking_redactor,
                queues=queues,
            ).rows
            return [(row.batch.id, row.name) for row in rows]

        return {
            "queues": storage.queues.all,
            "kinds": lambda: sorted(storage.job_reader.named_kinds(queues)),
            "schedules": schedules,
            "workers": workers,
            "batches": batches,
        }


def _fact(sentence: Sentence) -> str:
    """Return the first statement of a sentence, with the begins of long names."""
    fact = sentence.text.partition(". ")[0].rstrip(".")
    for name in sentence.evidence.values():
        if isinstance(name, str) and len(name) > _LONGEST_NAME:
            fact = fact.replace(name, f"{name[: _LONGEST_NAME - 1]}…")
    return fact


def _matching(hits: Iterable[Hit], part: str) -> Sequence[Hit]:
    """Return the hits that have a text in their words, those that begin so first."""
    matching = [each for each in hits if part in each.words]
    return sorted(matching, key=lambda each: not each.words.startswith(part))


def _mixed(hits: Iterable[Hit]) -> Iterator[Hit]:
    """Yield the hits in order, but at most six of each kind."""
    left: dict[str, int] = {}
    for hit in hits:
        left[hit.kind] = left.get(hit.kind, _MAX_ALIKE) - 1
        if left[hit.kind] >= 0:
            yield hit


def find(api: Api) -> Mapping[str, object]:
    """Show the hits for the text in the address."""
    parameters = Parameters(request)
    text = parameters.text("q")
    pages = [each for each in api.pages if isinstance(each, PageRoute)]
    own = [each for each in pages if api.may_open(each)]
    own.sort(key=lambda each: each.order)
    return {"search": Search(api, text, own), "query": parameters.kept}


ROUTES = (page("/find", find, reach=Reach.VIEW, blocks=("results",), is_current=True),)
