"""Starts nats-server with JetStream and file storage, with the configuration nats/nats-server.conf."""

import json
import secrets
import socket
from pathlib import Path
from typing import Optional

from . import wheels
from .home import REPOSITORY
from .stack import NATS, Stack


def start(stack: Stack, store: Path, port: int, config: Optional[Path] = None) -> str:
    """Starts the server with `config`, or with the configuration of the repository, and returns its URL."""
    # The name is unique to this start, so a server that reports it is the one that was started here.
    name = f"waybill-{secrets.token_hex(8)}"
    store.mkdir(mode=0o700, exist_ok=True)
    child = stack.start(NATS, [
        wheels.nats_server(), "--config", str(config or REPOSITORY / "nats" / "nats-server.conf"),
        "--addr", "127.0.0.1", "--port", str(port), "--store_dir", str(store), "--name", name,
    ])
    stack.wait_ready(NATS, child, lambda: _greets_as(name, port), 60)
    return f"nats://127.0.0.1:{port}"


def _greets_as(name: str, port: int) -> bool:
    """Returns True if the server has this name. A NATS server first sends INFO and a JSON object with its name."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            line = connection.makefile("rb").readline()
        info = json.loads(line.partition(b" ")[2])
    except (OSError, ValueError):
        return False
    return info.get("server_name") == name and info.get("jetstream") is True
