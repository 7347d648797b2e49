"""Measures the role `content`: how many previews and virus scans it makes per second, what they cost, and whether verifications
wait for them.

clamd has one signature, because its own ones cannot be part of a benchmark. A clamd with all signatures needs more time for each
file, and about 1.3 GB of memory.
"""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Tuple

from stacklib import apt, clamd
from stacklib.console import StackError, say

from . import quiet, roles
from .rig import Rig
from .scale import Company
from .usage import Meter

# Number of queued files while verifications are timed, and number of timed verifications.
QUEUED = 1_000
_VERIFICATIONS = 400
# Number of photos of 12 megapixels, and of texts of 100 KB, whose throughput is measured.
PHOTOS, TEXTS = 100, 1_000
_DONE_WITHIN_S = 1_800
# Rare, because each look takes the CPU time of a few previews.
_LOOK_S = 0.5
# The Python of the system has Pillow as a package.
_PYTHON = "/usr/bin/python3"
_DRAW = """
import random, sys
from PIL import Image, ImageFilter
folder, seed = sys.argv[1], 7
random.seed(seed)
for name, size, count, quality in (("photo", (4000, 3000), 4, 92), ("small", (800, 600), 10, 85)):
    for number in range(count):
        noise = Image.frombytes("RGB", (200, 150), random.randbytes(200 * 150 * 3))
        grain = Image.frombytes("L", size, random.randbytes(size[0] * size[1])).point(lambda value: value // 12)
        picture = noise.resize(size, Image.BICUBIC).filter(ImageFilter.GaussianBlur(2))
        picture = Image.composite(Image.new("RGB", size, (255, 255, 255)), picture, grain)
        picture.save(f"{folder}/{name}-{number}.jpg", quality=quality)
"""


@dataclass
class Work:
    """Files that the role processed after it had been away."""

    what: str
    files: int
    file_bytes: int
    wall_s: float
    cpu_s: Dict[str, float]
    peak_kib: Dict[str, int]


@dataclass
class Content:
    works: List[Work] = field(default_factory=list)
    # Milliseconds from the request that completes an upload to its answer after the verification.
    idle_ms: List[float] = field(default_factory=list)
    # The same with queued work that waits while the machine is busy, and with work that never waits.
    queued_ms: List[float] = field(default_factory=list)
    never_waiting_ms: List[float] = field(default_factory=list)
    # Number of files without previews when the last verification was timed.
    still_queued: int = 0
    never_waiting_queued: int = 0
    # Seconds from the last verification until all queued files were processed.
    rest_s: float = 0.0


class Pipeline:
    """The role, and the files of one company."""

    def __init__(self, rig: Rig, policy: str):
        self.rig, self.company = rig, Company(rig)
        self.sent = 0
        self.company.ask("PUT", f"/v1/admin/companies/{self.company.id}", {"scan": policy})

    def send(self, content: bytes, mime_type: str) -> None:
        # The bytes at the end differ, so that no file has the verdict of another one.
        self.sent += 1
        headers = {"Content-Type": mime_type}
        self.company.ask("POST", f"/v1/files?name=file.bin&mime_type={mime_type}", content + b"%08d" % self.sent, headers)

    def left(self, column: str) -> int:
        where = f"company_id = '{self.company.id}' AND is_processed"
        return int(self.rig.sql(f"SELECT count(*) FROM file WHERE {where} AND {column} IS NULL"))

    def verify(self) -> float:
        """Uploads 100 KB in one chunk. Returns the milliseconds of the completion."""
        company = self.company
        content = b"%012d" % time.time_ns() + b"x" * 99_988
        start = {"name": "timed.bin", "size_bytes": len(content), "mime_type": "application/octet-stream"}
        upload = f"/v1/uploads/{company.ask('POST', '/v1/uploads', start)[1]['upload_id']}"
        company.ask("PUT", f"{upload}/chunks/0", content)
        began = time.perf_counter()
        company.ask("POST", f"{upload}/complete", {}, {"Prefer": "wait=60"})
        return (time.perf_counter() - began) * 1_000


