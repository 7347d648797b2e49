"""Starts nginx and HAProxy in front of Waybill with the configurations of integration-tests/proxies and a temporary
certificate."""

import os
import re
import shutil
import signal
import ssl
import textwrap
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

from . import clients, process
from .console import StackError, say, tail
from .home import REPOSITORY
from .ports import Ports
from .process import Child

SOURCES = REPOSITORY / "integration-tests" / "proxies"
_COMPOSE = REPOSITORY / "docker-compose.yml"
_START_S = 20
_STOP_S = 10


@dataclass(frozen=True)
class Way:
    """Address that clients can use."""

    name: str
    url: str
    proxy: str
    # Log of requests with their HTTP version. Only ways with TLS, which have HTTP/2, have a log.
    log: Optional[Path] = None

    @property
    def tls(self) -> bool:
        return self.url.startswith("https:")

    def over_http2(self) -> int:
        """Returns the number of requests that used HTTP/2 so far."""
        return self.log.read_bytes().count(b" HTTP/2.0\"") if self.log else 0


class Certificate:
    """Self-signed certificate for 127.0.0.1."""

    def __init__(self, folder: Path):
        self.file, self.key, self.both = (folder / name for name in ("cert.pem", "key.pem", "both.pem"))
        clients.run("openssl req", [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(self.key), "-out", str(self.file),
        ])
        # HAProxy needs a single file.
        self.both.write_text(self.file.read_text() + self.key.read_text())
        self.both.chmod(0o600)


class Proxies:
    """Starts the installed proxies. Lists their versions, and the proxies that are not installed."""

    def __init__(self, folder: Path, certificate: Certificate, backend: str):
        self._folder, self._certificate, self._backend = folder, certificate, backend
        self._ports = Ports()
        self._children: List[Child] = []
        self.versions: List[str] = []
        self.left_out: List[str] = []

    def start(self) -> List[Way]:
        ways: List[Way] = []
        program, haproxy = nginx(), _program("haproxy", "WAYBILL_HAPROXY")
        if program is None:
            self.left_out.append("nginx, which is not installed")
        else:
            version = _version(program, "-v")
            self.versions.append(f"nginx {_text(version)}")
            folder, port = self._make("nginx"), self._ports.pick()
            self._nginx(program, "nginx", folder, self._filled("nginx", folder, port=port))
            ways.append(Way("nginx", f"http://127.0.0.1:{port}", "nginx"))
            folder, port = self._make("nginx-unbuffered"), self._ports.pick()
            config = self._filled("nginx-unbuffered", folder, tls_port=port)
            # Since 1.25.1, `http2` is a separate directive.
            config = config.replace("@HTTP2@", " http2" if version < (1, 25, 1) else ";\n    http2 on")
            self._nginx(program, "nginx-unbuffered", folder, config)
            ways.append(Way("nginx-unbuffered", f"https://127.0.0.1:{port}", "nginx", folder / "access.log"))
            folder, port = self._make("edge"), self._ports.pick()
            self._nginx(program, "edge", folder, _edge(folder, port, self._backend))
            ways.append(Way("edge", f"http://127.0.0.1:{port}", "nginx"))
        if haproxy is None:
            self.left_out.append("HAProxy, which is not installed")
        else:
            self.versions.append(f"HAProxy {_text(_version(haproxy, '-v'))}")
            folder, port, tls_port = self._make("haproxy"), self._ports.pick(), self._ports.pick()
            config = folder / "haproxy.conf"
            config.write_text(self._filled("haproxy", folder, port=port, tls_port=tls_port))
            log = self._run("haproxy", folder, [haproxy, "-db", "-f", str(config)])
            ways.append(Way("haproxy", f"http://127.0.0.1:{port}", "haproxy"))
            ways.append(Way("haproxy, TLS", f"https://127.0.0.1:{tls_port}", "haproxy", log))
        for way in ways:
            self._wait(way)
        return ways

    def stop(self) -> None:
        for child in reversed(self._children):
            if not child.stop(signal.SIGTERM, _STOP_S):
                say(f"{child.name} did not stop within {_STOP_S} s and was killed")

    def _make(self, name: str) -> Path:
        folder = self._folder / name
        # The workers of nginx run as another user if this script runs as root.
        folder.mkdir(mode=0o711)
        return folder

    def _filled(self, name: str, folder: Path, *, port: int = 0, tls_port: int = 0) -> str:
        values = {
            "FOLDER": folder, "PORT": port, "TLS_PORT": tls_port, "BACKEND": self._backend,
            "CERTIFICATE": self._certificate.file, "KEY": self._certificate.key, "BOTH": self._certificate.both,
            "TEMPORARY": _temporary(folder),
        }
        text = (SOURCES / f"{name}.conf").read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        return text

    def _nginx(self, program: str, name: str, folder: Path, text: str) -> None:
        config = folder / "nginx.conf"
        config.write_text(text)
        self._run(name, folder, [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log"),
                                 "-g", "daemon off;"])

    def _run(self, name: str, folder: Path, command: List[str]) -> Path:
        log = folder / "output.log"
        self._children.append(process.start(
            name, command, env=dict(os.environ), log=log, pid_file=folder / "child.pid", tether=signal.SIGTERM))
        return log

    def _wait(self, way: Way) -> None:
        deadline = time.monotonic() + _START_S
        trusting = ssl.create_default_context(cafile=str(self._certificate.file))
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting))
        while True:
            try:
                with direct.open(way.url + "/healthz", timeout=5):
                    return
            except (OSError, urllib.error.URLError) as error:
                if time.monotonic() > deadline or not all(child.is_alive() for child in self._children):
                    logs = [tail(log) for log in self._folder.glob("*/*.log") if log.name != "access.log"]
                    raise StackError("\n".join([f"{way.name} does not answer: {error}", *logs])) from None
            time.sleep(0.1)


