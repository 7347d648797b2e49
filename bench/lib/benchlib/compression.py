"""Measures compressed objects: what they save for each kind of file, what it costs to make them, and what it costs to read them."""

import array
import http.client
import json
import math
import random
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Tuple

from stacklib import corpus
from stacklib.console import StackError, say
from stacklib.home import REPOSITORY

from . import roles
from .rig import Rig
from .scale import Company
from .usage import Meter

LEVELS = (1, 3, 6, 9)
# Size of the files that are generated, and number of reads of one of them.
_BYTES = 16 << 20
_READS = 40
# Smaller files are not compressed.
_LEAST_BYTES = 64 << 10
_DONE_WITHIN_S = 900
_LOOK_S = 0.2


@dataclass
class Level:
    """Compression of all files with one level."""

    level: int
    file_bytes: int = 0
    stored_bytes: int = 0
    wall_s: float = 0
    cpu_s: Dict[str, float] = field(default_factory=dict)
    peak_kib: int = 0
    # Stored bytes by kind.
    kinds: Dict[str, int] = field(default_factory=dict)


@dataclass
class Reads:
    """Reads of one file."""

    what: str
    file_bytes: int
    sent_bytes: int
    wall_s: float
    cpu_s: Dict[str, float]


@dataclass
class Compression:
    sizes: Dict[str, int] = field(default_factory=dict)
    levels: List[Level] = field(default_factory=list)
    reads: List[Reads] = field(default_factory=list)


def measure(rig: Rig) -> Compression:
    files = {**_generated(REPOSITORY), **_of_corpus()}
    result = Compression({kind: len(content) for kind, (_, content) in files.items()})
    for number, level in enumerate(LEVELS):
        company = Company(rig)
        ids = {kind: _send(company, mime_type, content + b"%04d" % level) for kind, (mime_type, content) in files.items()}
        if number == 0:
            result.reads.append(_read(rig, company, ids["JSON lines"], "not compressed", {}))
        result.levels.append(_compress(rig, company, ids, level))
        if level == 3:
            result.reads.append(_read(rig, company, ids["JSON lines"], "compressed", {}))
            accepts = {"Accept-Encoding": "zstd"}
            result.reads.append(_read(rig, company, ids["JSON lines"], "compressed, by clients that accept zstd", accepts))
            result.reads.append(_read(rig, company, ids["JSON lines"], "compressed, 64 KiB in the middle", {"Range": "bytes=8388608-8454143"}))
            result.reads.append(_read(rig, company, ids["random bytes"], "not compressed, 64 KiB in the middle", {"Range": "bytes=8388608-8454143"}))
    return result


def _send(company: Company, mime_type: str, content: bytes) -> str:
    _, body = company.ask("POST", f"/v1/files?name=file&mime_type={mime_type}", content, {"Content-Type": mime_type})
    return body["file_id"]


def _compress(rig: Rig, company: Company, ids: Dict[str, str], level: int) -> Level:
    env = {**rig.env, "WAYBILL_COMPRESS_AFTER_S": "0", "WAYBILL_CONTENT_SEARCH_MS": "300",
           "WAYBILL_COMPRESSION_LEVEL": str(level), "WAYBILL_PREVIEWS": "false"}
    roles.start_one(rig.stack, rig.program, env, "content")
    meter = Meter(rig.stack.pids())
    meter.start()
    began = time.perf_counter()
    # The condition of the index: files for which compression was not considered yet.
    condition = rig.sql("SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indexrelid = 'file_to_compress'::regclass")
    left = f"SELECT count(*) FROM file WHERE company_id = '{company.id}' AND ({condition})"
    while int(rig.sql(left)) > 0:
        if time.perf_counter() - began > _DONE_WITHIN_S:
            raise StackError("not all files were compressed")
        time.sleep(_LOOK_S)
    done = Level(level, wall_s=time.perf_counter() - began)
    used = meter.stop()
    done.cpu_s, done.peak_kib = used.cpu_s, used.peak_kib["content"]
    rig.stack.stop_one(roles.role("content"))
    for kind, file_id in ids.items():
        size_bytes, stored_bytes = rig.sql(f"SELECT size_bytes || ' ' || coalesce(stored_bytes, size_bytes) FROM file WHERE id = '{file_id}'").split()
        done.kinds[kind] = int(stored_bytes)
        if stored_bytes != size_bytes:
            done.file_bytes += int(size_bytes)
            done.stored_bytes += int(stored_bytes)
    say(f"  level {level}: {done.file_bytes:,} bytes became {done.stored_bytes:,} in {done.wall_s:.1f} s, "
        f"{done.cpu_s['content']:.1f} CPU s of the role")
    return done


