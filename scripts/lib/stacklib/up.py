"""`scripts/up`: builds and starts Waybill and its servers on this machine, and issues a token."""

import argparse
import os
import shlex
import shutil
import uuid
from pathlib import Path
from typing import Dict

from . import pgfolder, servers, stack as stacks, waybill
from .console import StackError, say
from .home import REPOSITORY, Home, write_private
from .interrupts import Interrupted
from .ports import Ports
from .process import Child, start_time
from .settings import Settings, secret
from .stack import Stack

_USAGE = """\
Builds Waybill, starts its servers and all its roles, and prints how to upload a file.

environment:
  WAYBILL_HOME          data, logs and settings (default: .waybill in the repository)
  WAYBILL_HTTP_ADDR     address to listen on (default: 127.0.0.1:8080, or a free port if that is taken)
  WAYBILL_NATS_URL, WAYBILL_DATABASE_URL, WAYBILL_S3_ENDPOINT (with its keys)
                        running servers to use instead of starting new ones
  WAYBILL_CLAMD         running clamd. Without it, clamd is started if it is installed
  WAYBILL_BIN           waybill binary to use instead of building one
  WAYBILL_NATS_SERVER, WAYBILL_WEED, WAYBILL_PG_BINDIR
                        programs to use instead of those found or installed
"""


# Variables of these scripts, of the tests, and of client commands. The roles do not read them.
_NOT_SETTINGS = {
    "WAYBILL_HOME", "WAYBILL_BIN", "WAYBILL_NATS_SERVER", "WAYBILL_WEED", "WAYBILL_PG_BINDIR", "WAYBILL_URL",
    "WAYBILL_TOKEN", "WAYBILL_TOKEN_FILE", "WAYBILL_PROGRESS_URL",
}
_USUAL_ADDRESS = "127.0.0.1:8080"


def main() -> int:
    options = _parse()
    home = Home.from_environment().create()
    with home.locked():
        _refuse_second(home)
        _clear_damaged(home)
        started = start_time(os.getpid()) or ""
        supervisor = Child("up", os.getpid(), started, home.run / "up.pid")
        supervisor.pid_file.write_text(f"{supervisor.pid}\n{supervisor.started}\n")
        try:
            return _run(home, options)
        finally:
            supervisor.pid_file.unlink(missing_ok=True)


def _run(home: Home, options: argparse.Namespace) -> int:
    settings, ports = Settings(home.env_file), Ports()
    address = _address(settings, ports)
    program = waybill.binary(release=not options.dev)
    if options.fresh:
        _remove_data(home)
    stack = Stack(home.run, home.logs, tethered=not options.detach)
    with stack.stopped_on_error():
        started = servers.start(stack, home, settings, ports)
        env = _environment(started, settings, address)
        waybill.provision(program, env)
        waybill.serve(stack, program, {**env, **servers.serving(started, settings)}, address)
        _announce(home, settings, program, env, address, detached=options.detach)
        if not options.detach:
            _stay(stack)
    return 0


def _stay(stack: Stack) -> None:
    """Watches the stack until Ctrl-C, which is not an error."""
    try:
        stack.watch()
    except Interrupted:
        say("\nstopping")
        stack.stop()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/up", description=_USAGE, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--detach", action="store_true", help="return once it is ready")
    parser.add_argument("--fresh", action="store_true", help="remove all data first")
    profile = parser.add_mutually_exclusive_group()
    profile.add_argument("--release", action="store_true", help="optimised build (the default)")
    profile.add_argument("--dev", action="store_true", help="debug build: compiles faster")
    return parser.parse_args()


def _address(settings: Settings, ports: Ports) -> waybill.Address:
    """Returns the given address, or else the usual address, or a free one if that is taken."""
    given = settings.given("WAYBILL_HTTP_ADDR")
    address = waybill.Address(given or settings.kept("WAYBILL_HTTP_ADDR") or _USUAL_ADDRESS)
    if given:
        address.must_be_free()
    elif not address.is_free():
        taken, address = address, waybill.Address(f"127.0.0.1:{ports.pick()}")
        say(f"{taken.text} is taken by another program: using {address.text} from now on")
    return address


def _clear_damaged(home: Home) -> None:
    """Stops the rest of a detached stack if one of its servers has died."""
    left = stacks.recorded(home.run)
    if left:
        dead = ", ".join(stacks.died(home.run))
        say(f"{dead} of the stack in {home.root} died: stopping the other servers and starting the whole stack")
        stacks.stop_children(left)


def _refuse_second(home: Home) -> None:
    running = stacks.recorded(home.run)
    if running and not stacks.died(home.run):
        names = ", ".join(f"{child.name} (pid {child.pid})" for child in running.values())
        raise StackError(f"a stack is already running with {home.root}: {names}. Stop it with scripts/down.")


def _remove_data(home: Home) -> None:
    say(f"removing the data in {home.data}")
    pgfolder.remove(home.data / "postgres")
    shutil.rmtree(home.data)
    home.create()


def _environment(
    started: Dict[str, str], settings: Settings, address: waybill.Address
) -> Dict[str, str]:
    """Returns the environment of waybill: that of the caller and the settings of these scripts."""
    # Stored also if the user gives them, because the data belong to these values and operator commands need them.
    fixed = {**{name: secret for name in waybill.SECRETS}, "WAYBILL_PARTITIONS": lambda: "1"}
    own = {
        "WAYBILL_HTTP_ADDR": settings.keep("WAYBILL_HTTP_ADDR", address.text),
        **{name: settings.keep(name, settings.get(name, make)) for name, make in fixed.items()},
    }
    ours = {**started, **own}
    given = {name: value for name, value in os.environ.items() if _is_setting(name) and name not in ours}
    settings.record_given(given, ours)
    return {**os.environ, **ours}


def _is_setting(name: str) -> bool:
    """Returns True if the roles read the variable."""
    if name.startswith(("WAYBILL_UP_", "WAYBILL_TEST_")) or name in _NOT_SETTINGS:
        return False
    return name.startswith("WAYBILL_")


def _announce(home, settings, program, env, address, *, detached: bool) -> None:
    company = settings.own("WAYBILL_UP_COMPANY_ID", lambda: str(uuid.uuid4()))
    user = settings.own("WAYBILL_UP_USER_ID", lambda: str(uuid.uuid4()))
    token = waybill.token(program, env, company, user)
    write_private(home.token_file, token + "\n")
    read_token, readme = f"$(cat {_short(home.token_file)})", _short(REPOSITORY / "README.md")
    stop = "scripts/down stops it" if detached else "Ctrl-C stops it"
    print(f"""
Waybill is ready on {address.url} ({stop})
  logs      {_short(home.logs)}
  settings  {_short(home.env_file)} (set -a; . {_short(home.env_file)}; set +a)
  company   {company}
  user      {user}
  token     {token}

Upload a file:
  WAYBILL_URL={address.url} WAYBILL_TOKEN={read_token} {_short(program)} upload {readme}
or
  curl --data-binary @{readme} -H 'Content-Type: application/octet-stream' \\
    -H "Authorization: Bearer {read_token}" \\
    '{address.url}/v1/files?name=README.md&mime_type=text/markdown'
""", flush=True)


def _short(path: Path) -> str:
    """Returns the path relative to the current folder if it is inside, quoted for a shell."""
    relative = os.path.relpath(path)
    return shlex.quote(str(path) if relative.startswith("..") else relative)
