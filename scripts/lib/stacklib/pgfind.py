"""Finds the programs of PostgreSQL, or installs them if the user is root on a Debian-like system."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Iterator, Optional

from . import apt
from .console import StackError

AT_LEAST = 15
_GLOBS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin",
          "usr/local/opt/postgresql@*/bin")
_NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/waybill.conf")


def programs(major: Optional[int] = None) -> Path:
    """Returns the folder with initdb, postgres and psql of the newest version, or of version `major` if given."""
    found = _best(major)
    if found is None and major is None and _install():
        found = _best(major)
    if found is not None:
        return found
    if major is not None:
        raise StackError(
            f"the data was created by PostgreSQL {major}, which is not installed any more. "
            "Install it, or remove all data with scripts/up --fresh."
        )
    raise StackError(
        f"PostgreSQL {AT_LEAST} or newer is needed. Install it (Debian, Ubuntu: apt-get install "
        "postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql@17), "
        "point WAYBILL_PG_BINDIR at its programs, or set WAYBILL_DATABASE_URL."
    )


def _best(major: Optional[int]) -> Optional[Path]:
    versions = [(_major(folder), folder) for folder in _candidates()]
    fitting = [v for v in versions if v[0] >= AT_LEAST and major in (None, v[0])]
    return max(fitting, key=lambda version: version[0])[1] if fitting else None


def _candidates() -> Iterator[Path]:
    named = os.environ.get("WAYBILL_PG_BINDIR")
    if named:
        yield Path(named)
        return
    pg_config, postgres = shutil.which("pg_config"), shutil.which("postgres")
    if pg_config:
        answer = subprocess.run([pg_config, "--bindir"], stdout=subprocess.PIPE, text=True)
        yield Path(answer.stdout.strip())
    if postgres:
        yield Path(postgres).resolve().parent
    for pattern in _GLOBS:
        yield from sorted(Path("/").glob(pattern))


def _major(folder: Path) -> int:
    """Returns the major version, or 0 if the folder does not contain a working server."""
    if not all((folder / name).exists() for name in ("initdb", "postgres", "psql")):
        return 0
    answer = subprocess.run([folder / "postgres", "--version"], stdout=subprocess.PIPE, text=True)
    match = re.search(r"\) (\d+)", answer.stdout)
    return int(match.group(1)) if match else 0


def _install() -> Optional[bool]:
    """Installs the Debian package, and prevents it from creating and starting its own cluster."""
    if not apt.install("postgresql-common"):
        return None
    _NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    _NO_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        return apt.install("postgresql")
    finally:
        _NO_CLUSTER.unlink(missing_ok=True)
