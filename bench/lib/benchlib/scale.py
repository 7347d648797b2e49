"""Measures requests about old uploads and idle companies in a partition that is full of events of other companies."""

import http.client
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from statistics import median
from typing import Callable, Dict, List, Tuple
from urllib.parse import urlsplit

from stacklib import waybill
from stacklib.console import StackError, say

from . import fill, progress, quiet
from .queries import percentile
from .rig import Rig

# Other companies, whose events fill the partition.
_OTHERS = 100
# Number of timed requests of each kind that changes something. Each level has its own old files and idle companies, so that
# each of them has the same history at each level.
_EACH = 200
_WARM_READS = 400
# Requests of each kind for warming up, which are not timed.
_WARM_UP = 5
# Cold requests: for each kind, nats-server is restarted this often, and then answers this many requests. The first one finds
# nothing in memory.
_ROUNDS, _PER_ROUND = 3, 3
_COLD = _ROUNDS * _PER_ROUND
# Number of half uploads per level.
_UNFINISHED = 50


@dataclass
class Level:
    """Milliseconds of each answer, by kind of request. Appends are concurrent `POST /v1/sessions` of another company. The first
    level has no events of other companies; it has no cold requests."""

    events: int
    warm: Dict[str, List[float]] = field(default_factory=dict)
    cold: Dict[str, List[float]] = field(default_factory=dict)
    appends: List[float] = field(default_factory=list)

    def cold_first(self, what: str) -> float:
        """Returns the median of the first requests after the restarts."""
        return median(self.cold[what][::_PER_ROUND])


@dataclass
class Scale:
    baseline: List[float] = field(default_factory=list)
    levels: List[Level] = field(default_factory=list)


