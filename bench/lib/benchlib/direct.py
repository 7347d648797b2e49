"""Waybill's direct mode: the client writes to the store through URLs that Waybill signs."""

import base64
import json
import zlib
from typing import List, Tuple

from . import ours
from .attempt import Timing
from .curl import Curl, Request, run_one

# Maximum number of parts that one request may sign.
_PARTS_A_REQUEST = 100


class Parts(ours.Started):
    """Sends one file: starts the upload, gets signed URLs for the parts, and sends the parts like `raw.Parts`.

    The time ends with the answer to the last part, as for raw. Reporting the parts and completing the upload, which reads the
    object back and hashes it, is a run of its own.
    """

    verifies_apart = True

    def prepare(self) -> None:
        """Computes the checksums of the parts. This is not timed, because a client does it for any server."""
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
        """Sends as many requests as the parts need, from one process. Returns the answers and the time in seconds."""
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
    """Returns the CRC-32 of a part, as the AWS SDKs add it. Waybill computes the SHA-256 of the whole file."""
    return f"crc32 {base64.b64encode(zlib.crc32(path.read_bytes()).to_bytes(4, 'big')).decode()}"
