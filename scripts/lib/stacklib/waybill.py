"""Finds or builds the binary, and runs its commands `provision`, `serve` and `token`."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Dict, Sequence

from . import process
from .console import StackError, say
from .home import REPOSITORY
from .ports import is_free
from .stack import WAYBILL, Stack


# The secrets of `waybill serve all` and of roles in several processes.
SECRETS = ("WAYBILL_JWT_HS256_SECRET", "WAYBILL_WORKER_SECRET", "WAYBILL_AUDIT_SECRET", "WAYBILL_CURSOR_SECRET",
           "WAYBILL_TOKEN_SECRET")


class Address:
    """WAYBILL_HTTP_ADDR: the address on which waybill listens, and the URL for this machine."""

    def __init__(self, text: str):
        host, _, port = text.rpartition(":")
        if not port.isdigit():
            raise StackError(f"WAYBILL_HTTP_ADDR={text} is not HOST:PORT")
        self.text = text
        self._host, self._port = host.strip("[]"), int(port)
        reached = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
        host = reached.get(self._host, self._host)
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def is_free(self) -> bool:
        return is_free(self._port, self._host)

    def must_be_free(self) -> None:
        if not self.is_free():
            raise StackError(
                f"{self.text} is taken by another program: set WAYBILL_HTTP_ADDR to a free one"
            )


def binary(*, release: bool) -> Path:
    """Returns WAYBILL_BIN. If it is not set, builds the binary of this checkout."""
    named = os.environ.get("WAYBILL_BIN")
    if named:
        if not os.access(named, os.X_OK):
            raise StackError(f"WAYBILL_BIN={named} is not a program")
        return Path(named).absolute()
    cargo = os.environ.get("CARGO", "cargo")
    # Builds the whole workspace like the tests do. For a single package, dependencies would have other features
    # and would be compiled again.
    whole = ["--release", "--package", "waybill"] if release else ["--workspace"]
    build = [cargo, "build", "--bins", "--locked", *whole]
    say(f"building: {' '.join(build)}")
    if process.run(build, cwd=REPOSITORY).returncode != 0:
        raise StackError("the build failed")
    metadata = [cargo, "metadata", "--no-deps", "--locked", "--format-version", "1"]
    answer = process.run(metadata, cwd=REPOSITORY, capture=True)
    if answer.returncode != 0:
        raise StackError(f"cargo metadata failed:\n{answer.stdout}")
    target = Path(json.loads(answer.stdout)["target_directory"])
    return target / ("release" if release else "debug") / "waybill"


def provision(program: Path, env: Dict[str, str]) -> None:
    """Creates missing tables, streams, key-value buckets and the S3 bucket."""
    say("waybill provision")
    result = process.run([str(program), "provision", "--accept-new-events"], env=env, stdin="", capture=True)
    if result.returncode != 0:
        raise StackError(f"waybill provision failed:\n{result.stdout.strip()}")


def serve(stack: Stack, program: Path, env: Dict[str, str], address: Address) -> None:
    say("waybill serve all")
    child = stack.start(WAYBILL, [str(program), "serve", "all"], env)
    stack.wait_ready(WAYBILL, child, lambda: _is_ready(address), 60)


def token(program: Path, env: Dict[str, str], company: str, user: str,
          roles: Sequence[str] = ("auditor", "admin")) -> str:
    command = [str(program), "token", "--company", company, "--user", user,
               *(f"--role={role}" for role in roles)]
    # Log lines on standard error must not become part of the token.
    result = process.run(command, env=env, stdin="", capture=True, quiet=True)
    if result.returncode != 0 or not result.stdout.strip():
        raise StackError(f"waybill token failed; run `{program} token` with the settings of the stack to see the reason")
    return result.stdout.strip()


def _is_ready(address: Address) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(address.url + "/readyz", timeout=5) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError, ValueError):
        return False
