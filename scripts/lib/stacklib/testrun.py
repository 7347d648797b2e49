"""`scripts/test`: runs the tests, or any command, with a separate PostgreSQL and S3 server.

    scripts/test                        runs cargo test --workspace --locked
    scripts/test replay::               runs the tests whose names contain this text; other arguments
                                        of cargo test are added in the same way
    scripts/test -p waybill-gateway     runs cargo test --locked -p waybill-gateway
    scripts/test -- COMMAND…            runs COMMAND instead of cargo test

nats-server and clamd are not started here: each test starts its own, so that it can crash it. The binary
`waybill` is built first, for tests that start and kill processes; WAYBILL_BIN names another binary.
WAYBILL_TEST_DATABASE_URL and WAYBILL_TEST_S3_ENDPOINT name servers to use instead. Most tests wait a
lot, so three tests run in parallel on two cores, and at most eight on more cores. RUST_TEST_THREADS
sets another number; with cargo-nextest, NEXTEST_TEST_THREADS does.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

from . import clamd, clients, nats, pgfind, pgfolder, process, waybill, weed, wheels
from .console import say
from .home import REPOSITORY
from .ports import Ports
from .postgres import Postgres
from .settings import secret
from .stack import Stack


TESTS_PER_CORE = 1.5
# The connections of PostgreSQL are sufficient for this number of tests.
MOST_TESTS = 8


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="waybill-test-"))
    failed = False
    stack = _create(folder)
    try:
        # The build comes before the servers, because it can take minutes.
        program = waybill.binary(release=False)
        parallel = str(min(int(TESTS_PER_CORE * _cores()), MOST_TESTS))
        env = {"RUST_TEST_THREADS": parallel, "NEXTEST_TEST_THREADS": parallel, **os.environ,
               **_start_servers(folder, stack), **clients.environment(), "WAYBILL_TEST_BIN": str(program)}
        code = process.run(_command(arguments), env=env, cwd=_where(arguments)).returncode
        failed = code != 0
        # A command ended by a signal has a negative code here and 128 + signal in a shell.
        return code if code >= 0 else 128 - code
    except Exception:
        failed = True
        raise
    finally:
        stack.stop()
        _clean_up(folder, keep_logs=failed)


def _create(folder: Path) -> Stack:
    # mkdtemp creates a private folder, but the user of PostgreSQL must reach its folder inside.
    folder.chmod(0o711)
    for name in ("run", "logs", "tmp"):
        (folder / name).mkdir()
    return Stack(folder / "run", folder / "logs")


def _start_servers(folder: Path, stack: Stack) -> Dict[str, str]:
    ports = Ports()
    env = {
        "WAYBILL_TEST_NATS_SERVER": wheels.nats_server(),
        "WAYBILL_TEST_PG_BINDIR": str(pgfind.programs(None)),
        "WAYBILL_TEST_PG_USER": _postgres_user(),
        "WAYBILL_TEST_CLAMD": os.environ.get("WAYBILL_TEST_CLAMD") or clamd.program(),
        **nats.configs_of_tests(folder),
        **nats.passwords(lambda _name: nats.password(), (*nats.USERS, "test")),
        # Temporary files of the tests are removed with the folder.
        "TMPDIR": str(folder / "tmp"),
    }
    if not os.environ.get("WAYBILL_TEST_DATABASE_URL"):
        server = Postgres(folder / "postgres", ports.pick(), secret(), durable=False)
        server.start(stack)
        env["WAYBILL_TEST_DATABASE_URL"] = server.url()
    if not os.environ.get("WAYBILL_TEST_S3_ENDPOINT"):
        keys = weed.Keys("waybilltest", secret(), secret())
        endpoint = weed.start(stack, folder / "weed", lambda _part: ports.pick(), keys)
        env["WAYBILL_TEST_S3_ENDPOINT"] = endpoint
        env["WAYBILL_TEST_S3_ACCESS_KEY_ID"] = keys.access_key_id
        env["WAYBILL_TEST_S3_SECRET_ACCESS_KEY"] = keys.secret_access_key
    return env


def _postgres_user() -> str:
    """Returns the ids of the user and the group with which tests start PostgreSQL, or an empty text for the own ones."""
    user = pgfolder.unprivileged_user()
    return f"{user.uid}:{user.gid}" if user else ""


def _cores() -> int:
    """Returns the number of cores that this process may use, or all cores if the system does not tell."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _command(arguments: List[str]) -> List[str]:
    if arguments[:1] == ["--"]:
        return arguments[1:] or [os.environ.get("SHELL", "/bin/sh")]
    # With --workspace, cargo ignores -p.
    has_packages = any(argument.startswith(("-p", "--package")) for argument in arguments)
    whole = [] if has_packages else ["--workspace"]
    return [os.environ.get("CARGO", "cargo"), "test", *whole, "--locked", *arguments]


def _where(arguments: List[str]) -> Path:
    """Returns the working directory: the repository for cargo test, and the current one for other commands."""
    return Path.cwd() if arguments[:1] == ["--"] else REPOSITORY


def _clean_up(folder: Path, *, keep_logs: bool) -> None:
    pgfolder.remove(folder / "postgres")
    if not keep_logs:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for name in ("weed", "tmp", "run"):
        shutil.rmtree(folder / name, ignore_errors=True)
    say(f"the servers' logs are in {folder / 'logs'}")