class Company:
    def __init__(self, rig: Rig):
        self.id, self.user = str(uuid.uuid4()), str(uuid.uuid4())
        self._rig, self._host = rig, urlsplit(rig.url).netloc
        self.token = waybill.token(rig.program, rig.env, self.id, self.user, roles=("admin", "auditor"))
        self._connection = http.client.HTTPConnection(self._host, timeout=60)

    def ask(self, method: str, path: str, body=None, headers=None, expect=(200, 201, 204)) -> Tuple[dict, dict]:
        headers = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if isinstance(body, dict):
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        for attempt in range(20):
            try:
                self._connection.request(method, path, body, headers)
                answer = self._connection.getresponse()
                text = answer.read()
            except (http.client.HTTPException, OSError):
                # The first failure can be a connection that was idle for too long.
                self._connection.close()
                time.sleep(0.5 if attempt else 0)
                continue
            if answer.status in expect:
                return dict(answer.getheaders()), json.loads(text) if text else {}
            raise StackError(f"{method} {path}: {answer.status} {text[:200]!r}")
        raise StackError(f"{method} {path}: no answer")

    def close(self) -> None:
        """Closes the connection. The next request opens another one."""
        self._connection.close()

    def upload(self) -> str:
        _, body = self.ask("POST", "/v1/files?name=old.bin", b"old bytes " + uuid.uuid4().bytes,
                           {"Content-Type": "application/octet-stream"})
        return body["upload_id"]

    def begin(self) -> str:
        """Starts a tus upload and sends half of its bytes."""
        tus = {"Tus-Resumable": "1.0.0"}
        headers, _ = self.ask("POST", "/tus/", b"", {**tus, "Upload-Length": "2000"})
        path = urlsplit(next(value for name, value in headers.items() if name.lower() == "location")).path
        self.ask("PATCH", path, bytes(1_000), {
            **tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"})
        return path


@dataclass
class _Old:
    """Old uploads of a company, and idle companies, for one level. Levels share none of them: what one level changed would be
    in other blocks of the log than the rest, and make the cold requests of the next level slower."""

    ours: Company
    whole: List[str]
    unfinished: List[str]
    idle: List[Company]
    thread: str


def measure(rig: Rig, steps: List[int]) -> Scale:
    result = Scale()
    writer = Company(rig)
    others = [Company(rig) for _ in range(_OTHERS)]
    for company in others:
        company.upload()
    say("  old uploads and idle companies")
    steps = [0, *steps]
    old = [_old(rig) for _ in steps]
    quiet.until_done(rig)
    with _Appends(writer) as appends:
        time.sleep(5)
    result.baseline = appends.ms
    result.levels.append(_level(rig, 0, writer, old[0]))
    written = 0
    for events, its in zip(steps[1:], old[1:]):
        rig.restart_nats(durable=False)
        before = events - written
        fill.sessions(rig.env["WAYBILL_NATS_URL"], [(it.id, it.user) for it in others], before,
                      lambda made: say(f"  {written + made:,} events"))
        written = events
        rig.restart_nats()
        quiet.until_done(rig, 3_600)
        level = _level(rig, events, writer, its)
        _measure_cold(rig, level, writer, its)
        result.levels.append(level)
        for what in level.cold:
            say(f"  {what}: warm p99 {percentile(level.warm[what], 0.99):.1f} ms, cold {level.cold_first(what):.1f} ms")
    return result


def _old(rig: Rig) -> _Old:
    ours = Company(rig)
    need = _WARM_UP + _EACH + _COLD
    idle = [Company(rig) for _ in range(need)]
    # The first request of a company registers it and its user.
    for company in idle:
        company.upload()
        company.close()
    whole = [ours.upload() for _ in range(need)]
    thread = str(uuid.uuid4())
    ours.ask("PUT", f"/v1/admin/companies/{ours.id}/threads/{thread}", {})
    return _Old(ours, whole, [ours.begin() for _ in range(_UNFINISHED)], idle, thread)


def _level(rig: Rig, events: int, writer: Company, old: _Old) -> Level:
    level = Level(events)
    say(f"  {events:,} events: sending requests")
    kinds = _kinds(rig, old)
    for what, (ask, is_read) in kinds.items():
        with _Appends(writer) as appends:
            count = _WARM_READS if is_read else _EACH
            for n in range(_WARM_UP):
                ask(n)
            level.warm[what] = [_timed(ask, _WARM_UP + n) for n in range(count)]
        level.appends += appends.ms
    return level


def _measure_cold(rig: Rig, level: Level, writer: Company, old: _Old) -> None:
    for what, (ask, _) in _kinds(rig, old).items():
        level.cold[what] = []
        for number in range(_ROUNDS):
            new = writer.upload()
            rig.restart_nats()
            # Wait until the gateway and the fan-out have connected again. Read a new upload for this, because an old one may be
            # in the same block of the log as the next requests need, and nats-server would then have that block in memory.
            writer.ask("POST", "/v1/sessions", {}, expect=(201, 503))
            _until(lambda: writer.ask("GET", f"/v1/uploads/{new}", expect=(200, 503))[1].get("status"))
            _until(lambda: _has_snapshot(rig, writer, new))
            quiet.until_settled(rig)
            # These uploads and companies have no events since they are old, so that all their events are in one block.
            first = _WARM_UP + _EACH + number * _PER_ROUND
            level.cold[what] += [_timed(ask, first + n) for n in range(_PER_ROUND)]


def _until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > deadline:
            raise StackError("the gateway or the fan-out does not reconnect to NATS")
        time.sleep(0.2)


def _kinds(rig: Rig, old: _Old) -> Dict[str, Tuple[Callable[[int], object], bool]]:
    fanout = f"http://{rig.env['WAYBILL_FANOUT_ADDR']}"

    ours, own = old.ours, old.whole

    def company(n: int) -> Company:
        return old.idle[n % len(old.idle)]

    def begin(n: int):
        return company(n).ask("POST", "/v1/uploads", {"name": "new.bin", "size_bytes": 10, "mime_type": ""})

    def limit(n: int):
        path = f"/v1/admin/companies/{company(n).id}/quota"
        return company(n).ask("PUT", path, {"storage_limit_bytes": (1 << 50) + n})

    tus = {"Tus-Resumable": "1.0.0"}
    return {
        "GET of an upload": (lambda n: ours.ask("GET", f"/v1/uploads/{own[n % len(own)]}"), True),
        "tus HEAD of a half upload": (
            lambda n: ours.ask("HEAD", old.unfinished[n % len(old.unfinished)], headers=tus), True),
        "snapshot over WebSocket": (
            lambda n: _snapshot(fanout, ours.token, own[n % len(own)]), True),
        "rename": (lambda n: ours.ask("PATCH", f"/v1/files/{own[n]}", {"display_name": f"{n}.bin"}), False),
        "share": (lambda n: ours.ask("POST", f"/v1/files/{own[n]}/associations", {"thread_id": old.thread}), False),
        "delete": (lambda n: ours.ask("DELETE", f"/v1/files/{own[n]}"), False),
        "GET of an idle company": (
            lambda n: company(n).ask("GET", f"/v1/admin/companies/{company(n).id}"), True),
        "audit of an idle company": (lambda n: company(n).ask("GET", "/v1/audit?limit=100"), True),
        "start in an idle company": (begin, False),
        "its quota changed": (limit, False),
    }


def _snapshot(url: str, token: str, upload: str) -> None:
    answer = progress.snapshot(url, token, f"upload:{upload}")
    if answer["t"] != "snap":
        raise StackError(f"no snapshot: {answer}")


def _has_snapshot(rig, company: Company, upload: str) -> bool:
    try:
        _snapshot(f"http://{rig.env['WAYBILL_FANOUT_ADDR']}", company.token, upload)
    except (OSError, StackError):
        return False
    return True


def _timed(ask: Callable[[int], object], n: int) -> float:
    began = time.perf_counter()
    ask(n)
    return (time.perf_counter() - began) * 1_000


class _Appends:
    """Appends events of another company, one after the other, until the block ends."""

    def __init__(self, company: Company):
        self._company, self._ends = company, threading.Event()
        self.ms: List[float] = []

    def __enter__(self) -> "_Appends":
        self._thread = threading.Thread(target=self._append)
        self._thread.start()
        return self

    def _append(self) -> None:
        while not self._ends.is_set():
            self.ms.append(_timed(lambda _: self._company.ask("POST", "/v1/sessions", {}), 0))

    def __exit__(self, *_) -> None:
        self._ends.set()
        self._thread.join()
