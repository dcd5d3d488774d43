"""``flask forge-jobs explain``: why a job or a queue does not run."""

from __future__ import annotations

import click

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.sentences import SentenceSchema
from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.remedies import remedy_of
from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.handlers import explain
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.sentences import Sentence
from flask_forge_jobs.state import ApplicationState, current

_DUMP = dumper(SentenceSchema())
# Nothing of a sentence may be cut here: it has cut what it quotes.
_LONGEST = 4000


@click.command("explain", cls=AppCommand, example="explain mail")
@click.argument("name", metavar="ID|QUEUE")
@click.option("--json", "is_json", is_flag=True, help="Print it with its evidence.")
def explain_command(*, name: str, is_json: bool) -> None:
    """Explain a job or a queue in one sentence.

    Below it stands the command or the request that helps, if there is one.
    """
    sentence = _explained(current(), name)
    if is_json:
        click.echo(encode(_DUMP(sentence)))
        return
    click.echo(one_line(sentence.text, _LONGEST))
    if remedy := remedy_of(sentence):
        click.echo(one_line(remedy, _LONGEST))


def _explained(state: ApplicationState, name: str) -> Sentence:
    try:
        return explain.explain_job(state.storage, name)
    except JobNotFoundError:
        behind_s = state.settings.behind_s
        return explain.explain_queue(state.storage, name, behind_s=behind_s)
