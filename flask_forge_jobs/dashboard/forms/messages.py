"""What has been done, as a sentence, from the answer of the API's route."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from flask import Response

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.request import RequestState
from flask_forge_jobs.dashboard.forms.notes import Note
from flask_forge_jobs.dashboard.jobs.runs import WORDS
from flask_forge_jobs.dashboard.jobs.skips import WHY_SKIPPED, skips_path
from flask_forge_jobs.errors import QueueNotFoundError, StorageError
from flask_forge_jobs.handlers.queues import get_queue
from flask_forge_jobs.model.bulk import SkipReason
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.sentences import Action, count

_ACCEPTED = 202
_UNCHANGED = Note("Nothing was changed: it is so already.", "warn")
_DONE_TO_QUEUES: Mapping[str, str] = {
    "pause": "paused",
    "resume": "resumed",
    "cool_down": "cooling down",
    "end_cooldown": "no longer cooling down",
}
# The action that takes another one back, the text of its button, and the instant that
# identifies it: a cool-down may have replaced an earlier one, which does not come back.
_UNDONE_BY: Mapping[str, tuple[str, str, str]] = {
    "pause": ("resume", "Undo", "paused_at"),
    "cool_down": ("end_cooldown", "End now", "throttled_until"),
}


@dataclass(frozen=True, slots=True)
class _Done:
    """A change that succeeded: its placeholders, document, answer and response.

    ``edit`` are the digests of a definition before and after it; None of other things.
    """

    api: Api
    names: Mapping[str, str]
    asked: Mapping[str, Any]
    answer: Any
    response: Response
    edit: Mapping[str, str] | None

    @property
    def name(self) -> str:
        return next(iter(self.names.values()), "")

    def counted(self, header: str) -> int:
        return int(self.response.headers.get(header, 0))


def note_of(api: Api, state: RequestState, response: Response) -> Note:
    """Return the note about a change that an API's response reports."""
    document = state.document if isinstance(state.document, dict) else {}
    answer = response.get_json(silent=True) if response.is_json else None
    names = state.request.view_args or {}
    done = _Done(api, names, document, answer, response, state.edit)
    sentence = _SENTENCES.get(state.route.action)
    return sentence(done) if sentence else Note("The change is stored.")


def _jobs_acted_on(done: _Done) -> Note:
    report = done.answer
    if report["matched"] == 0 and not report["skipped"]:
        return Note("No job matches any more; nothing was changed.", "warn")
    if done.asked.get("dry_run"):
        return Note(f"{count(report['matched'], 'job')} would be touched.")
    reasons = Counter(each["reason"] for each in report["skipped"])
    skips = done.counted("X-Jobs-Skipped")
    note = _counted(
        report["changed"],
        WORDS[done.asked["action"]][1],
        skips,
        reasons.most_common(1)[0][0] if len(reasons) == 1 else None,
        is_complete=report["complete"],
    )
    return replace(note, link=skips_path(report["skipped"], skips) or "")


def _run_begun(done: _Done) -> Note:
    jobs = count(done.answer["matched"], "job")
    return Note(f"{jobs} to go, batch by batch. Leaving this page stops nothing.")


def _run_stopped(done: _Done) -> Note:
    return Note(f"Stopped after {count(done.answer['changed'], 'job')}.", "warn")


def _retried_all(done: _Done) -> Note:
    reason = SkipReason.DEDUPE_CONFLICT if "status" in done.asked else None
    return _counted_by_headers(done, "retried", "X-Jobs-Skipped", reason)


def _deleted_all(done: _Done) -> Note:
    note = _counted_by_headers(
        done, "deleted", "X-Jobs-Not-Found", SkipReason.NOT_FOUND
    )
    asked = done.counted("X-Jobs-Cancel-Requested")
    if asked:
        return Note(f"{note.text} {count(asked, 'running job')} asked to stop.", "warn")
    return note


