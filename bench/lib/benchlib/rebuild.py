"""How fast the read models are rebuilt: real events of real requests, then `waybill replay`."""

import time
from dataclasses import dataclass, field
from typing import Dict, List

from stacklib import process
from stacklib.console import StackError, say

from . import ours, quiet
from .curl import Curl, Request, run_one
from .rig import Rig
from .scenarios import SMALL_AT_ONCE, Sizes
from .sources import Sources
from .usage import Meter

_SESSIONS_A_ROUND = 5_000
_REBUILDS = 3


@dataclass
class Rebuild:
    events: int
    # The whole command, into a schema that does not exist.
    wall_s: List[float] = field(default_factory=list)
    # The same into one whose tables are there: making them takes as long for any number of events.
    fold_s: List[float] = field(default_factory=list)
    # Of every command, both kinds: waybill itself, and the servers for its sake.
    cpu_s: List[Dict[str, float]] = field(default_factory=list)
    said: List[str] = field(default_factory=list)


def run(rig: Rig, sources: Sources, sizes: Sizes) -> Rebuild:
    _fill(rig, sources, sizes)
    quiet.until_done(rig)
    result = Rebuild(rig.log.last_seq())
    say(f"  {result.events:,} events")
    for number in range(1, _REBUILDS + 1):
        quiet.until_settled(rig)
        result.wall_s.append(_replay(rig, result, f"bench_rebuild_{number}"))
        schema = f"bench_fold_{number}"
        _waybill(rig, ["provision"], WAYBILL_DATABASE_SCHEMA=schema)
        quiet.until_settled(rig)
        result.fold_s.append(_replay(rig, result, schema))
    said, _ = _waybill(rig, ["replay", "--verify"])
    result.said.append(said)
    return result


def _fill(rig: Rig, sources: Sources, sizes: Sizes) -> None:
    """One upload in chunks, small files, and sessions for the rest."""
    file = sources.file("warm-up", sizes.warm_up_bytes)
    files = sources.many("small", sizes.small_files, sizes.small_bytes)
    for attempt in (ours.Chunks(rig, [file], sources.chunks(file)),
                    ours.Small(rig, files, SMALL_AT_ONCE)):
        attempt.prepare()
        attempt.send()
        quiet.until_done(rig)
        attempt.check()
        rig.reset_bucket(attempt.bucket)
    while rig.log.last_seq() < sizes.events:
        missing = sizes.events - rig.log.last_seq()
        _open_sessions(rig, min(_SESSIONS_A_ROUND, missing))
        say(f"  {rig.log.last_seq():,} events in the log")


def _open_sessions(rig: Rig, count: int) -> None:
    headers = {"Authorization": f"Bearer {rig.token()}", "Content-Type": "application/json"}
    url = f"{rig.url}/v1/sessions"
    requests = [Request("POST", url, headers, data='{"name":"bench"}') for _ in range(count)]
    curl = Curl(rig.scratch, "sessions", requests, SMALL_AT_ONCE)
    run_one(curl)
    curl.answers(201)


def _replay(rig: Rig, result: Rebuild, schema: str) -> float:
    meter = Meter(rig.stack.pids())
    meter.start()
    said, wall_s = _waybill(rig, ["replay", "--into", schema])
    cpu_s = meter.stop().cpu_s
    # Children that we waited for: here that is the command.
    cpu_s["waybill"] = cpu_s.pop("curl")
    result.cpu_s.append(cpu_s)
    result.said.append(said)
    say(f"  {wall_s:.2f} s: {said}")
    return wall_s


def _waybill(rig: Rig, arguments: List[str], **more: str):
    began = time.perf_counter()
    done = process.run(
        [str(rig.program), *arguments], env={**rig.env, **more}, stdin="", capture=True
    )
    wall_s = time.perf_counter() - began
    if done.returncode != 0:
        raise StackError(f"waybill {' '.join(arguments)} failed:\n{done.stdout.strip()}")
    return done.stdout.strip(), wall_s
