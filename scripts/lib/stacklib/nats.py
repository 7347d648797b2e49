"""Starts nats-server with JetStream and file storage, with a configuration of the folder nats/."""

import json
import os
import secrets
import socket
from pathlib import Path
from typing import Callable, Dict, Optional

from . import wheels
from .home import REPOSITORY, write_private
from .stack import NATS, Stack

# Without users, and with a user for each role.
CONFIG = REPOSITORY / "nats" / "nats-server.conf"
CONFIG_WITH_USERS = REPOSITORY / "nats" / "nats-server-users.conf"

# The users in nats/users.conf.
USERS = ("gateway", "worker", "projector", "fanout", "content", "all", "provision")


def start(stack: Stack, store: Path, port: int, config: Optional[Path] = None,
          passwords: Optional[Dict[str, str]] = None) -> str:
    """Starts the server with `config`, or with a configuration of the repository, and returns its URL.

    With `passwords`, which come from `passwords()`, each role has a user of its own.
    """
    # The name is unique to this start, so a server that reports it is the one that was started here.
    name = f"waybill-{secrets.token_hex(8)}"
    store.mkdir(mode=0o700, exist_ok=True)
    config = config or (CONFIG_WITH_USERS if passwords else CONFIG)
    _move_streams(store / "jetstream", *(("$G", "WAYBILL") if passwords else ("WAYBILL", "$G")))
    child = stack.start(NATS, [
        wheels.nats_server(), "--config", str(config),
        "--addr", "127.0.0.1", "--port", str(port), "--store_dir", str(store), "--name", name,
    ], {**os.environ, **(passwords or {})})
    stack.wait_ready(NATS, child, lambda: _greets_as(name, port), 60)
    return f"nats://127.0.0.1:{port}"


def _move_streams(folder: Path, found: str, wanted: str) -> None:
    """Moves the streams of an earlier start to the account that has them now. Without users, it is the account $G."""
    if (folder / found).is_dir() and not (folder / wanted).exists():
        (folder / found).rename(folder / wanted)


def password_name(user: str) -> str:
    """Returns the variable of nats-server with the password of a user."""
    return f"NATS_PASSWORD_{user.upper()}"


def passwords(get: Callable[[str], str], users=USERS) -> Dict[str, str]:
    """Returns the variables with the passwords of all users. `get` returns the password for the name of a variable."""
    return {password_name(user): get(password_name(user)) for user in users}


def password() -> str:
    """Returns a new password. It begins with a letter, because nats-server would read some digits as a number."""
    return "p" + secrets.token_hex(32)


def configs_of_tests(folder: Path) -> Dict[str, str]:
    """Writes two configurations, and returns the variables with their paths: one without users, and one with all users
    and the user `test`, who may do everything. The streams may reserve more space than the disk has, because tests use
    little of it."""
    config = CONFIG.read_text().replace("jetstream {", "jetstream {\n  max_file_store: 100GiB", 1)
    observer = "{ user: test, password: $%s }" % password_name("test")
    users = (REPOSITORY / "nats" / "users.conf").read_text().replace("users: [", f"users: [\n    {observer}", 1)
    anonymous, with_users = folder / "nats-server.conf", folder / "nats-server-users.conf"
    write_private(anonymous, config)
    write_private(with_users, config + users)
    return {"WAYBILL_TEST_NATS_CONFIG": str(anonymous), "WAYBILL_TEST_NATS_USERS_CONFIG": str(with_users)}


def _greets_as(name: str, port: int) -> bool:
    """Returns True if the server has this name. A NATS server first sends INFO and a JSON object with its name."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            line = connection.makefile("rb").readline()
        info = json.loads(line.partition(b" ")[2])
    except (OSError, ValueError):
        return False
    return info.get("server_name") == name and info.get("jetstream") is True
