"""Runs a PostgreSQL cluster on a loopback port, with passwords and without a Unix socket."""

import os
import time
from pathlib import Path
from typing import Dict

from . import pgfind, pgfolder, process
from .console import StackError
from .stack import POSTGRES, Stack

SUPERUSER = "postgres"

# Tests create and drop hundreds of databases, which need not survive a power failure. A replica that a test has stopped follows again
# after other tests have written much.
_DISPOSABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
               "max_connections": "300", "wal_keep_size": "4GB"}


class Postgres:
    def __init__(self, folder: Path, port: int, password: str, *, durable: bool):
        self._wanted = folder
        self._port = port
        self._password = password
        self._options = {} if durable else _DISPOSABLE

    def start(self, stack: Stack) -> None:
        version_file = self._wanted / "data" / "PG_VERSION"
        major = int(version_file.read_text()) if version_file.exists() else None
        # The order matters, because installing the packages can create the user.
        self._programs = pgfind.programs(major)
        self._user = pgfolder.unprivileged_user()
        folder = pgfolder.create(self._wanted, self._user)
        if major is None:
            self._initialise(folder)
        _forget_zombie(folder / "data")
        options = {
            "listen_addresses": "127.0.0.1", "port": str(self._port),
            "unix_socket_directories": "", **self._options,
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        argv = [str(self._programs / "postgres"), "-D", str(folder / "data"), *flags]
        child = stack.start(POSTGRES, argv, run_as=self._user)
        # A login with the password also proves that the answering server is the one that was started here.
        stack.wait_ready(POSTGRES, child, lambda: self._psql("SELECT 1").returncode == 0, 60)

    def url(self, user: str = "", password: str = "", database: str = "postgres") -> str:
        login = f"{user or SUPERUSER}:{password or self._password}"
        return f"postgres://{login}@127.0.0.1:{self._port}/{database}"

    def ensure_database(self, name: str, password: str) -> None:
        """Creates a role and a database of the same name. The role owns only this database."""
        self.ensure_role(name, password)
        self._execute(
            f"SELECT 'CREATE DATABASE {name} OWNER {name}' WHERE NOT EXISTS "
            f"(SELECT FROM pg_database WHERE datname = '{name}') \\gexec\n"
        )

    def ensure_role(self, name: str, password: str) -> None:
        """Creates a role that can log in and owns nothing."""
        self._execute(
            f"SELECT 'CREATE ROLE {name} LOGIN' WHERE NOT EXISTS "
            f"(SELECT FROM pg_roles WHERE rolname = '{name}') \\gexec\n"
            f"ALTER ROLE {name} PASSWORD '{password}';\n"
        )

    def _initialise(self, folder: Path) -> None:
        password_file = folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if self._user is not None:
            os.chown(password_file, self._user.uid, self._user.gid)
        # initdb uses a temporary folder, because an interrupted initdb must not look like a cluster.
        fresh = folder / "fresh"
        pgfolder.remove(fresh)
        result = process.run(
            [str(self._programs / "initdb"), "-D", str(fresh), "-U", SUPERUSER,
             f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8",
             "--locale=C", "--no-instructions", "--no-sync"],
            cwd=Path("/"), capture=True, run_as=self._user,
        )
        password_file.unlink()
        if result.returncode != 0:
            raise StackError(f"initdb failed:\n{result.stdout.strip()}")
        fresh.rename(folder / "data")

    def _execute(self, sql: str) -> None:
        result = self._psql(sql)
        if result.returncode != 0:
            raise StackError(f"psql failed:\n{result.stdout.strip()}")

    def query(self, database: str, sql: str) -> str:
        """Returns the result of a statement, with one row per line and columns separated by |."""
        result = self._psql(sql, database, "--tuples-only", "--no-align")
        if result.returncode != 0:
            raise StackError(f"psql failed:\n{result.stdout.strip()}")
        return result.stdout

    def _psql(self, sql: str, database: str = "postgres", *more: str):
        # The statement may contain a password, so it goes to standard input. `ps` would show arguments.
        env: Dict[str, str] = {
            "PATH": os.environ.get("PATH", ""), "PGPASSWORD": self._password,
            "PGCONNECT_TIMEOUT": "5",
        }
        command = [str(self._programs / "psql"), "--no-psqlrc", "--no-password", "--quiet",
                   "--set=ON_ERROR_STOP=1", "--host=127.0.0.1", f"--port={self._port}",
                   f"--username={SUPERUSER}", f"--dbname={database}", *more]
        return process.run(command, env=env, stdin=sql, capture=True)


def _forget_zombie(data: Path) -> None:
    """Removes the lock file of a server that was killed and is now a zombie.

    PostgreSQL treats the pid of a zombie as a running server and would refuse to start. The other
    processes of the killed server end after they notice its death. All of them have the folder as their
    working directory. If one of them does not end in time, the lock stays, and PostgreSQL decides.
    """
    lock = data / "postmaster.pid"
    if not lock.exists() or not Path("/proc/self/cwd").exists():
        return
    if process.start_time(int(lock.read_text().split("\n", 1)[0])) is not None:
        return
    deadline = time.monotonic() + 5
    while _has_processes(data):
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)
    lock.unlink()


def _has_processes(folder: Path) -> bool:
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if os.readlink(link) == str(folder):
                return True
        except OSError:
            continue  # the process has ended or is a zombie
    return False
