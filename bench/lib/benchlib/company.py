"""Compares a company with many files with one with 1,000 files: changes of the quota, starts of uploads, purges and
recalculations."""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, List

from stacklib.console import StackError, say

from . import fill, quiet, roles
from .rig import Rig
from .scale import Company
from .usage import Meter

# Number of files of the first level.
FEW = 1_000
_EACH = 30
_RECALCULATIONS = 10
_RECALCULATE_EVERY_S = 1
_SWEEP_MS = 100
_WITHIN_S = 300
# Long, because workers react to each file.
_DONE_WITHIN_S = 7_200


@dataclass
class Level:
    files: int
    # Milliseconds, by kind of request. For recalculations: the time between two of them minus one second.
    ms: Dict[str, List[float]] = field(default_factory=dict)
    # Of each process during the requests of this level. The CPU time of recalculations is per recalculation.
    peak_kib: Dict[str, int] = field(default_factory=dict)
    cpu_s: Dict[str, float] = field(default_factory=dict)
    recalculation_cpu_s: Dict[str, float] = field(default_factory=dict)


def measure(rig: Rig, files: int) -> List[Level]:
    levels = []
    for count in sorted({min(FEW, files), files}):
        # Use a new company for each level, because the sweep does not recalculate a company with recently purged files.
        company = Company(rig)
        like = _first(company)
        quiet.until_done(rig)
        rig.restart_nats(durable=False)
        quiet.until_done(rig)
        say(f"  {count:,} files: writing their events")
        fill.files(rig.env["WAYBILL_NATS_URL"], like, count - 1, lambda made: say(f"  {made:,} files"))
        rig.restart_nats()
        quiet.until_done(rig, _DONE_WITHIN_S)
        _must_have(company, count)
        # The first change creates a snapshot, like the changes of a real company. Restart the roles, because filling the log has
        # increased their memory.
        company.ask("PUT", f"/v1/admin/companies/{company.id}/quota", {"storage_limit_bytes": 1 << 49})
        rig.restart_roles()
        _until(lambda: roles.answers(f"{rig.url}/readyz"), "the gateway is not ready")
        levels.append(_level(rig, company, count))
    return levels


def _first(company: Company) -> fill.Like:
    content = b"the first of many files"
    _, made = company.ask("POST", "/v1/files?name=first.bin", content, {"Content-Type": "application/octet-stream"})
    return fill.Like(company.id, made["upload_id"], hashlib.sha256(content).digest(), len(content))


def _must_have(company: Company, count: int) -> None:
    """Checks that the quota and the tables contain all files."""
    quota = _quota(company)
    if quota["file_count"] != count or quota["storage_reserved_bytes"]:
        raise StackError(f"{count} files were written, but the quota is {quota}")


def _level(rig: Rig, company: Company, count: int) -> Level:
    level = Level(count)
    _recalculate(rig, company, level)
    meter = Meter(rig.stack.pids())
    meter.start()
    for what, ask in _kinds(company).items():
        level.ms[what] = [ask(n) for n in range(_EACH)]
    quiet.until_done(rig)
    used = meter.stop()
    level.peak_kib, level.cpu_s = used.peak_kib, used.cpu_s
    for what, ms in level.ms.items():
        say(f"  {count:,} files, {what}: median {sorted(ms)[len(ms) // 2]:.1f} ms, worst {max(ms):.1f} ms")
    return level


def _kinds(company: Company) -> Dict[str, Callable[[int], float]]:
    admin = f"/v1/admin/companies/{company.id}"

    def limit(n: int) -> float:
        return _timed(lambda: company.ask("PUT", f"{admin}/quota", {"storage_limit_bytes": (1 << 50) + n}))

    def begin(_: int) -> float:
        started = []
        took = _timed(lambda: started.append(
            company.ask("POST", "/v1/uploads", {"name": "new.bin", "size_bytes": 10, "mime_type": ""})[1]))
        company.ask("DELETE", f"/v1/uploads/{started[0]['upload_id']}")
        return took

    return {
        "quota changed": limit,
        "GET of the company": lambda _: _timed(lambda: company.ask("GET", admin)),
        "GET of the quota": lambda _: _timed(lambda: company.ask("GET", "/v1/quota")),
        "start of an upload": begin,
        "purge until its space is free": lambda _: _purge(company),
    }


def _purge(company: Company) -> float:
    before = _quota(company)["file_count"]
    file = company.upload()
    _until(lambda: _quota(company)["file_count"] == before + 1, "the reservation of a file was not settled")
    began = time.perf_counter()
    company.ask("DELETE", f"/v1/files/{file}?purge=true")
    _until(lambda: _quota(company)["file_count"] == before, "the space of a purged file was not released")
    return (time.perf_counter() - began) * 1_000


def _recalculate(rig: Rig, company: Company, level: Level) -> None:
    """Lets the worker recalculate the quota every second, and measures the times between recalculations."""
    often = {"WAYBILL_RECALCULATE_EVERY_S": str(_RECALCULATE_EVERY_S), "WAYBILL_WORKER_SWEEP_MS": str(_SWEEP_MS)}
    roles.restart_worker(rig.stack, rig.program, {**rig.env, **often})
    seen = [_quota(company)["last_calculated_at"]]

    def next_one() -> float:
        # Change the quota, because the sweep skips companies without changes.
        limit = {"storage_limit_bytes": (1 << 50) + len(seen)}
        company.ask("PUT", f"/v1/admin/companies/{company.id}/quota", limit)
        _until(lambda: _quota(company)["last_calculated_at"] != seen[-1], "the quota was not recalculated")
        seen.append(_quota(company)["last_calculated_at"])
        return time.perf_counter()

    next_one()
    meter = Meter(rig.stack.pids())
    meter.start()
    times = [next_one() for _ in range(_RECALCULATIONS + 1)]
    used = meter.stop()
    pauses = [later - earlier for earlier, later in zip(times, times[1:])]
    level.ms["recalculation, beyond its second"] = [(pause - _RECALCULATE_EVERY_S) * 1_000 for pause in pauses]
    level.recalculation_cpu_s = {name: cpu / len(times) for name, cpu in used.cpu_s.items()}
    roles.restart_worker(rig.stack, rig.program, rig.env)
    # Wait until the gateway has found the worker again.
    _until(lambda: roles.answers(f"{rig.url}/readyz"), "the gateway is not ready")


def _quota(company: Company) -> dict:
    return company.ask("GET", "/v1/quota")[1]


def _timed(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1_000


def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not is_so():
        if time.monotonic() > deadline:
            raise StackError(otherwise)
        time.sleep(0.005)
