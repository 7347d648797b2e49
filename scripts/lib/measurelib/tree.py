"""Reads the tracked files of the checkout, or of a commit."""

import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, Optional

REPOSITORY = Path(__file__).resolve().parents[3]


@contextmanager
def files(rev: Optional[str]) -> Iterator[Dict[str, Path]]:
    """Returns the paths of all tracked .rs and Cargo.toml files by their names: of the commit, or of the checkout."""
    if rev is None:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
        names = [name for name in listed.stdout.decode().split("\0") if name]
        yield {name: REPOSITORY / name for name in names if _is_measured(name) and (REPOSITORY / name).is_file()}
        return
    with tempfile.TemporaryDirectory(prefix="waybill-measure-") as folder:
        archive = Path(folder) / "archive.tar"
        command = ["git", "archive", "--format=tar", f"--output={archive}", rev]
        if subprocess.run(command, cwd=REPOSITORY).returncode != 0:
            sys.exit(f"measure: cannot read commit {rev}")
        with tarfile.open(archive) as opened:
            members = [member for member in opened.getmembers() if member.isfile() and _is_measured(member.name)]
            # Python 3.12 and newer warn if no filter is given, and older versions may not know any.
            options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            opened.extractall(folder, members=members, **options)
        yield {member.name: Path(folder) / member.name for member in members}


def _is_measured(name: str) -> bool:
    return name.endswith(".rs") or name.rsplit("/", 1)[-1] == "Cargo.toml"
