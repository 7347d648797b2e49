"""Waybill, by its HTTP interface."""

import json
from typing import List

from stacklib.console import StackError

from . import rig as rigs
from .attempt import OUR_ROLES, Attempt, Timing
from .curl import Curl, Request, run_all, run_one

_JSON = {"Content-Type": "application/json"}
_TYPE = "application/octet-stream"


class _Ours(Attempt):
    own_groups = list(OUR_ROLES)
    bucket = rigs.OURS

    def check(self) -> None:
        """What Waybill says it verified is what was sent, and the store holds as many bytes."""
        for source, output in zip(self.sources, self.outputs):
            answer = json.loads(output.read_text())
            if answer.get("sha256") != source.sha256 or answer.get("status") != "COMPLETED":
                raise StackError(f"waybill verified something else than was sent: {answer}")
        stored = sorted(self.rig.store.sizes(self.bucket).values())
        if stored != sorted(source.size_bytes for source in self.sources):
            raise StackError(f"the store holds {len(stored)} objects that are not what was sent")

    def _output(self, index: int):
        output = self.rig.scratch / f"ours-{index:05}.json"
        output.unlink(missing_ok=True)
        return output

    def _authorization(self, token: str):
        return {"Authorization": f"Bearer {token}"}


class Whole(_Ours):
    """Each file in one request, answered once it is verified. One process a file, all at once.

    Each file belongs to a company of its own, as unrelated people's files do.
    """

    def prepare(self) -> None:
        self.outputs = [self._output(index) for index in range(len(self.sources))]
        self._curls = [
            Curl(self.rig.scratch, f"ours-{index}", [self._request(index, self.rig.token())])
            for index in range(len(self.sources))
        ]

    def send(self) -> Timing:
        wall_s = run_all(self._curls)
        for curl in self._curls:
            curl.answers(201)
        return Timing(wall_s)

    def _request(self, index: int, token: str) -> Request:
        source = self.sources[index]
        url = f"{self.rig.url}/v1/files?name=file{index}.bin&mime_type={_TYPE}"
        headers = {**self._authorization(token), "Content-Type": _TYPE}
        return Request("POST", url, headers, upload=source.path, output=self.outputs[index],
                       size_bytes=source.size_bytes)


class Small(Whole):
    """Many small files of one company, one request each, by one process."""

    def prepare(self) -> None:
        token = self.rig.token()
        self.outputs = [self._output(index) for index in range(len(self.sources))]
        requests = [self._request(index, token) for index in range(len(self.sources))]
        self._curls = [Curl(self.rig.scratch, "ours-small", requests, self.parallel)]


class Chunks(_Ours):
    """One file: started, its chunks sent by one process, completed and verified."""

    def __init__(self, rig, sources, chunks, parallel: int = 1):
        super().__init__(rig, sources, parallel)
        self._chunks = chunks

    def prepare(self) -> None:
        self.outputs = [self._output(0)]
        self._headers = self._authorization(self.rig.token())

    def send(self) -> Timing:
        upload, start_s = self._start()
        requests: List[Request] = [
            Request("PUT", f"{upload}/chunks/{index}", self._headers, upload=path,
                    size_bytes=path.stat().st_size)
            for index, path in enumerate(self._chunks)
        ]
        chunks = Curl(self.rig.scratch, "chunks", requests, self.parallel)
        put_s = run_one(chunks)
        chunks.answers(200)
        complete_s = self._complete(upload)
        phases = {"start_s": start_s, "put_s": put_s, "complete_s": complete_s}
        return Timing(start_s + put_s + complete_s, phases)

    def _start(self):
        source, output = self.sources[0], self.rig.scratch / "start.json"
        facts = {"name": "file.bin", "size_bytes": source.size_bytes, "mime_type": _TYPE}
        request = Request("POST", f"{self.rig.url}/v1/uploads", {**self._headers, **_JSON},
                          data=json.dumps(facts), output=output)
        curl = Curl(self.rig.scratch, "start", [request])
        took_s = run_one(curl)
        curl.answers(201)
        answer = json.loads(output.read_text())
        if answer["total_chunks"] != len(self._chunks):
            raise StackError(f"waybill wants other chunks than were cut: {answer}")
        return f"{self.rig.url}/v1/uploads/{answer['upload_id']}", took_s

    def _complete(self, upload: str) -> float:
        headers = {**self._headers, **_JSON, "Prefer": "wait=120"}
        request = Request("POST", f"{upload}/complete", headers, data="{}",
                          output=self.outputs[0])
        curl = Curl(self.rig.scratch, "complete", [request])
        took_s = run_one(curl)
        curl.answers(200)
        return took_s