def _counted_by_headers(
    done: _Done, verb: str, skipped: str, reason: str | None
) -> Note:
    return _counted(
        done.answer,
        verb,
        done.counted(skipped),
        reason,
        is_complete=done.response.headers.get("X-Bulk-Complete") != "false",
    )


def _counted(
    changed: int, verb: str, skipped: int, reason: str | None, *, is_complete: bool
) -> Note:
    text = f"{count(changed, 'job')} {verb}"
    if skipped:
        why = WHY_SKIPPED.get(reason or "")
        text += f", {skipped:,} skipped" + (f": {why}" if why else "")
    text += "."
    if not is_complete:
        text += " More jobs match; send it again."
    return Note(text, "good" if is_complete and not skipped else "warn")


def _cancelled(done: _Done) -> Note:
    if done.response.status_code == _ACCEPTED:
        return Note(f"Job {done.name} is asked to stop.")
    return Note(f"Job {done.name} is cancelled.")


def _deleted(done: _Done) -> Note:
    if done.response.status_code == _ACCEPTED:
        return Note(f"Job {done.name} runs, so it is asked to stop.", "warn")
    return Note(f"Job {done.name} is deleted.")


def _batch_retried(done: _Done) -> Note:
    one, many = "job of the batch is", "jobs of the batch are"
    return Note(f"{count(done.answer['changed'], one, many)} due again.")


def _enqueued(done: _Done) -> Note:
    job_id = done.answer["id"] if isinstance(done.answer, dict) else done.answer
    if done.response.headers.get("X-Job-Deduped") == "true":
        return Note(f"Nothing was added: job {job_id} holds the dedupe key.", "warn")
    return Note(f"Job {job_id} is enqueued.")


def _enqueued_many(done: _Done) -> Note:
    text = f"{count(done.answer['enqueued'], 'job')} enqueued"
    deduped = done.answer["deduped"]
    if not deduped:
        return Note(f"{text}.")
    why = WHY_SKIPPED[SkipReason.DEDUPE_CONFLICT]
    return Note(f"{text}, {deduped:,} skipped: {why}.", "warn")


def _queues_acted_on(done: _Done) -> Note:
    names: list[str] = done.asked.get("queues") or []
    verb = _DONE_TO_QUEUES.get(done.asked.get("action", ""), "changed")
    changed = done.answer["changed"]
    if not changed:
        return _UNCHANGED
    if len(names) == 1:
        return Note(f"{names[0]} is {verb}.", undo=_undo_of(done, names))
    # Some of many queues may have been so before, and would be changed as well.
    return Note(f"{count(changed, 'queue')} {verb}.")


def _undo_of(done: _Done, names: list[str]) -> Action | None:
    if (action := done.asked["action"]) not in _UNDONE_BY:
        return None
    undoing, label, name = _UNDONE_BY[action]
    # The change is stored, whatever becomes of this read.
    with contextlib.suppress(QueueNotFoundError, StorageError):
        settings = get_queue(done.api.storage, names[0]).settings
        if (instant := getattr(settings, name)) is not None:
            ends = format_instant(instant)
            body = {"action": undoing, "queues": names, "ends": ends}
            return Action("POST", "/v1/queues/actions", label, body)
    return None


def _queue_changed(done: _Done) -> Note:
    if set(done.asked) <= {"paused", "reason"} and "paused" in done.asked:
        return _paused(done)
    if set(done.asked) == {"max_workers"}:
        return _slots_set(done)
    return Note(f"The settings of {done.name} are stored.")


def _paused(done: _Done) -> Note:
    return Note(f"{done.name} is {'paused' if done.asked['paused'] else 'resumed'}.")


def _slots_set(done: _Done) -> Note:
    slots = done.asked.get("max_workers", done.asked.get("n", 0))
    return Note(f"{done.name} may use {count(slots, 'slot')} of all workers together.")


def _queue_deleted(done: _Done) -> Note:
    deleted = done.counted("X-Jobs-Deleted")
    also = f" with {count(deleted, 'job')}" if deleted else ""
    return Note(f"{done.name} is removed{also}.")


