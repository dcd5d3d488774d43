"""What the reference's panel has, and the name that it has on our pages.

By page: the names of its heads, fields, buttons, links, choices and facts. The comments
name the sections of the reference that they answer.
"""

from __future__ import annotations

from collections.abc import Mapping

COUNTERPARTS: Mapping[str, str] = {
    # 1 Frame, 5 Charts, 6 Overview. Total latency is the run and the wait, below.
    "/": """
        Overview | Jobs | Scheduled | Retries | Dead | Cron | Queues | Workers
        Refresh every | Paused | 2 s | 5 s | 10 s
        Waiting | Busy slots | Retrying | Dead | Oldest wait | Throughput
        Jobs per minute | Completed | Enqueued | Started | Retried
        Run time | p50 | p95 | p99 | 15m | 1h | 6h | 24h | 7d | 30d | Custom
        From, UTC | To, UTC | Longest running | Top errors
        Show as a table: Jobs per minute
    """,
    # 6 Resources, DB health, per-queue metrics.
    "/kinds": """
        Run time | Wait for a slot | CPU | Memory | Disk per minute | Disk used
        read | write | Database reads | Database writes | Calls per minute
        Database size | Log size | Queue | Kind
    """,
    # 7 Jobs: filters, columns, pages, and the actions on a selection or on all.
    "/jobs": """
        All | Waiting or scheduled | Scheduled | In progress | Retrying
        Dead | Done
        Queue | Kind | Payload contains | Error contains | or from (UTC) | to (UTC)
        Status | Kind and id | Tries | Last error | Enqueued | Select this page
        First | Previous | Next | 25 | 50
        Retry | Run now | Reschedule | Cancel | Delete | Export | Enqueue
    """,
    "/jobs?queue=mail&all=1": "Select none | Cancel 60 | Delete 60 | Clear",
    # 8 Scheduled.
    "/scheduled": "Kind and id | Queue | Starts | Run now | Cancel | Delete | Enqueued",
    # 9 Retries and Dead.
    "/retries": "Kind and id | Queue | Tries | Last error | Next try | Retry | Delete",
    "/dead": "Kind and id | Queue | Tries | Last error | Finished | Retry | Delete",
    "/retries?all=1": "Retry 4 | Delete 4",
    "/dead?all=1": "Retry 5 | Delete 5",
    # 10 Cron.
    "/cron": "Name | When | Next | Last run | State | Run now | On | mail fires",
    "/cron/<name>": """
        Turn off | Run now | Delete | Expression | Time zone | Show the next times
        Queue | Attempts at most | New payload, JSON | Save | Payload | Runs
        Skip a firing while the job of an earlier one is unfinished
    """,
    # 11 Queues.
    "/queues?edit=mail": """
        Queue | State | Waiting | Oldest | Slots | Dead | Per min | Pause | Resume
        Slots at most | Keep done jobs, days | Keep dead jobs, days | Save settings
        after a failure or a throttle | Base of the back-off, seconds
        Longest back-off, seconds | Clean up | New queue | Cooling down | End now
    """,
    "/queues/<name>": """
        Waiting | Oldest wait | Retrying | Scheduled | Busy slots | Dead | Slot
        Job | Worker
    """,
    # 12 Workers.
    "/workers": "Queue exports has no worker. | first | mail | work | live",
    "/workers/<worker_id>": "Slots | Queues | Host | Process | Started | Heartbeat",
    # 13 Inspector.
    "/jobs/<job_id>": """
        Queue | Tries | Enqueued | Last start | Next try | Crashes | Payload
        Error of attempt 1 | Attempts | Run now | Retry with all tries | Cancel
        Delete | Copy the id
    """,
    "/jobs/<running_id>": "Heartbeat | Last start | Worker | Progress | Cancel",
}
