"""Group C: PostgreSQL and the network."""

from __future__ import annotations

from tests.acceptance.faults.crowding import crowded
from tests.acceptance.faults.cuts import cut_anywhere
from tests.acceptance.faults.fault import POSTGRES, Fault
from tests.acceptance.faults.full_disk import no_room
from tests.acceptance.faults.isolation import strict_by_default
from tests.acceptance.faults.latency import far_away
from tests.acceptance.faults.lost_answers import lost_answers
from tests.acceptance.faults.outages import (
    ended_sessions,
    immediate_stops,
    killed_servers,
)
from tests.acceptance.faults.pooling import through_a_pooler
from tests.acceptance.faults.silences import half_open
from tests.acceptance.faults.snapshots import open_snapshot
from tests.acceptance.faults.storms import deadlock_storm
from tests.acceptance.faults.timeouts import limits_fire
from tests.acceptance.faults.unheard import nobody_is_told

FAULTS: tuple[Fault, ...] = (
    Fault(
        "C1",
        "the server stops at once and starts again",
        POSTGRES,
        "2 stops, 2,000 jobs",
        immediate_stops,
        full="20 stops, 20,000 jobs",
    ),
    Fault(
        "C2",
        "the postmaster or a backend is killed",
        POSTGRES,
        "2 kills each, 1,000 jobs each",
        killed_servers,
        full="10 kills each, 10,000 jobs each",
    ),
    Fault(
        "C3",
        "every session is ended, again and again",
        POSTGRES,
        "200 rounds, 10,000 jobs",
        ended_sessions,
    ),
    Fault(
        "C4",
        "the server commits and the answer gets lost",
        POSTGRES,
        "500 of each kind",
        lost_answers,
    ),
    Fault(
        "C5",
        "the connection is cut in the middle of a dialogue",
        POSTGRES,
        "150 places",
        cut_anywhere,
        full="after every 7th byte",
    ),
    Fault(
        "C6",
        "connections go silent and nobody says so",
        POSTGRES,
        "once each",
        half_open,
        full="20 times each",
    ),
    Fault(
        "C9",
        "the way to the server is long",
        POSTGRES,
        "2, 50 and 100 ms either way, 300 jobs",
        far_away,
        full="2, 50 and 100 ms either way, 3,000 jobs",
    ),
    Fault(
        "C10",
        "no connection is left, in the pool or at the server",
        POSTGRES,
        "20 s, 16 threads over 2 connections",
        crowded,
        full="5 min, 16 threads over 2 connections",
    ),
    Fault(
        "C11",
        "everything goes through PgBouncer in transaction mode",
        POSTGRES,
        "smoke: A1 with 2,000 jobs and 5 kills, C1 once, joins, LISTEN",
        through_a_pooler,
        full="A1 with 20,000 jobs and 50 kills, C1 10 times, joins, LISTEN",
    ),
    Fault(
        "C14",
        "the server's time limits end what takes long",
        POSTGRES,
        "200 hits of 50 ms",
        limits_fire,
        full="1,000 hits of 50 ms",
    ),
    Fault(
        "C15",
        "transactions are stricter by default",
        POSTGRES,
        "2,000 jobs at each level",
        strict_by_default,
        full="20,000 jobs at each level",
    ),
    Fault(
        "C16",
        "heartbeats, outcomes and bulk verbs lock in opposite orders",
        POSTGRES,
        "20 s, 3 owners beating 20 times a second",
        deadlock_storm,
        full="10 min, 3 owners beating 20 times a second",
    ),
    Fault(
        "C17", "the server's disk is full", POSTGRES, "2 times", no_room, full="5 times"
    ),
    Fault(
        "C18",
        "the queue of notifications is full",
        POSTGRES,
        "2,000 jobs",
        nobody_is_told,
        full="20,000 jobs",
    ),
    Fault(
        "C20",
        "somebody else keeps a snapshot open",
        POSTGRES,
        "60 s, 100 jobs a second",
        open_snapshot,
        full="10 min, 100 jobs a second",
    ),
)
