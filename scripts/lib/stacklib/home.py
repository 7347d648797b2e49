"""Paths of the repository, of the cache that all checkouts share, and of the folder of a stack."""

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path

from .console import StackError

REPOSITORY = Path(__file__).resolve().parents[3]


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "waybill"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Home:
    """`$WAYBILL_HOME`: data, logs, pid files and settings of one stack."""

    def __init__(self, root: Path):
        self.root = root
        self.data = root / "data"
        self.logs = root / "logs"
        self.run = root / "run"
        self.env_file = root / "env"
        self.token_file = root / "token"

    @classmethod
    def from_environment(cls) -> "Home":
        return cls(Path(os.environ.get("WAYBILL_HOME") or REPOSITORY / ".waybill").absolute())

    def create(self) -> "Home":
        self.root.parent.mkdir(parents=True, exist_ok=True)
        # PostgreSQL may run as another user, who must be able to enter these folders but not to list them.
        for folder in (self.root, self.data):
            folder.mkdir(mode=0o711, exist_ok=True)
        for folder in (self.logs, self.run):
            folder.mkdir(mode=0o700, exist_ok=True)
        return self

    @contextmanager
    def locked(self):
        """Holds the lock of this stack while `up` starts or watches it. The lock ends with the process."""
        with open(self.run / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"another scripts/up is running with {self.root}. Stop it with Ctrl-C or "
                    "scripts/down, or set WAYBILL_HOME and WAYBILL_HTTP_ADDR for a second stack."
                ) from None
            yield


def write_private(path: Path, text: str) -> None:
    """Replaces a file atomically. Only the owner can read the file at any time."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