def _read(rig: Rig, company: Company, file_id: str, what: str, headers: Dict[str, str]) -> Reads:
    connection = http.client.HTTPConnection(rig.url.split("//")[1], timeout=60)
    headers = {"Authorization": f"Bearer {company.token}", **headers}
    meter = Meter(rig.stack.pids())
    meter.start()
    began, sent = time.perf_counter(), 0
    buffer = bytearray(1 << 20)
    for _ in range(_READS):
        connection.request("GET", f"/v1/files/{file_id}/content", headers=headers)
        answer = connection.getresponse()
        if answer.status not in (200, 206):
            raise StackError(f"a read failed: {answer.status}")
        while length := answer.readinto(buffer):
            sent += length
    wall_s = time.perf_counter() - began
    used = meter.stop()
    connection.close()
    size_bytes = int(rig.sql(f"SELECT size_bytes FROM file WHERE id = '{file_id}'"))
    read = sent if "Range" in headers else size_bytes * _READS
    return Reads(what, read, sent, wall_s, used.cpu_s)


def _of_corpus() -> Dict[str, Tuple[str, bytes]]:
    """Returns the files of the corpus that are large enough and that companies accept."""
    folder = corpus.folder()
    kinds = json.loads((folder / "manifest.json").read_text())["kinds"]
    files = {}
    for kind in kinds:
        path = folder / kind["file"]
        if kind["class"] == "allowed" and path.stat().st_size >= _LEAST_BYTES:
            declared = next((one["type"] for one in kind["declared"] if one["type"]), "application/octet-stream")
            files[f"corpus: {kind['kind']}"] = (declared, path.read_bytes())
    return files


def _generated(root: Path) -> Dict[str, Tuple[str, bytes]]:
    made = random.Random(7)
    words = [line.strip() for path in sorted((root / "docs").rglob("*.md")) for line in path.read_text().splitlines() if line]
    word = lambda: made.choice(words)
    many = lambda line: "".join(line(number) for number in range(_BYTES // len(line(10**6)) + 1))[:_BYTES]
    log = many(lambda n: f"2026-11-29T12:{n // 60 % 60:02}:{n % 60:02}Z INFO request{{id={made.getrandbits(64):016x}}} "
               f"GET /v1/files/{made.getrandbits(40):010x} {made.choice((200, 206, 304, 404))} {made.randrange(900)}us\n")
    lines = many(lambda n: json.dumps({"id": n, "user": f"user-{made.randrange(10_000)}", "score": made.random(),
                                       "text": word()[:60]}) + "\n")
    table = many(lambda n: f"{n},{made.gauss(100, 15):.4f},{made.gauss(0, 1):.6f},{made.choice(('red', 'green', 'blue'))}\n")
    archive = subprocess.run(["git", "archive", "--format=tar", "HEAD"], cwd=root, capture_output=True, check=True).stdout
    sound = array.array("h", (int(9_000 * math.sin(n / 20) + made.gauss(0, 300)) for n in range(_BYTES // 8)))
    pixels = bytes(min(255, max(0, x // 8 + y // 16 + made.randrange(-3, 4))) for y in range(1_024) for x in range(2_048) for _ in "rgb")
    return {
        "log": ("text/plain", log.encode()),
        "JSON lines": ("application/x-ndjson", lines.encode()),
        "CSV": ("text/csv", table.encode()),
        "tar of source code": ("application/x-tar", archive[:_BYTES]),
        "WAV": ("audio/wav", _wav(sound.tobytes())),
        "BMP": ("image/bmp", _bmp(pixels, 2_048, 1_024)),
        "random bytes": ("application/octet-stream", made.randbytes(_BYTES)),
    }


def _wav(samples: bytes) -> bytes:
    number = lambda value, length: value.to_bytes(length, "little")
    form = number(1, 2) + number(1, 2) + number(44_100, 4) + number(88_200, 4) + number(2, 2) + number(16, 2)
    return b"RIFF" + number(36 + len(samples), 4) + b"WAVEfmt " + number(16, 4) + form + b"data" + number(len(samples), 4) + samples


def _bmp(pixels: bytes, width: int, height: int) -> bytes:
    number = lambda value, length: value.to_bytes(length, "little")
    head = number(40, 4) + number(width, 4) + number(height, 4) + number(1, 2) + number(24, 2) + bytes(24)
    return b"BM" + number(54 + len(pixels), 4) + bytes(4) + number(54, 4) + head + pixels
