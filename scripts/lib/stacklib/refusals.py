"""Sends bodies that Waybill refuses before it reads them, and a valid request immediately afterwards, with common clients.

The clients are in integration-tests/proxies.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Tuple

from . import clients
from .proxies import SOURCES, Way

TIMES = 20
SIZE = 20 * 1_024 * 1_024
# Time limit in seconds for a cell of the table. A cell usually takes a few seconds.
_LIMIT_S = 100


@dataclass(frozen=True)
class Program:
    name: str
    command: List[str]
    http2: bool = False
    # The java.net.http of old versions loses refusals over HTTP/2 from an nginx that does not buffer.
    is_old_java: bool = False

    def goes(self, way: Way) -> bool:
        return not self.http2 or way.tls and not (self.is_old_java and way.proxy == "nginx")


@dataclass(frozen=True)
class Case:
    name: str
    method: str
    path: str
    headers: List[str]
    expect: str
    chunked: bool


@dataclass
class Cell:
    """Result of one client on one way."""

    right: int = 0
    wanted: int = 0
    faults: List[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return f"{self.right}/{self.wanted}{' WRONG' if self.faults else ''}"


def programs() -> Tuple[List[Program], List[str], List[str]]:
    """Returns the clients, their versions, and the clients that are not installed."""
    found, versions, left_out = [Program("socket", [sys.executable, str(SOURCES / "raw.py")])], [], []

    def add(what: str, needs: List[str], version: List[str], make: Callable[[str], List[Program]]) -> None:
        if any(shutil.which(program) is None for program in needs):
            left_out.append(f"{what}, which needs {' and '.join(needs)}")
            return
        said = clients.run(" ".join(version), version)
        number = re.search(r"\d+(\.\d+)*", said)
        versions.append(f"{what} {number[0] if number else said.strip()}")
        found.extend(make(number[0] if number else ""))

    def both(name: str, command: List[str], **more) -> List[Program]:
        return [Program(name, command), Program(f"{name} h2", command, http2=True, **more)]

    add("Node", ["node"], ["node", "--version"], lambda _: [
        *both("Node http", ["node", str(SOURCES / "node-http.mjs")]),
        Program("Node fetch", ["node", str(SOURCES / "node-fetch.mjs")]),
    ])
    add("curl", ["curl"], ["curl", "--version"], lambda _: both("curl", [sys.executable, str(SOURCES / "curl.py")]))
    add("Go", ["go"], ["go", "version"], lambda _: both("Go", [str(_go())]))
    add("Java", ["java", "javac"], ["java", "-version"], lambda version: both(
        "Java", ["java", "-Xmx256m", "-cp", str(_java()), "Client"], is_old_java=int(version.partition(".")[0]) < 21))
    return sorted(found, key=lambda program: program.http2), versions, left_out


def cases(token: str, upload: str) -> List[Case]:
    return [
        Case("401", "POST", "/v1/files?name=refused.txt", ["Authorization: Bearer x", "Content-Type: text/plain"],
             "401 token_invalid", chunked=False),
        Case("409 chunked", "PATCH", upload, [
            f"Authorization: Bearer {token}", "Tus-Resumable: 1.0.0", "Upload-Offset: 5",
            "Content-Type: application/offset+octet-stream",
        ], "409 offset_mismatch", chunked=True),
    ]


def run(way: Way, program: Program, wanted: List[Case], token: str, certificate: Path) -> Cell:
    cell, before = Cell(), way.over_http2()
    for case in wanted:
        cell.wanted += 2 * TIMES
        report = _report(way, program, case, token, certificate)
        cell.right += report.get("right", 0) + report.get("then_right", 0)
        for what, right in (("seen", "right"), ("then", "then_right")):
            if report.get(right) != TIMES:
                seen = ", ".join(f"{count} times {answer}" for answer, count in report[what].items())
                cell.faults.append(f"{case.name}{', then' if what == 'then' else ''}: {seen}")
    if program.http2 and way.over_http2() < before + len(wanted) * TIMES:
        cell.faults.append("it did not speak HTTP/2")
    return cell


def _report(way: Way, program: Program, case: Case, token: str, certificate: Path) -> Dict:
    command = [*program.command, "--expect", case.expect, "--then", way.url + "/v1/files?name=after.txt"]
    for header in case.headers:
        command += ["--header", header]
    for header in (f"Authorization: Bearer {token}", "Content-Type: text/plain"):
        command += ["--then-header", header]
    command += ["--chunked"] * case.chunked + ["--http2"] * program.http2
    command += ["--ca", str(certificate)] if way.tls else []
    command += [way.url + case.path, case.method, str(SIZE), str(TIMES)]
    # Node's fetch reads certificates only from this variable.
    env = {**_without_proxies(), "NODE_EXTRA_CA_CERTS": str(certificate), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run_ = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=_LIMIT_S)
        return json.loads(run_.stdout)
    except subprocess.TimeoutExpired:
        return _none(f"no end within {_LIMIT_S} s")
    except ValueError:
        return _none(f"exit code {run_.returncode}: {run_.stderr[-500:]}")


def _none(why: str) -> Dict:
    return {"right": 0, "then_right": 0, "seen": {why: 1}, "then": {}}


def _without_proxies() -> Dict[str, str]:
    """Returns the environment without proxies, because requests to loopback must not use them."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def _go() -> Path:
    source = SOURCES / "client.go"

    def build(folder: Path) -> None:
        folder.mkdir()
        clients.run("go build", ["go", "build", "-o", str(folder / "client"), str(source)])

    return clients.once("proxies", f"go-{clients.hash_of([source])}", build) / "client"


def _java() -> Path:
    source = SOURCES / "Client.java"

    def build(folder: Path) -> None:
        folder.mkdir()
        clients.run("javac", ["javac", "-d", str(folder), str(source)])

    return clients.once("proxies", f"java-{clients.hash_of([source])}", build)
