"""Measures downloads of one large file and of a small one: through Waybill with a token and with a media URL, from the bare store, and
through nginx in front of the same store."""

import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Callable, Dict, List, Tuple

from stacklib.console import StackError, say
from stacklib.stack import Role

from . import quiet, rig as rigs, roles
from .curl import Curl, Request, run_one
from .rig import Rig
from .scale import Company
from .sources import Sources
from .usage import Meter

NAMES = ("raw", "nginx", "content", "media URL")
_NGINX = Role("nginx", signal.SIGTERM, 10)
_SMALL_BYTES = 100_000
# Bytes of the large file that each of many concurrent requests reads.
_PIECE_BYTES = 64 << 20
AT_ONCE = 64
_CONFIG = """\
worker_processes 2; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream store {{ server {store}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://store; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host {store};
      proxy_max_temp_file_size 0;
    }}
    location = /healthz {{ return 200; }}
  }}
}}
"""


@dataclass(frozen=True)
class Load:
    what: str
    is_large: bool
    requests: int
    at_once: int
    # Bytes of each request; 0 for the whole file.
    piece_bytes: int = 0


LOADS = (
    Load("1 GiB, one at a time", True, 3, 1),
    Load("64 MiB of 1 GiB, 64 at once", True, 64, AT_ONCE, _PIECE_BYTES),
    Load("100 KB, one at a time", False, 1_000, 1),
    Load("100 KB, 64 at once", False, 4_000, AT_ONCE),
)


@dataclass
class Run:
    wall_s: float
    requests: int
    sent_bytes: int
    cpu_s: Dict[str, float]


@dataclass
class Downloads:
    # Runs by load and contestant, in the order of the rounds.
    runs: Dict[str, Dict[str, List[Run]]] = field(default_factory=dict)

    def ratio(self, load: str, one: str, other: str) -> List[float]:
        """Returns how much faster one contestant was than the other, in each round."""
        both = zip(self.runs[load][one], self.runs[load][other])
        return [second.wall_s / first.wall_s for first, second in both]


def measure(rig: Rig, sources: Sources, large_bytes: int, rounds: int) -> Downloads:
    company = Company(rig)
    large, small = sources.file("one", large_bytes), sources.many("small", 1, _SMALL_BYTES)[0]
    ids = [_upload(company, source.path, source.size_bytes) for source in (large, small)]
    nginx = _start_nginx(rig)
    make = {"raw": _of_store(rig, rig.store.endpoint, ids), "nginx": _of_store(rig, nginx, ids),
            "content": lambda is_large: (f"{rig.url}/v1/files/{ids[not is_large]}/content",
                                         {"Authorization": f"Bearer {company.token}"}),
            "media URL": lambda is_large: (_media_url(rig, company, ids[not is_large]), {})}
    result = Downloads({load.what: {name: [] for name in NAMES} for load in LOADS})
    for load in LOADS:
        size_bytes = load.piece_bytes and min(load.piece_bytes, large_bytes) or (large_bytes if load.is_large else _SMALL_BYTES)
        for number in range(rounds):
            # Each contestant begins once, if there are enough rounds.
            for name in (*NAMES[number % len(NAMES):], *NAMES[:number % len(NAMES)]):
                run = _run(rig, load, size_bytes, make[name])
                result.runs[load.what][name].append(run)
                say(f"  {load.what}, {name}: {run.wall_s:.2f} s, {run.sent_bytes / run.wall_s / 1e6:,.0f} MB/s, "
                    f"{run.requests / run.wall_s:,.0f} requests/s")
    rig.stack.stop_one(_NGINX)
    return result


def _run(rig: Rig, load: Load, size_bytes: int, make: Callable[[bool], Tuple[str, Dict[str, str]]]) -> Run:
    url, headers = make(load.is_large)
    if load.piece_bytes:
        headers = {**headers, "Range": f"bytes=0-{size_bytes - 1}"}
    request = Request("GET", url, headers, size_bytes=size_bytes)
    # The first request of a contestant fills its caches.
    warm = Curl(rig.scratch, "warm", [request])
    run_one(warm)
    code = 206 if load.piece_bytes else 200
    warm.answers(code)
    quiet.until_settled(rig)
    curl = Curl(rig.scratch, "downloads", [request] * load.requests, load.at_once)
    meter = Meter(rig.stack.pids())
    meter.start()
    wall_s = run_one(curl)
    used = meter.stop()
    curl.answers(code)
    return Run(wall_s, load.requests, size_bytes * load.requests, used.cpu_s)


def _upload(company: Company, path: Path, size_bytes: int) -> str:
    with open(path, "rb") as file:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes), "Prefer": "wait=60"}
        _, body = company.ask("POST", "/v1/files?name=file.bin", file, headers)
    return body["file_id"]


def _of_store(rig: Rig, address: str, ids: List[str]) -> Callable[[bool], Tuple[str, Dict[str, str]]]:
    def make(is_large: bool) -> Tuple[str, Dict[str, str]]:
        key = rig.sql(f"SELECT storage_key FROM file WHERE id = '{ids[not is_large]}'").strip()
        if not key:
            raise StackError("the file is not verified")
        url = rig.store.presign("GET", f"/{rigs.OURS}/{key}")
        return url.replace(rig.store.endpoint, address, 1), {}
    return make


def _media_url(rig: Rig, company: Company, file_id: str) -> str:
    item = {"file_id": file_id, "disposition": "attachment"}
    _, made = company.ask("POST", "/v1/media-urls", {"items": [item], "ttl_s": 3_600})
    return rig.url + made["items"][0]["url"]


def _start_nginx(rig: Rig) -> str:
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        raise StackError("the scenario downloads needs nginx")
    folder, port = rig.scratch / "nginx", rig.free_port()
    folder.mkdir()
    # The workers of nginx have another user.
    folder.chmod(0o777)
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, store=rig.store.endpoint.split("//")[1]))
    argv = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    child = rig.stack.start(_NGINX, argv)
    address = f"http://127.0.0.1:{port}"
    rig.stack.wait_ready(_NGINX, child, lambda: roles.answers(f"{address}/healthz"), 30)
    return address


def table(result: Downloads) -> Tuple[List[str], List[List[str]]]:
    """Returns the heads and the rows of the result."""
    heads = ["load", "", "MB/s", "requests/s", "to raw", "to nginx", "CPU s/GB: contestant", "store", "postgres", "nats"]
    rows = []
    for load, runs in result.runs.items():
        for name, of in runs.items():
            middle = sorted(of, key=lambda run: run.wall_s)[len(of) // 2]
            per_gb = 1e9 / middle.sent_bytes
            own = {"raw": 0.0, "nginx": middle.cpu_s.get("nginx", 0.0)}.get(
                name, sum(middle.cpu_s.get(role, 0.0) for role in (*roles.NAMES, "all")))
            ratios = [f"{median(result.ratio(load, name, other)):.2f}" if name != other else "–" for other in ("raw", "nginx")]
            rows.append([load, name, f"{middle.sent_bytes / middle.wall_s / 1e6:,.0f}", f"{middle.requests / middle.wall_s:,.0f}",
                         *ratios, f"{own * per_gb:.2f}",
                         *(f"{middle.cpu_s.get(server, 0) * per_gb:.2f}" for server in ("weed", "postgres", "nats"))])
    return heads, rows
