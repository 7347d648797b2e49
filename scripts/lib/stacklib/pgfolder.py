"""PostgreSQL refuses to run as root. Then it runs as another user, who must reach its data.

A checkout in root's home is closed to everybody else. There the data goes to a folder outside, and
the stack's own folder holds a link to it.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Optional

from .console import StackError, say
from .process import User

_OUTSIDE = (Path("/var/lib"), Path("/var/tmp"), Path("/tmp"))


def unprivileged_user() -> Optional[User]:
    """None where we are not root and PostgreSQL may run as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(name, entry.pw_uid, entry.pw_gid)
    raise StackError("PostgreSQL does not run as root, and there is no user postgres or nobody")


def create(wanted: Path, user: Optional[User]) -> Path:
    """The folder for the data: the wanted one, or where a link in its place points."""
    if wanted.is_symlink() and not wanted.exists():
        wanted.unlink()
    if wanted.exists():
        folder = wanted.resolve()
        if user is None or _is_reachable(folder, user):
            return folder
        raise StackError(f"user {user.name} cannot reach {folder} (any more)")
    wanted.mkdir(mode=0o700)
    if user is None:
        return wanted
    os.chown(wanted, user.uid, user.gid)
    if _is_reachable(wanted, user):
        return wanted
    wanted.rmdir()
    return _create_outside(wanted, user)


def _create_outside(wanted: Path, user: User) -> Path:
    for base in _OUTSIDE:
        try:
            folder = Path(tempfile.mkdtemp(prefix="waybill-postgres-", dir=base))
        except OSError:
            continue
        os.chown(folder, user.uid, user.gid)
        if _is_reachable(folder, user):
            wanted.symlink_to(folder)
            say(f"user {user.name} cannot reach {wanted}: PostgreSQL's data is in {folder}")
            return folder
        folder.rmdir()
    raise StackError(f"found no folder for PostgreSQL's data that user {user.name} can reach")


def remove(wanted: Path) -> None:
    if wanted.is_symlink():
        shutil.rmtree(wanted.resolve(), ignore_errors=True)
        wanted.unlink()
    elif wanted.exists():
        shutil.rmtree(wanted)


def _is_reachable(folder: Path, user: User) -> bool:
    # A shell, not this Python: the interpreter itself may lie where that user cannot reach it.
    check = subprocess.run(
        ["/bin/sh", "-c", 'test -w "$1" && test -x "$1"', "sh", str(folder)],
        cwd="/", user=user.uid, group=user.gid, extra_groups=[],
    )
    return check.returncode == 0
