"""Runs pages of another origin in Chromium, which upload through a TLS proxy like those of integration-tests/clients."""

import hashlib
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

from . import clients, process
from .proxies import Certificate, Way

_NAMES = ("photo.png", "notes.txt")
_PNG = b"\x89PNG\r\n\x1a\n"
_SIZE = 12 * 1_024 * 1_024
# Maximum time in seconds until a file is verified. A page itself gives up after 60 s.
_VERIFIED_S = 30


@dataclass(frozen=True)
class Page:
    name: str
    scenario: str
    multipart: bool = False
    events: bool = False


PAGES = [
    Page("tus-js-client", "tus_js_page"),
    Page("aws-s3 5", "s3_v5_plain"),
    Page("aws-s3 6, parts", "s3_v6_plain", multipart=True),
    Page("WebSocket", "watched", events=True),
]


class Browser:
    """Node, Chromium and two files to upload."""

    def __init__(self, folder: Path, origin: str, certificate: Certificate):
        self._origin, self._certificate = origin, certificate
        self._script = clients.node_clients() / "browser.mjs"
        self._chromium = clients.chromium()
        self._contents = [_PNG + os.urandom(_SIZE), os.urandom(20).hex().encode()]
        self._paths = [folder / name for name in _NAMES]
        for path, content in zip(self._paths, self._contents):
            path.write_bytes(content)
        context = ssl.create_default_context(cafile=str(certificate.file))
        self._direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    @property
    def version(self) -> str:
        said = process.run([self._chromium, "--version"], stdin="", capture=True, quiet=True).stdout
        return said.strip().partition(" built")[0]

    def run(self, page: Page, way: Way, token: str) -> List[str]:
        """Runs a page and returns the faults that it found."""
        before = way.over_http2()
        settings = {
            "endpoint": way.url, "origin": self._origin, "token": token, "files": [str(path) for path in self._paths],
            "chromium": self._chromium, "certificate": str(self._certificate.file), "key": str(self._certificate.key),
            **({"multipart": True} if page.multipart else {}),
        }
        command = ["node", str(self._script), page.scenario, json.dumps(settings)]
        said = process.run(command, stdin="", capture=True).stdout.strip()
        try:
            report = json.loads(said.rpartition("\n")[2])
        except ValueError:
            return [said[-500:]]
        if not report["ok"] or report["failed"] or len(report["uploads"]) != len(_NAMES):
            return [json.dumps({name: report.get(name) for name in ("error", "failed", "errors", "requests")})[:2_000]]
        faults = []
        for upload, content in zip(report["uploads"], self._contents):
            faults += self._file_faults(way, token, upload["file_id"], content)
            if page.events and upload["body"]["event"].get("sha256") != hashlib.sha256(content).hexdigest():
                faults.append(f"the event has a wrong SHA-256: {upload['body']['event']}")
        if report["download"].get("status") != 206:
            faults.append(f"the page's download with a range: {report['download']}")
        if way.over_http2() == before:
            faults.append("it did not speak HTTP/2")
        return faults

    def _file_faults(self, way: Way, token: str, file: str, content: bytes) -> List[str]:
        wanted, url = hashlib.sha256(content).hexdigest(), f"{way.url}/v1/files/{file}"
        headers = {"Authorization": f"Bearer {token}"}
        deadline = time.monotonic() + _VERIFIED_S
        while True:
            try:
                found: Dict = json.loads(self._get(url, headers))
            except urllib.error.HTTPError as error:
                found = {"processing_status": f"answer {error.code}"}
            if found["processing_status"] == "COMPLETED":
                break
            if time.monotonic() > deadline:
                return [f"{file} is {found['processing_status']} after {_VERIFIED_S} s"]
            time.sleep(0.2)
        faults = []
        if found["hash"] != wanted:
            faults.append(f"{file} has the hash {found['hash']} instead of {wanted}")
        if self._get(url + "/content", headers) != content:
            faults.append(f"{file} has wrong content")
        return faults

    def _get(self, url: str, headers: Dict[str, str]) -> bytes:
        with self._direct.open(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.read()
