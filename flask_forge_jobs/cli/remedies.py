"""The command that helps, for sentences of the attention report."""

from __future__ import annotations

import json
import shlex

from flask_forge_jobs.model.sentences import Sentence

# Commands with the effect of a sentence's request.
_COMMANDS = {
    "queue_paused": "flask forge-jobs queues resume {queue}",
    "queue_cools_down": "flask forge-jobs queues end-cool-down {queue}",
}


def remedy_of(sentence: Sentence) -> str | None:
    """Return the command that helps, or else the request; None if there is none."""
    command = sentence.evidence.get("command")
    if command is None and sentence.code in _COMMANDS:
        queue = shlex.quote(str(sentence.evidence["queue"]))
        command = _COMMANDS[sentence.code].format(queue=queue)
    if command is not None:
        return f"$ {command}"
    action = sentence.action
    if action is None:
        return None
    body = "" if action.body is None else f" {json.dumps(action.body)}"
    return f"{action.label}: {action.method} {action.path}{body}"
