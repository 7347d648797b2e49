"""Waybill through its HTTP interface."""

import json
import time
import urllib.request
from pathlib import Path
from typing import Dict

from stacklib.console import StackError

from . import rig as rigs
from .attempt import OUR_ROLES, Attempt, Timing
from .curl import Curl, Request, run_all, run_one

TYPE = "application/octet-stream"
_SETTLED_WITHIN_S = 120
_JSON = {"Content-Type": "application/json"}


class Ours(Attempt):
    own_groups = OUR_ROLES
    bucket = rigs.OURS

    def check(self) -> None:
        """Checks that Waybill reports the digests of the sent files, and that the store holds objects of the same sizes."""
        for source, output in zip(self.sources, self.outputs):
            answer = json.loads(output.read_text())
            if answer.get("sha256") != source.sha256 or answer.get("status") != "COMPLETED":
                raise StackError(f"waybill verified something else than was sent: {answer}")
        self.check_stored()

    def check_stored(self) -> None:
        stored = sorted(self.rig.store.sizes(self.bucket).values())
        if stored != sorted(source.size_bytes for source in self.sources):
            raise StackError(f"the store holds {len(stored)} objects that are not what was sent")

    def _output(self, index: int):
        output = self.rig.scratch / f"ours-{index:05}.json"
        # Empty the file instead of deleting it: ext4 avoids recently freed inodes, and curl would wait up to a second for another
        # one.
        output.write_bytes(b"")
        return output

    def authorization(self) -> Dict[str, str]:
        """Returns the headers for a new company."""
        return {"Authorization": f"Bearer {self.rig.token()}"}


class Whole(Ours):
    """Sends each file in one request, which is answered after the verification. One process per file, all in parallel.

    Each file belongs to its own company, like files of unrelated users.
    """

    def prepare(self) -> None:
        self.outputs = [self._output(index) for index in range(len(self.sources))]
        self._curls = [
            Curl(self.rig.scratch, f"ours-{index}", [self._request(index, self.authorization())])
            for index in range(len(self.sources))
        ]

    def send(self) -> Timing:
        wall_s = run_all(self._curls)
        took_s = [answer.time_s for curl in self._curls for answer in curl.answers(201)]
        return Timing(wall_s, {"fastest_s": min(took_s), "slowest_s": max(took_s)} if len(took_s) > 1 else {})

    def _request(self, index: int, who: Dict[str, str]) -> Request:
        source = self.sources[index]
        url = f"{self.rig.url}/v1/files?name=file{index}.bin&mime_type={TYPE}"
        headers = {**who, "Content-Type": TYPE}
        return Request("POST", url, headers, upload=source.path, output=self.outputs[index],
                       size_bytes=source.size_bytes)


class Small(Whole):
    """Sends many small files of one company, one request each, from one process."""

    def prepare(self) -> None:
        who = self.authorization()
        self.outputs = [self._output(index) for index in range(len(self.sources))]
        requests = [self._request(index, who) for index in range(len(self.sources))]
        self._curls = [Curl(self.rig.scratch, "ours-small", requests, self.parallel)]


class SmallAndSettled(Small):
    """Sends like `Small`, and measures the time from the last answer until all reservations are settled."""

    def authorization(self) -> Dict[str, str]:
        self._who = super().authorization()
        return self._who

    def send(self) -> Timing:
        timing = super().send()
        began = time.perf_counter()
        while not self._is_settled():
            if time.perf_counter() - began > _SETTLED_WITHIN_S:
                raise StackError(f"reservations are still open after {_SETTLED_WITHIN_S} s")
            time.sleep(0.02)
        return Timing(timing.wall_s, {**timing.phases, "settled_s": time.perf_counter() - began})

    def _is_settled(self) -> bool:
        """Returns True if the tables contain all files and no reservation. The tables may lag behind the log."""
        request = urllib.request.Request(f"{self.rig.url}/v1/quota", headers=self._who)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            quota = json.load(answer)
        return quota["file_count"] == len(self.sources) and quota["storage_reserved_bytes"] == 0

    def check_stored(self) -> None:
        """Checks that files with the same bytes share one object and that all other files have an object each."""
        distinct = {source.sha256: source.size_bytes for source in self.sources}
        stored = sorted(self.rig.store.sizes(self.bucket).values())
        if stored != sorted(distinct.values()):
            raise StackError(f"the store holds {len(stored)} objects for {len(distinct)} contents")


class Started(Ours):
    """Sends one file: starts the upload, sends the bytes in pieces, completes and verifies it."""

    def __init__(self, rig, sources, chunks, parallel: int = 1):
        super().__init__(rig, sources, parallel)
        self._chunks = chunks

    def prepare(self) -> None:
        self.outputs = [self._output(0)]
        self._who = self.authorization()

    def _start(self, **more: str) -> float:
        output = self.rig.scratch / "start.json"
        facts = {"name": "file.bin", "size_bytes": self.sources[0].size_bytes, "mime_type": TYPE}
        uploads = f"{self.rig.url}/v1/uploads"
        curl = Curl(self.rig.scratch, "start", [self._post(uploads, {**facts, **more}, output)])
        took_s = run_one(curl)
        curl.answers(201)
        answer = json.loads(output.read_text())
        if answer["total_chunks"] != len(self._chunks):
            raise StackError(f"waybill expects another number of chunks: {answer}")
        self._upload = f"{uploads}/{answer['upload_id']}"
        return took_s

    def _complete(self) -> float:
        request = self._post(f"{self._upload}/complete", {}, self.outputs[0])
        request.headers["Prefer"] = "wait=120"
        curl = Curl(self.rig.scratch, "complete", [request])
        took_s = run_one(curl)
        curl.answers(200)
        return took_s

    def _post(self, url: str, body: dict, output: Path) -> Request:
        return Request("POST", url, {**self._who, **_JSON}, data=json.dumps(body), output=output)


class Chunks(Started):
    """Sends the chunks to Waybill, from one process."""

    def send(self) -> Timing:
        start_s = self._start()
        requests = [
            Request("PUT", f"{self._upload}/chunks/{index}", self._who, upload=path,
                    size_bytes=path.stat().st_size)
            for index, path in enumerate(self._chunks)
        ]
        chunks = Curl(self.rig.scratch, "chunks", requests, self.parallel)
        put_s = run_one(chunks)
        chunks.answers(200)
        complete_s = self._complete()
        phases = {"start_s": start_s, "put_s": put_s, "complete_s": complete_s}
        return Timing(start_s + put_s + complete_s, phases)