def measure(rig: Rig) -> Content:
    pictures = _pictures(rig.scratch)
    scanner = _start_clamd(rig)
    env = {**rig.env, "WAYBILL_CLAMD": scanner, "WAYBILL_CONTENT_SEARCH_MS": "300"}
    result = Content()
    # The role creates the consumers of its events.
    _start(rig, env)
    scanned = Pipeline(rig, "inform")
    scanned.send(b"the first file", "text/plain")
    _until(lambda: scanned.left("scan") == 0, "the first file was not scanned")
    say(f"  {_VERIFICATIONS} verifications while the role is idle")
    result.idle_ms = [scanned.verify() for _ in range(_VERIFICATIONS)]
    _until(lambda: scanned.left("scan") == 0, "the files were not scanned")

    result.works.append(_work(rig, env, "scans of texts", scanned, [b"text " * 20_000] * TEXTS, "text/plain", "scan"))
    unscanned = Pipeline(rig, "off")
    photos = [pictures["photo"][number % len(pictures["photo"])] for number in range(PHOTOS)]
    result.works.append(_work(rig, env, "previews of photos of 12 megapixels", unscanned, photos, "image/jpeg", "preview"))
    small = [pictures["small"][number % len(pictures["small"])] for number in range(QUEUED)]
    result.works.append(_work(rig, env, "previews of pictures of 0.5 megapixels", unscanned, small[:300], "image/jpeg", "preview"))

    result.queued_ms, result.still_queued, result.rest_s = _verify_with_queue(rig, env, unscanned, small)
    never_waiting = {**env, "WAYBILL_CONTENT_MAX_BUSY": "100"}
    result.never_waiting_ms, result.never_waiting_queued, _ = _verify_with_queue(rig, never_waiting, unscanned, small)
    return result


def _verify_with_queue(
    rig: Rig, env: Dict[str, str], timed: Pipeline, contents: List[bytes]
) -> Tuple[List[float], int, float]:
    """Times verifications while scans and previews are queued. Returns the times in milliseconds, the number of files without
    previews at the end, and the seconds until they had them."""
    say(f"  {len(contents):,} scans and previews are queued, and {_VERIFICATIONS} verifications")
    _stop(rig)
    queued, times = Pipeline(rig, "inform"), []
    for content in contents:
        queued.send(content, "image/jpeg")
    quiet.until_done(rig)
    _start(rig, env)
    while len(times) < _VERIFICATIONS and queued.left("preview") + queued.left("scan") > 0:
        times.extend(timed.verify() for _ in range(_VERIFICATIONS // 4))
    left, began = queued.left("preview"), time.perf_counter()
    _until(lambda: queued.left("preview") + queued.left("scan") == 0, "the queued files were not processed")
    return times, left, time.perf_counter() - began


def _work(
    rig: Rig, env: Dict[str, str], what: str, pipeline: Pipeline, contents: List[bytes], mime_type: str, column: str
) -> Work:
    """Sends files while the role is away, and measures how it processes them."""
    _stop(rig)
    for content in contents:
        pipeline.send(content, mime_type)
    quiet.until_done(rig)
    # The peak of the first seconds after the start, and the time until all files are processed.
    _start(rig, env)
    meter = Meter(rig.stack.pids())
    meter.start()
    began = time.perf_counter()
    _until(lambda: pipeline.left(column) == 0, f"{what}: not all files were processed")
    wall_s = time.perf_counter() - began
    used = meter.stop()
    work = Work(what, len(contents), len(contents[0]), wall_s, used.cpu_s, used.peak_kib)
    say(f"  {len(contents):,} {what}: {wall_s:.1f} s, {work.cpu_s['content']:.1f} CPU s of the role")
    return work


def _start(rig: Rig, env: Dict[str, str]) -> None:
    roles.start_one(rig.stack, rig.program, env, "content")


def _stop(rig: Rig) -> None:
    rig.stack.stop_one(roles.role("content"))


def _start_clamd(rig: Rig) -> str:
    folder = rig.folder / "clamd"
    signatures = folder / "signatures"
    signatures.mkdir(parents=True)
    (signatures / "one.ndb").write_text("Waybill-Test:0:*:57617962696c6c2074657374207369676e6174757265\n")
    return clamd.start(rig.stack, clamd.program(), folder, rig.free_port(), signatures)


def _pictures(folder: Path) -> Dict[str, List[bytes]]:
    """Draws pictures that compress like photos."""
    if subprocess.run([_PYTHON, "-c", "import PIL"], capture_output=True).returncode and not apt.install("python3-pil"):
        raise StackError("the benchmark `content` needs Pillow (Debian, Ubuntu: apt-get install python3-pil)")
    subprocess.run([_PYTHON, "-c", _DRAW, str(folder)], check=True)
    read = lambda name: [path.read_bytes() for path in sorted(folder.glob(f"{name}-*.jpg"))]
    return {name: read(name) for name in ("photo", "small")}


def _until(is_so, otherwise: str) -> None:
    deadline = time.monotonic() + _DONE_WITHIN_S
    while not is_so():
        if time.monotonic() > deadline:
            raise StackError(otherwise)
        time.sleep(_LOOK_S)
