"""Measures the rebuild of the read model: records the events of real requests, copies them for other companies, and runs
`waybill replay`."""

import time
from dataclasses import dataclass, field
from typing import Dict, List

from stacklib import process
from stacklib.console import StackError, say

from . import clones, fill, ours, quiet
from .curl import Curl, Request, run_one
from .rig import Rig
from .scenarios import SMALL_AT_ONCE, Sizes
from .sources import Sources
from .usage import Meter

_SESSIONS = 50
_REBUILDS = 3
_PARTITIONS = 4

# Names of the two scenarios: small files, and large files in chunks.
SMALL, LARGE = "rebuild", "rebuild-large"
_LARGE_FILES, _LARGE_PARTS = 4, 8


@dataclass
class Rebuild:
    what: str
    events: int
    partitions: int = _PARTITIONS
    # Of the whole command, into a new schema: it creates tables, rows, indexes and foreign keys.
    wall_s: List[float] = field(default_factory=list)
    # Of each command: CPU seconds of waybill and of the servers that it uses.
    cpu_s: List[Dict[str, float]] = field(default_factory=list)
    said: List[str] = field(default_factory=list)


def run(rig: Rig, sources: Sources, sizes: Sizes, what: str) -> Rebuild:
    what_they_do = {SMALL: _small, LARGE: _large}[what]
    what_they_do(rig, sources, sizes)
    quiet.until_done(rig)
    # From here on, nothing else writes to the log.
    rig.stop_roles()
    partitions = {"WAYBILL_PARTITIONS": str(_PARTITIONS)}
    fill.divide(rig.env["WAYBILL_NATS_URL"], _PARTITIONS)
    _waybill(rig, ["provision"], **partitions)
    recorded = rig.log.last_seq()
    say(f"  {recorded:,} recorded events")
    rig.restart_nats(durable=False)
    made = clones.fill(rig.env["WAYBILL_NATS_URL"], rig.log, sizes.events, _PARTITIONS,
                       lambda count: say(f"  {count:,} events in the log"))
    rig.restart_nats()
    result = Rebuild(what, recorded + made)
    for number in range(1, _REBUILDS + 1):
        schema = f"bench_rebuild_{number}"
        if number > 1:
            rig.sql(f"DROP SCHEMA bench_rebuild_{number - 1} CASCADE")
        quiet.until_settled(rig)
        result.wall_s.append(_replay(rig, result, schema, partitions))
    said, _ = _waybill(rig, ["replay", "--verify"], WAYBILL_DATABASE_SCHEMA=schema, **partitions)
    result.said.append(said)
    return result


def _small(rig: Rig, sources: Sources, sizes: Sizes) -> None:
    """Uploads small files in one request each, and opens some sessions. Nearly every event creates rows."""
    _send(rig, ours.Small(rig, sources.many("small", sizes.small_files, sizes.small_bytes), SMALL_AT_ONCE))
    headers = {"Authorization": f"Bearer {rig.token()}", "Content-Type": "application/json"}
    url = f"{rig.url}/v1/sessions"
    curl = Curl(rig.scratch, "sessions", [Request("POST", url, headers, data='{"name":"bench"}')] * _SESSIONS,
                SMALL_AT_ONCE)
    run_one(curl)
    curl.answers(201)
    quiet.until_done(rig)


def _large(rig: Rig, sources: Sources, sizes: Sizes) -> None:
    """Uploads files in chunks. Most events record bytes of a file whose rows already exist."""
    file = sources.file("large", sizes.warm_up_bytes * _LARGE_PARTS)
    for _ in range(_LARGE_FILES):
        _send(rig, ours.Chunks(rig, [file], sources.chunks(file)))


def _send(rig: Rig, attempt: ours.Ours) -> None:
    attempt.prepare()
    attempt.send()
    quiet.until_done(rig)
    attempt.check()
    rig.reset_bucket(attempt.bucket)


def _replay(rig: Rig, result: Rebuild, schema: str, more: Dict[str, str]) -> float:
    meter = Meter(rig.stack.pids())
    meter.start()
    said, wall_s = _waybill(rig, ["replay", "--into", schema], **more)
    cpu_s = meter.stop().cpu_s
    # The CPU time of waited-for children: here, the command is the only one.
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
