"""Commands and options of other queues, and ours in their place."""

from __future__ import annotations

from collections.abc import Mapping

# By group, the command to use for one that it lacks: habits, and slips.
WORDS: Mapping[str, Mapping[str, str]] = {
    "forge-jobs": {
        "job": "jobs", "batch": "batches", "queue": "queues", "list": "jobs list",
        "schedule": "cron", "schedules": "cron", "beat": "cron", "ls": "jobs list",
        "inspect": "jobs show", "show": "jobs show", "purge": "jobs delete",
        "empty": "jobs delete", "revoke": "jobs cancel", "result": "jobs show",
        "call": "enqueue", "send": "enqueue", "add": "enqueue",
        "flush": "jobs delete", "retry": "jobs retry", "requeue": "jobs retry",
        "cancel": "jobs cancel", "release": "jobs release", "run": "worker",
        "start": "worker", "work": "worker", "info": "status", "stats": "status",
        "monitor": "status", "check": "doctor", "health": "doctor",
        "pause": "queues pause", "resume": "queues resume", "init": "db migrate",
        "migrate": "db migrate", "upgrade": "db migrate",
    },
    "jobs": {
        "requeue": "jobs retry", "rerun": "jobs retry", "purge": "jobs delete",
        "clear": "jobs delete", "remove": "jobs delete", "kill": "jobs cancel",
        "revoke": "jobs cancel", "run": "jobs run-now", "count": "queues list",
        "add": "enqueue", "create": "enqueue",
    },
    "queues": {
        "purge": "jobs delete --queue", "empty": "jobs delete --queue",
        "clear": "jobs delete --queue", "flush": "jobs delete --queue",
        "stop": "queues pause", "start": "queues resume", "add": "queues create",
        "unpause": "queues resume",
    },
    "cron": {
        "run": "cron trigger", "fire": "cron trigger", "pause": "cron disable",
        "resume": "cron enable", "add": "cron create", "remove": "cron delete",
        "update": "cron set",
    },
    "db": {
        "init": "db migrate", "upgrade": "db migrate", "current": "db status",
        "check": "db status",
    },
    "limits": {"add": "limits set", "create": "limits set"},
    "token": {"create": "token new", "add": "token new"},
}  # fmt: skip
# Options by command; their names by our advice.
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "worker": {
        "write --queues, such as --queues mail,default": "-Q",
        "write --queues mail,default, or --quiet": "-q",
        "write --threads, or --processes": "-c --concurrency -P --pool -w -p -t "
        "--workers",
        "set up logging, or write --quiet": "-l --loglevel --log-level -v --verbose",
        "write flask --app NAME forge-jobs worker": "-A --app",
        "write --name": "-n --hostname",
        "write --burst": "--once",
        "leave it out: every worker runs the schedules": "-B --beat --with-scheduler",
        "set FORGE_JOBS_DATABASE_URL": "-u --url",
        "let systemd start it: show-config systemd-worker": "-D --daemon --detach "
        "--pid --pidfile",
    },
    "enqueue": {
        "write --run-at": "--eta --schedule-at",
        "write --delay": "--countdown --schedule-in",
        "write --queue": "-q -Q",
        "write --timeout": "--time-limit --soft-time-limit",
        "write --max-attempts, which counts the first run": "--retries --max-retries "
        "--retry",
        "write --dedupe-key": "--unique --unique-key",
        "write the arguments as JSON after the kind": "-a --args -k --kwargs",
        "there is no expiry; compare times in the task": "--expires",
    },
    "set": {
        "write --max-workers": "--concurrency --workers",
        "write --refill, tokens per second": "--rate --per-second",
    },
}
# What other queues let a user write after the name of the worker.
_SIGNAL = "Ctrl-C or SIGTERM stops a worker"
OTHER_ACTIONS: Mapping[str, str] = {
    "start": "leave it out", "run": "leave it out", "stop": _SIGNAL,
    "restart": f"{_SIGNAL}, and its process manager starts it again",
}  # fmt: skip
