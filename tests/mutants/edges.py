"""Mistakes at the edges: slow clients, names, how many queues, whose file it is."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_WORKER = "server_worker.py"
_CONNECTIONS = "server_connections.py"
_SLOW = "test_server_worker.py"
_BOUNDS = "model/bounds.py"
_ADMISSION = "storage/jobs/admission.py"
_ACCESS = "auth/access.py"
_FILES = "config/files.py"

MUTANTS = (
    Mutant(
        "half a request is handed over",
        _CONNECTIONS,
        "        if self._request.is_whole or is_over:\n",
        "        if self._request.data:\n",
        (f"{_SLOW}::test_a_client_that_waits_for_the_word_sends_its_body_then",),
    ),
    Mutant(
        "who reads no answer holds a thread",
        _CONNECTIONS,
        "                sent = super().send(data, socket.MSG_DONTWAIT)\n",
        "                sent = super().sendall(data) or len(data)\n",
        (f"{_SLOW}::test_sec_L08_answers_that_nobody_reads_hold_no_thread",),
    ),
    Mutant(
        "what waits for its client has no end",
        _WORKER,
        "            if now < until and self.alive:\n",
        "            if until and self.alive:\n",
        (f"{_SLOW}::test_who_takes_too_long_is_told_and_closed",),
    ),
    Mutant(
        "any number of connections waits",
        _WORKER,
        "        if len(self._waiting) > MOST_WAITING:\n",
        "        if not self._waiting:\n",
        (f"{_SLOW}::test_of_too_many_the_one_that_has_waited_longest_is_closed",),
    ),
    Mutant(
        "answers that nobody reads do not count",
        _CONNECTIONS,
        "        held = len(self._request.data) + len(self._unsent)\n",
        "        held = len(self._request.data)\n",
        (f"{_SLOW}::test_answers_that_nobody_reads_count",),
    ),
    Mutant(
        "any number of large requests is read",
        _WORKER,
        "len(self._next_large) >= MOST_LARGE:",
        "len(self._next_large) < 0:",
        (f"{_SLOW}::test_no_further_large_request_is_read_while_there_are_some",),
    ),
    Mutant(
        "health waits for other requests",
        _WORKER,
        "            return self._quick.submit(handle, conn)",
        "            return super().submit(handle, conn)",
        (f"{_SLOW}::test_health_has_a_thread_of_its_own",),
    ),
    Mutant(
        "a name holds what nobody sees",
        _BOUNDS,
        "    found = _UNSEEN.search(name)\n",
        "    found = None\n",
        ("model/test_bounds.py",),
    ),
    Mutant(
        "a job goes to a queue that could not be registered",
        _ADMISSION,
        "            if name not in found:\n",
        "            if not name:\n",
        ("contract/jobs/test_known_queues.py",),
    ),
    Mutant(
        "a user is taken for a token",
        _ACCESS,
        '        return replace(answer, id=f"{USER_PREFIX}{answer.id}")\n',
        "        return answer\n",
        ("auth/test_access.py",),
    ),
    Mutant(
        "a file that anybody may write is read",
        _FILES,
        "    if file.st_mode & stat.S_IWOTH:\n",
        "    if file.st_mode & stat.S_IXOTH:\n",
        ("config/test_files.py",),
    ),
    Mutant(
        "a file that anybody may have put there is read",
        _FILES,
        "    if folder.st_mode & stat.S_IWOTH and not is_ours:\n",
        "    if folder.st_mode & stat.S_IWOTH and not user:\n",
        ("config/test_files.py",),
    ),
)
