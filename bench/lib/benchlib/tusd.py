"""tusd with its S3 store: installs it once into the cache with `go install`, and starts it beside Waybill."""

import fcntl
import os
import shutil
import signal
from pathlib import Path
from typing import Dict, Optional

from stacklib import process
from stacklib.console import StackError, say
from stacklib.home import cache_folder
from stacklib.s3probe import REGION
from stacklib.stack import Role, Stack

from .roles import answers
from .s3 import Store

VERSION = "2.9.1"
_MODULE = "github.com/tus/tusd/v2/cmd/tusd"
# Names of the variants. Each is also the name of the process and of its bucket.
DEFAULT = "tusd"
NO_HASHES = "tusd-no-hashes"
_OPTIONS = {DEFAULT: [], NO_HASHES: ["-s3-disable-content-hashes"]}
NAMES = tuple(_OPTIONS)


def start(stack: Stack, env: Dict[str, str], name: str, port: int, store: Store) -> None:
    """Starts the variant `name`. Settings other than the store and the options of the variant are the defaults. Uploads go to
    url(port)."""
    role = Role(name, signal.SIGTERM, 15)
    keys = {
        "AWS_ACCESS_KEY_ID": store.keys.access_key_id, "AWS_SECRET_ACCESS_KEY": store.keys.secret_access_key,
        "AWS_REGION": REGION,
    }
    argv = [str(installed()), "-host", "127.0.0.1", "-port", str(port), "-base-path", "/files/",
            "-s3-bucket", name, "-s3-endpoint", store.endpoint, *_OPTIONS[name]]
    child = stack.start(role, argv, {**env, **keys})
    greeting = {"Tus-Resumable": "1.0.0"}
    stack.wait_ready(role, child, lambda: answers(url(port), "OPTIONS", greeting), 30)


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/files"


def why_not() -> Optional[str]:
    """Returns the reason why tusd cannot be installed, or None if it can."""
    if _program().exists() or shutil.which("go"):
        return None
    return "Go is not installed"


def installed() -> Path:
    program = _program()
    program.parent.mkdir(parents=True, exist_ok=True)
    with open(program.with_name("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _install(program)
    return program


def _program() -> Path:
    return cache_folder() / "bench-tusd" / VERSION / "tusd"


def _install(program: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise StackError("tusd needs Go; omit tusd with --contestants")
    say(f"installing tusd {VERSION} into {program.parent}")
    env = {**os.environ, "GOBIN": str(program.parent / "new"), "CGO_ENABLED": "0"}
    result = process.run([go, "install", f"{_MODULE}@v{VERSION}"], env=env, stdin="", capture=True)
    if result.returncode != 0:
        raise StackError(f"go install failed:\n{result.stdout.strip()}")
    os.replace(program.parent / "new" / "tusd", program)
