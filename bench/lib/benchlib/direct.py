"""Waybill's direct mode: the client writes into the store, by URLs that Waybill signs."""

import base64
import json
import zlib
from typing import List, Tuple

from . import ours
from .attempt import Timing
from .curl import Curl, Request, run_one

# The most that one request may sign.
_PARTS_A_REQUEST = 100


class Parts(ours.Started):
    """One file: started, its parts signed, then sent as `raw.Parts` sends them.

    The figure ends with the last part's answer, as that of raw does. Reporting the parts, and
    completing, which reads the object back and hashes it, are a span of their own.
    """

    verifies_apart = True

    def prepare(self) -> None:
        """The parts' digests are the client's own work, whatever it sends them to: not timed."""
        super().prepare()
        self._wanted = [
            {"part_number": number, "size_bytes": path.stat().st_size, "checksum": _checksum(path)}
            for number, path in enumerate(self._chunks, 1)
        ]

    def send(self) -> Timing:
        start_s = self._start(mode="direct")
        answers, sign_s = self._tell("parts/sign", self._wanted)
        signed = [part for answer in answers for part in answer["parts"]]
        requests = [
            Request("PUT", part["url"], part["headers"], upload=path,
                    size_bytes=path.stat().st_size)
            for part, path in zip(signed, self._chunks)
        ]
        self._parts = Curl(self.rig.scratch, "direct", requests, self.parallel)
        put_s = run_one(self._parts)
        self._parts.answers(200)
        phases = {"start_s": start_s, "sign_s": sign_s, "put_s": put_s}
        return Timing(start_s + sign_s + put_s, phases)

    def verify(self) -> Timing:
        stored = [
            {"part_number": number, "etag": answer.etag}
            for number, answer in enumerate(self._parts.answers(200), 1)
        ]
        _, report_s = self._tell("parts", stored)
        complete_s = self._complete()
        return Timing(report_s + complete_s, {"report_s": report_s, "complete_s": complete_s})

    def _tell(self, what: str, parts: List[dict]) -> Tuple[List[dict], float]:
        """As many requests as the parts need, by one process, and what was answered."""
        name = what.replace("/", "-")
        lists = [parts[n:n + _PARTS_A_REQUEST] for n in range(0, len(parts), _PARTS_A_REQUEST)]
        outputs = [self.rig.scratch / f"{name}-{index}.json" for index in range(len(lists))]
        requests = [
            self._post(f"{self._upload}/{what}", {"parts": some}, output)
            for some, output in zip(lists, outputs)
        ]
        curl = Curl(self.rig.scratch, name, requests)
        took_s = run_one(curl)
        curl.answers(200)
        return [json.loads(output.read_text()) for output in outputs], took_s


def _checksum(path) -> str:
    """CRC-32, as the AWS SDKs add to a part: the whole file's SHA-256 is Waybill's to compute."""
    return f"crc32 {base64.b64encode(zlib.crc32(path.read_bytes()).to_bytes(4, 'big')).decode()}"