def _edge(folder: Path, port: int, backend: str) -> str:
    """Returns the configuration of the service `edge`, changed for an nginx outside of Docker."""
    found = re.search(r"\nconfigs:\n  edge:\n(?:    #.*\n)*    content: \|\n((?:      .*\n|\n)+)", _COMPOSE.read_text())
    if found is None:
        raise StackError(f"{_COMPOSE} has no configuration of the edge")
    # In that file, $$ is a dollar sign of nginx, and a single one belongs to compose.
    text = re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", textwrap.dedent(found[1])).replace("$$", "$")
    # The names exist only in Docker, and nginx resolves them periodically only since 1.27.3.
    text = re.sub(r"^ *resolver(_timeout)? .*\n", "", text, flags=re.MULTILINE)
    for old, new in (
        ("server gateway:8080 resolve ", f"server {backend} "),
        ("server fanout:8092 resolve ", f"server {backend} "),
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        ("error_log /dev/stderr warn;", f"error_log {folder}/error.log warn;\npid {folder}/nginx.pid;"),
        ("http {\n", f"http {{\n  {_temporary(folder)}\n"),
    ):
        if text.count(old) != 1:
            raise StackError(f"the edge's configuration in {_COMPOSE} does not have {old.strip()!r} once")
        text = text.replace(old, new)
    return text


def nginx() -> Optional[str]:
    """Returns the path of nginx, if it is installed."""
    return _program("nginx", "WAYBILL_NGINX")


def _temporary(folder: Path) -> str:
    """Returns directives that replace the system's temporary folders of nginx."""
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n  ".join(f"{name}_temp_path {folder}/{name};" for name in names)


def _program(name: str, variable: str) -> Optional[str]:
    return os.environ.get(variable) or shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _version(program: str, flag: str) -> Tuple[int, ...]:
    said = process.run([program, flag], stdin="", capture=True).stdout
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
    if found is None:
        raise StackError(f"{program} {flag} printed no version: {said}")
    return tuple(int(number) for number in found.groups())


def _text(version: Tuple[int, ...]) -> str:
    return ".".join(map(str, version))
