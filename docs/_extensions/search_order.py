"""The order of search results: a build fails if a search does not lead to its page.

``search_scorer.js`` has the weights; `ranking` computes with them and the built index
the order in which Sphinx's own ``searchtools.js`` shows the results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.search.en import SearchEnglish
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)

SEARCHES: Mapping[str, str] = {
    "retry failed": "howto/retry",
    "pause queue": "howto/operate",
    "heroku": "howto/procfile",
    "celery beat": "howto/schedule",
    "cron": "howto/schedule",
    "postgresql": "howto/database",
    "dead jobs": "howto/operate",
    "delete old jobs": "howto/operate",
    "progress": "howto/results",
    "transaction": "howto/transactions",
    "async": "howto/async",
    "docker": "howto/containers",
}
SCORER = Path(__file__).with_name("search_scorer.js")
Index = Mapping[str, Any]
Hit = tuple[float, str, str, str]  # score, title, page and anchor
_WORD = re.compile(r"\w+")


def read_scorer() -> dict[str, Any]:
    """Return the numbers of the scorer; its function is `weighed`."""
    text = re.sub(r"^ *//.*\n", "", SCORER.read_text("utf-8"), flags=re.MULTILINE)
    body = text.partition("{")[2].rpartition("}")[0]
    body = re.sub(r"score: \(result\) => \{.*?\n  \},", "", body, flags=re.DOTALL)
    body = re.sub(r"^ *(\w+):", r'"\1":', body, flags=re.MULTILINE)
    scorer: dict[str, Any] = json.loads("{" + body.strip().rstrip(",") + "}")
    return scorer


def ranking(query: str, index: Index, scorer: Mapping[str, Any]) -> list[str]:
    """Return the names of pages, with anchors, the best first."""
    found = [
        (weighed(score, page, scorer), title.lower(), page + anchor)
        for score, title, page, anchor in (
            *by_title(query.lower(), index, scorer),
            *by_entry(query.lower(), index),
            *by_object(_WORD.findall(query.lower()), index, scorer),
            *by_word(_WORD.findall(query.lower()), index, scorer),
        )
    ]
    found.sort(key=lambda each: (-each[0], each[1]))
    return list(dict.fromkeys(place for _, _, place in found))


def weighed(score: float, page: str, scorer: Mapping[str, Any]) -> float:
    """Return the score as the function of the scorer does."""
    factor, summand = next(
        rest for pattern, *rest in scorer["pages"] if re.match(pattern, page)
    )
    weight: float = score * factor + summand
    return weight


def by_title(query: str, index: Index, scorer: Mapping[str, Any]) -> Iterator[Hit]:
    """Yield pages and sections whose title has the query as its larger half."""
    for title, places in index["alltitles"].items():
        if query not in title.lower() or len(query) < len(title) / 2:
            continue
        for file, anchor in places:
            whole = index["titles"][file]
            score = int(scorer["title"] * len(query) / len(title) + 0.5)
            score += whole == title
            shown = title if whole == title else f"{whole} > {title}"
            yield score, shown, index["docnames"][file], f"#{anchor}" if anchor else ""


def by_entry(query: str, index: Index) -> Iterator[Hit]:
    """Yield the main entries of the index; others come last and cannot win."""
    for entry, places in index["indexentries"].items():
        if query not in entry or len(query) < len(entry) / 2:
            continue
        for file, anchor, is_main in places:
            if is_main:
                score = int(100 * len(query) / len(entry) + 0.5)
                page = index["docnames"][file]
                yield score, index["titles"][file], page, f"#{anchor}"


def by_object(
    words: Sequence[str], index: Index, scorer: Mapping[str, Any]
) -> Iterator[Hit]:
    """Yield names of Python, for each word of the query."""
    for prefix, members in index["objects"].items():
        for file, kind, priority, anchor, name in members:
            full = f"{prefix}.{name}" if prefix else name
            last = full.lower().rpartition(".")[2]
            kind_name = index["objnames"][str(kind)][2]
            around = f"{prefix} {name} {kind_name} {index['titles'][file]}".lower()
            for word in words:
                others = {*words} - {word}
                if word not in full.lower() or any(o not in around for o in others):
                    continue
                score = scorer["objPrio"].get(str(priority), scorer["objPrioDefault"])
                if word in {full.lower(), last}:
                    score += scorer["objNameMatch"]
                elif word in last:
                    score += scorer["objPartialMatch"]
                yield score, full, index["docnames"][file], f"#{anchor or full}"


def by_word(
    words: Sequence[str], index: Index, scorer: Mapping[str, Any]
) -> Iterator[Hit]:
    """Yield pages with all words of the query in their text or titles."""
    language = SearchEnglish({})
    stems = {language.stem(word) for word in words}
    stems -= language.stopwords
    scores: dict[int, dict[str, float]] = {}
    for stem in stems:
        for names, whole, part in (
            ("terms", "term", "partialTerm"),
            ("titleterms", "title", "partialTitle"),
        ):
            table = index[names]
            hits = [(stem, whole)] if stem in table else []
            if not hits and len(stem) > 2:  # noqa: PLR2004  # as searchtools.js has it
                hits = [(term, part) for term in table if stem in term]
            for term, value in hits:
                files = table[term]
                for file in files if isinstance(files, list) else [files]:
                    scores.setdefault(file, {})[stem] = scorer[value]
    for file, of_stems in scores.items():
        if len(of_stems) == len(stems):
            best = max(of_stems.values())
            yield best, index["titles"][file], index["docnames"][file], ""


def note_pages(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    """Note whether the build reads all pages; else its index lacks main entries."""
    app.config.search_is_whole = set(pages) == env.found_docs


def check_searches(app: Sphinx, error: Exception | None) -> None:
    """Warn of each search that leads elsewhere; ``-W`` makes it an error."""
    file = Path(app.outdir, "searchindex.js")
    if error is not None or app.builder.format != "html":
        return
    if not app.config.search_is_whole:
        logger.info("searches are checked in a build of all pages only (-E)")
        return
    text = file.read_text("utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    scorer = read_scorer()
    for query, page in SEARCHES.items():
        first = next(iter(ranking(query, index, scorer)), "nowhere")
        if first.partition("#")[0] != page:
            logger.warning("search %r leads to %s, not to %s", query, first, page)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Check the built index."""
    app.add_config_value("search_is_whole", default=False, rebuild="")
    app.connect("env-before-read-docs", note_pages)
    app.connect("build-finished", check_searches)
    return {"version": "1", "parallel_read_safe": True}
