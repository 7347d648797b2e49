"""Measures queries with many files in the tables: pages of small chatrooms and of a large one, and the metadata of one file.

seed.sql and seed_large.sql create the rows without events. The same requests are measured without and with Redis, if it is installed.
"""

import http.client
import json
import multiprocessing
import random
import resource
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from stacklib import waybill
from stacklib.console import StackError, say
from stacklib.stack import Role

from .rig import Rig
from .usage import Meter

CONNECTIONS = 32
_PROCESSES = 4
# First requests of each kind, for which the connections to PostgreSQL make plans.
_UNTIMED = 4 * CONNECTIONS
# Times that each file is asked for.
_EACH = 10
_REDIS = Role("redis", signal.SIGTERM, 15)
_LIB = Path(__file__).resolve().parent.parent


@dataclass
class Queries:
    files: int
    chatrooms: int
    # Milliseconds of each answer, by kind of query.
    ms: Dict[str, List[float]] = field(default_factory=dict)
    # CPU seconds of each process, by kind of query.
    cpu_s: Dict[str, Dict[str, float]] = field(default_factory=dict)
    # Rows of the large tables that sequential scans read while the load ran.
    sequentially_read: int = 0
    with_redis: Optional["Queries"] = None


def percentile(values: List[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def seed(rig: Rig, result: Queries) -> None:
    say(f"  {result.files:,} files in {result.chatrooms:,} chatrooms")
    text = (_LIB / "seed.sql").read_text().replace(":files", str(result.files))
    rig.sql(text.replace(":chatrooms", str(result.chatrooms)))
    say(f"  {result.files:,} files in another chatroom")
    rig.sql((_LIB / "seed_large.sql").read_text().replace(":files", str(result.files)))


def run(rig: Rig, paths: Dict[str, List[str]], token: str, result: Queries) -> None:
    """Requests each kind of path from all connections in parallel."""
    scanned = _rows_scanned(rig)
    for what, all_paths in paths.items():
        _load(rig.url, all_paths[:_UNTIMED], token)
        meter, client = Meter(rig.stack.pids()), _client_cpu_s()
        meter.start()
        result.ms[what] = _load(rig.url, all_paths[_UNTIMED:], token)
        cpu_s = result.cpu_s[what] = meter.stop().cpu_s
        cpu_s["client"] = _client_cpu_s() - client
        p50, p99 = percentile(result.ms[what], 0.5), percentile(result.ms[what], 0.99)
        used = ", ".join(f"{name} {cpu_s[name]:.1f}" for name in ("gateway", "all", "postgres", "redis", "client") if name in cpu_s)
        say(f"  {what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms; CPU s: {used}")
    result.sequentially_read = _rows_scanned(rig) - scanned


def _client_cpu_s() -> float:
    """Returns the CPU seconds of the processes that sent requests and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rows_scanned(rig: Rig) -> int:
    time.sleep(1.5)  # PostgreSQL updates its counters with a delay of one second
    return int(rig.sql("SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE relname"
                       " ~ '^(file|file_p.*|file_association|member)$'").strip())


def _load(url: str, paths: List[str], token: str) -> List[float]:
    with multiprocessing.Pool(_PROCESSES, _leave_signals) as pool:
        shares = [(url, paths[number::_PROCESSES], token) for number in range(_PROCESSES)]
        return [ms for part in pool.map(_of_process, shares) for ms in part]


def _leave_signals() -> None:
    """Restores the default handler: the pool ends its processes with SIGTERM, which must not count as an interruption."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _of_process(share: Tuple[str, List[str], str]) -> List[float]:
    url, paths, token = share
    threads, found, failed = [], [], []
    each = CONNECTIONS // _PROCESSES

    def ask(own: List[str]) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        for path in own:
            began = time.perf_counter()
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failed.append((path, answer.status))
                return
            found.append((time.perf_counter() - began) * 1_000)

    for number in range(each):
        threads.append(threading.Thread(target=ask, args=(paths[number::each],)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    if failed:
        raise StackError(f"a query failed: {failed[0]}")
    return found


def measure(rig: Rig, files: int, chatrooms: int, count: int) -> Queries:
    result = Queries(files, chatrooms)
    seed(rig, result)
    # User 7 of company 7 belongs to the chatrooms 7, 27, 47, … and may read the files 7, 27, 47, …
    company, user = rig.sql("SELECT md5('company7')::uuid, md5('user7')::uuid").strip().split("|")
    token = waybill.token(rig.program, rig.env, company, user, roles=())
    rooms = _ids(rig, "chatroom", chatrooms)
    own = _ids(rig, "file", min(files, 20 * count))
    own = own[:max(1, count // _EACH)]
    first = [f"/v1/files?chatroom_id={rooms[number % len(rooms)]}&limit=50" for number in range(count)]
    deep = [_pages(rig.url, room, token, files // chatrooms // 2)[-1] for room in rooms[:CONNECTIONS]]
    large = rig.sql("SELECT md5('large')::uuid").strip()
    first_of_large = f"/v1/files?chatroom_id={large}&limit=50"
    all_of_large = _pages(rig.url, large, token, files // 2)
    paths = {
        "a chatroom's first page": first,
        "a page deep inside": [deep[number % len(deep)] for number in range(count)],
        "the first page of the large chatroom": [first_of_large] * count,
        "a page in its middle": all_of_large[-1:] * count,
        "its pages, each once": random.Random(1).sample(all_of_large, len(all_of_large)),
        "one file's metadata": [f"/v1/files/{own[number % len(own)]}" for number in range(count)],
    }
    _begin_log(rig)
    run(rig, paths, token, result)
    result.with_redis = _with_redis(rig, paths, token, result)
    return result


def _begin_log(rig: Rig) -> None:
    """Appends the first events, and waits until the tables contain them. Before that, the tables belong to no log."""
    connection = http.client.HTTPConnection(urlsplit(rig.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {rig.observer}", "Content-Type": "text/plain"}
    connection.request("POST", "/v1/files?name=first.txt", b"the first file", headers)
    answer = connection.getresponse()
    if answer.status != 201:
        raise StackError(f"a file cannot be uploaded: {answer.status} {answer.read()[:200]!r}")
    deadline = time.monotonic() + 30
    while rig.sql("SELECT count(*) FROM projection_checkpoint WHERE epoch <> ''").strip() == "0":
        if time.monotonic() > deadline:
            raise StackError("the tables do not follow the log")
        time.sleep(0.1)


def _with_redis(rig: Rig, paths: Dict[str, List[str]], token: str, plain: Queries) -> Optional[Queries]:
    """Measures the same requests with Redis. Returns None if Redis is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        say("  redis-server is not installed, so nothing is measured with Redis")
        return None
    port = rig.free_port()
    argv = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    rig.stack.start(_REDIS, argv)
    rig.env["WAYBILL_REDIS_URL"] = f"redis://127.0.0.1:{port}"
    rig.restart_roles()
    say("  with Redis")
    result = Queries(plain.files, plain.chatrooms)
    run(rig, paths, token, result)
    return result


def _ids(rig: Rig, kind: str, up_to: int) -> List[str]:
    text = f"SELECT md5('{kind}' || n)::uuid FROM generate_series(7, {up_to - 1}, 20) n"
    return rig.sql(text).split()


def _pages(url: str, room: str, token: str, behind: int) -> List[str]:
    """Returns the paths of pages of a chatroom, one after each 200 files, up to the one after `behind` files."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    base = f"/v1/files?chatroom_id={room}&limit=50"
    path = most = f"/v1/files?chatroom_id={room}&limit={min(behind, 200)}"
    pages = []
    for _ in range(max(1, behind // 200)):
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        cursor = json.loads(answer.read()).get("next_cursor")
        if answer.status != 200 or not cursor:
            raise StackError(f"a chatroom has no next page: {answer.status}")
        path = f"{most}&cursor={cursor}"
        pages.append(f"{base}&cursor={cursor}")
    return pages
