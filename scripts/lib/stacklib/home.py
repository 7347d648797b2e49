"""Where things live: the repository, the cache that all checkouts share, one stack's folder."""

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
        # Open for passing through only: PostgreSQL may run as a user that is not us.
        for folder in (self.root, self.data):
            folder.mkdir(mode=0o711, exist_ok=True)
        for folder in (self.logs, self.run):
            folder.mkdir(mode=0o700, exist_ok=True)
        return self

    @contextmanager
    def locked(self):
        """Held by the `up` that starts or watches this stack; dies with it, however it ends."""
        with open(self.run / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"another scripts/up runs with {self.root}. Stop it with Ctrl-C or "
                    "scripts/down, or set WAYBILL_HOME and WAYBILL_HTTP_ADDR for a second stack."
                ) from None
            yield


def write_private(path: Path, text: str) -> None:
    """Replaces a file in one step, readable by its owner only from its first byte on."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