def _swept(done: _Done) -> Note:
    swept, dead = done.answer["done_deleted"], done.answer["dead_deleted"]
    verb = "would be" if done.asked.get("dry_run") else "are"
    return Note(f"{swept:,} done and {count(dead, 'dead job')} {verb} deleted.")


def _schedule_enabled(done: _Done) -> Note:
    word = "on" if done.asked["enabled"] else "off"
    return Note(f"{done.name} is {word}.")


def _schedule_changed(done: _Done) -> Note:
    if set(done.asked) == {"enabled"}:
        if done.edit is not None and done.edit["before"] == done.edit["after"]:
            return _UNCHANGED  # another operator was faster: nothing to take back
        note = _schedule_enabled(done)
        if done.asked["enabled"]:
            return note  # its tag is that of each earlier time when it was on
        path = f"/v1/cron/{quote(done.name, safe='')}"
        tag = done.response.headers["ETag"]
        undo = Action("PATCH", path, "Undo", {"enabled": True}, tag)
        return replace(note, undo=undo)
    return Note(f"{done.name} is stored.")


def _schedule_run(done: _Done) -> Note:
    note = _enqueued(done)
    return note if note.tone == "warn" else Note(f"A job of {done.name} is enqueued.")


def _says(template: str) -> Callable[[_Done], Note]:
    """Return a sentence with the name of the changed thing."""
    return lambda done: Note(template.format(done.name))


def _named(template: str) -> Callable[[_Done], Note]:
    """Return a sentence with the name in the answer to a creation."""
    return lambda done: Note(template.format(done.asked.get("name", "It")))


_SENTENCES: Mapping[str, Callable[[_Done], Note]] = {
    "jobs_act": _jobs_acted_on,
    "bulk_run_begin": _run_begun,
    "bulk_run_stop": _run_stopped,
    "jobs_retry": _retried_all,
    "jobs_retry_all_failed": _retried_all,
    "jobs_retry_all_by_status": _retried_all,
    "jobs_delete": _deleted_all,
    "jobs_delete_by_status": _deleted_all,
    "jobs_delete_done_older_than": _deleted_all,
    "jobs_enqueue": _enqueued,
    "enqueue": _enqueued,
    "enqueue_many": _enqueued_many,
    "jobs_run_now": _says("Job {} is due now."),
    "job_retry": _says("Job {} is due again, with all its attempts."),
    "job_release": _says("Job {} waits for no other job."),
    "job_reschedule": _says("Job {} is rescheduled."),
    "job_cancel": _cancelled,
    "job_delete": _deleted,
    "batch_create": _named("{} is stored."),
    "batch_add": _enqueued_many,
    "batch_retry": _batch_retried,
    "batch_cancel": _says("Batch {} is cancelled; running jobs are asked to stop."),
    "batch_seal": _says("Batch {} has all its jobs, and ends with them."),
    "batch_delete": _says("Batch {} is deleted."),
    "queue_actions": _queues_acted_on,
    "change_queue": _queue_changed,
    "queue_set_paused": _paused,
    "queue_set_max_workers": _slots_set,
    "queue_set_retention": _queue_changed,
    "queue_set_backoff": _queue_changed,
    "create_queue": _named("{} is registered."),
    "delete_queue": _queue_deleted,
    "queue_cleanup": _swept,
    "cron_create": _named("{} is stored."),
    "cron_change": _schedule_changed,
    "cron_set_enabled": _schedule_enabled,
    "cron_set_expr": _schedule_changed,
    "cron_set_dedupe": _schedule_changed,
    "cron_trigger": _schedule_run,
    "cron_delete": _says("{} is deleted; its jobs stay."),
    "put_rate_limit": _says("{} is stored."),
    "drain_rate_limit": _says("{} has no tokens now."),
    "delete_rate_limit": _says("{} is deleted; jobs that take its tokens fail."),
}
