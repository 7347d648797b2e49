"""Creates the data folder of PostgreSQL, which refuses to run as root and then runs as another user.

That user cannot reach a checkout in the home folder of root. In that case, the data is in a folder
outside, and the folder of the stack contains a link to it.
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
    """Returns the user for PostgreSQL, or None if the current user is not root and can run PostgreSQL."""
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
    """Creates the data folder and returns it: `wanted`, or the target of a link at that path."""
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
    # Uses a shell because the user may not be able to reach this Python interpreter.
    check = subprocess.run(
        ["/bin/sh", "-c", 'test -w "$1" && test -x "$1"', "sh", str(folder)],
        cwd="/", user=user.uid, group=user.gid, extra_groups=[],
    )
    return check.returncode == 0
