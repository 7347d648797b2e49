"""@tus/server with its S3 store: installs it once into the cache, and starts it beside Waybill."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Dict

from stacklib import process
from stacklib.console import StackError, say
from stacklib.home import REPOSITORY, cache_folder
from stacklib.s3probe import REGION
from stacklib.stack import Role, Stack

from .roles import answers
from .s3 import Store

BUCKET = "tus"
_FOLDER = REPOSITORY / "bench" / "tus-server"
_ROLE = Role("tus", signal.SIGTERM, 15)


def start(stack: Stack, env: Dict[str, str], port: int, store: Store) -> int:
    """Starts the server and returns its process id. Uploads go to url(port)."""
    node = shutil.which("node")
    if node is None:
        raise StackError("@tus/server needs node; omit tus with --contestants")
    script = installed() / "server.mjs"
    settings = {
        "NODE_ENV": "production", "BENCH_TUS_PORT": str(port), "BENCH_TUS_BUCKET": BUCKET,
        "BENCH_S3_ENDPOINT": store.endpoint, "BENCH_S3_REGION": REGION,
        "BENCH_S3_ACCESS_KEY_ID": store.keys.access_key_id,
        "BENCH_S3_SECRET_ACCESS_KEY": store.keys.secret_access_key,
    }
    child = stack.start(_ROLE, [node, str(script)], {**env, **settings})
    greeting = {"Tus-Resumable": "1.0.0"}
    stack.wait_ready(_ROLE, child, lambda: answers(url(port), "OPTIONS", greeting), 30)
    return child.pid


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/files"


def version() -> str:
    pins = json.loads((_FOLDER / "package.json").read_text())["dependencies"]
    return ", ".join(f"{name} {pin}" for name, pin in sorted(pins.items()))


def installed() -> Path:
    """Returns the folder for the current lock file. The script is copied there too, because Node finds packages beside it."""
    pins = hashlib.sha256((_FOLDER / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = cache_folder() / "bench-tus-server" / pins
    folder.parent.mkdir(exist_ok=True)
    with open(folder.with_name(pins + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder)
            (folder / "complete").touch()
        fresh = folder / "server.mjs.new"
        shutil.copyfile(_FOLDER / "server.mjs", fresh)
        os.replace(fresh, folder / "server.mjs")
    return folder


def _install(folder: Path) -> None:
    say(f"installing {version()} into {folder}")
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(_FOLDER / name, folder / name)
    command = ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    result = process.run(command, cwd=folder, stdin="", capture=True)
    if result.returncode != 0:
        raise StackError(f"npm ci failed:\n{result.stdout.strip()}")
