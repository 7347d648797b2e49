"""Waybill's roles, as four processes or as one, and their addresses."""

import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Dict, Optional

from stacklib.ports import Ports
from stacklib.stack import Role, Stack

# In the order in which they start: the gateway is ready only after the others answer.
NAMES = ("worker", "projector", "fanout", "gateway")
_GRACE_S = 30


def settings(ports: Ports) -> Dict[str, str]:
    """Returns the addresses of this stack. All other settings are Waybill's defaults."""
    address = {name: f"127.0.0.1:{ports.pick()}" for name in (*NAMES, "content")}
    return {
        "WAYBILL_HTTP_ADDR": address["gateway"],
        "WAYBILL_WORKER_ADDR": address["worker"],
        "WAYBILL_WORKER_URLS": f"http://{address['worker']}",
        "WAYBILL_PROJECTOR_ADDR": address["projector"],
        "WAYBILL_FANOUT_ADDR": address["fanout"],
        "WAYBILL_CONTENT_ADDR": address["content"],
        "WAYBILL_PARTITIONS": "1",
    }


def role(name: str) -> Role:
    return Role(name, signal.SIGTERM, _GRACE_S)


def start(stack: Stack, program: Path, env: Dict[str, str], *, together: bool) -> None:
    """Starts the roles. If `together` is set, starts `waybill serve all`, like `scripts/up`."""
    for name in ("all",) if together else NAMES:
        start_one(stack, program, env, name)


def start_one(stack: Stack, program: Path, env: Dict[str, str], name: str) -> None:
    child = stack.start(role(name), [str(program), "serve", name], env)
    variable = "WAYBILL_HTTP_ADDR" if name in ("gateway", "all") else f"WAYBILL_{name.upper()}_ADDR"
    url = f"http://{env[variable]}/readyz"
    stack.wait_ready(role(name), child, lambda: answers(url), 60)


def restart_worker(stack: Stack, program: Path, env: Dict[str, str]) -> None:
    """Restarts the worker with other settings. If all roles are one process, restarts all of them."""
    running = stack.pids()
    name = "all" if "all" in running else "worker"
    stack.stop_one(role(name))
    start_one(stack, program, env, name)


def answers(url: str, method: str = "GET", headers: Optional[Dict[str, str]] = None) -> bool:
    """Returns True if a request succeeds. Ignores the proxies of the environment."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, method=method, headers=headers or {})
    try:
        with direct.open(request, timeout=10) as response:
            return response.status < 300
    except (OSError, urllib.error.URLError, ValueError):
        return False
