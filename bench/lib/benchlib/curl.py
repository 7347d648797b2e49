"""curl as the client: one process sends many requests from a configuration file.

`Expect: 100-continue` is switched off for all contestants, because it adds a round trip without any use here.
"""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

from stacklib.console import StackError

# Minimum throughput of one of many concurrent requests, for the timeout.
_SLOWEST_BYTES_PER_S = 1 << 20
_LEAST_S = 120
# One line per request, which begins with a label. Values that may be missing come last.
_WRITE_OUT = "%{exitcode} %{http_code} %{num_connects} %{time_total} etag=%header{etag} " \
             "location=%header{location}"


@dataclass
class Request:
    method: str
    url: str
    headers: Dict[str, str] = field(default_factory=dict)
    upload: Optional[Path] = None
    data: Optional[str] = None
    output: Optional[Path] = None
    size_bytes: int = 0


@dataclass
class Answer:
    code: int
    connects: int
    time_s: float
    etag: str
    location: str


class Curl:
    """One process. It sends its requests one after another on one connection, or `parallel` at a time."""

    def __init__(self, folder: Path, name: str, requests: List[Request], parallel: int = 1):
        self._requests = requests
        self._config = folder / f"{name}.curl"
        self._errors = folder / f"{name}.stderr"
        self._output = folder / f"{name}.stdout"
        self._parallel = parallel
        total_bytes = sum(request.size_bytes for request in requests)
        self.limit_s = _LEAST_S + total_bytes / _SLOWEST_BYTES_PER_S
        limit_s = int(self.limit_s)
        entries = [_entry(index, request, limit_s) for index, request in enumerate(requests)]
        self._config.write_text("\nnext\n".join(entries) + "\n")

    def start(self) -> subprocess.Popen:
        # -q ignores the user's .curlrc.
        argv = ["curl", "-q", "--no-progress-meter"]
        if self._parallel > 1:
            argv += ["--parallel", "--parallel-immediate", "--parallel-max", str(self._parallel)]
        argv += ["--config", str(self._config)]
        with open(self._output, "wb") as output, open(self._errors, "wb") as errors:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
            )

    def answers(self, code: int) -> List[Answer]:
        """Returns the answers in the order of the requests. Raises an error unless all have this status."""
        found = {}
        for line in self._output.read_text().splitlines():
            parts = line.split(" ", 6)
            if len(parts) != 7 or not parts[0].startswith("#"):
                raise StackError(f"unexpected output of curl: {line}")
            label, exit_code, http_code, connects, time_s, etag, location = parts
            index = int(label[1:])
            if exit_code != "0" or int(http_code) != code:
                raise StackError(self._explain(index, exit_code, http_code))
            found[index] = Answer(
                int(http_code), int(connects), float(time_s),
                etag.partition("=")[2], location.partition("=")[2],
            )
        if len(found) != len(self._requests):
            raise StackError(
                f"curl finished {len(found)} of {len(self._requests)} requests: {self._said()}"
            )
        return [found[index] for index in range(len(self._requests))]

    def _explain(self, index: int, exit_code: str, http_code: str) -> str:
        request = self._requests[index]
        body = ""
        if request.output is not None and request.output.exists():
            body = request.output.read_text(errors="replace")[:500]
        url = request.url.partition("?")[0]
        return (f"{request.method} {url} failed: curl {exit_code}, HTTP {http_code} {body} "
                f"{self._said()}")

    def _said(self) -> str:
        return self._errors.read_text(errors="replace")[-500:].strip()


def run_all(curls: List[Curl]) -> float:
    """Starts all processes, waits for them, and returns the time in seconds. After an error, kills the remaining processes."""
    running: List[subprocess.Popen] = []
    began = time.perf_counter()
    deadline = time.monotonic() + max(curl.limit_s for curl in curls) * 2
    try:
        for curl in curls:
            running.append(curl.start())
        for popen in running:
            popen.wait(max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise StackError("curl did not end in time") from None
    finally:
        for popen in running:
            if popen.poll() is None:
                popen.kill()
                popen.wait()
    return time.perf_counter() - began


def run_one(curl: Curl) -> float:
    return run_all([curl])


def _entry(index: int, request: Request, limit_s: int) -> str:
    options = [
        ("url", request.url), ("request", request.method), ("header", "Expect:"),
        *(("header", f"{name}: {value}") for name, value in request.headers.items()),
        ("noproxy", "*"), ("max-time", str(limit_s)), ("connect-timeout", "10"),
        ("output", str(request.output or "/dev/null")),
        ("write-out", f"#{index} {_WRITE_OUT}\\n"),
    ]
    if request.upload is not None:
        options.append(("upload-file", str(request.upload)))
    if request.data is not None:
        options.append(("data", request.data))
    # A presigned URL or a JSON body may contain characters that curl would treat as a pattern or an escape.
    lines = [f"{name} = {_quoted(name, value)}" for name, value in options]
    return "\n".join([*lines, "globoff"])


def _quoted(name: str, value: str) -> str:
    if name != "write-out":
        value = value.replace("\\", "\\\\")
    return '"' + value.replace('"', '\\"') + '"'
