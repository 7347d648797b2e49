"""How many files a reader opens to follow a chunk, and how many files each recipe of CONTRIBUTING.md changes.

The journey of a chunk is that of a whole chunk that is one part, in `waybill serve all`. Each step names the file and an
item in it, which must exist, so that the list follows the code.
"""

import re
from pathlib import Path
from typing import Dict, List, Tuple

from .tree import REPOSITORY

CHUNK_FILES_MAX = 16
CHUNK: List[Tuple[str, str]] = [
    ("services/gateway/src/routes/uploads/chunk.rs", "fn take_chunk"),
    ("services/gateway/src/application/gateway.rs", "fn started"),
    ("shared/data-plane/src/lib.rs", "trait DataPlane"),
    ("services/worker/src/data_plane/local.rs", "fn put_bytes"),
    ("services/worker/src/data_plane/uploads.rs", "fn open_current"),
    ("services/worker/src/data_plane/ingest.rs", "fn ingest"),
    ("services/worker/src/data_plane/incoming.rs", "fn check"),
    ("services/worker/src/data_plane/read_part.rs", "fn read_part"),
    ("services/worker/src/data_plane/budget.rs", "fn begin"),
    ("services/worker/src/data_plane/buffer.rs", "fn push"),
    ("services/worker/src/data_plane/keep_part.rs", "fn keep_part"),
    ("services/worker/src/data_plane/part.rs", "fn record_part"),
    ("services/worker/src/hashing.rs", "fn part_stored"),
    ("shared/object-store/src/lib.rs", "fn upload_part"),
    ("shared/repository/src/execute.rs", "fn execute"),
    ("shared/domain/src/upload/decide.rs", "fn decide_chunk"),
]
# Maximum number of files that each recipe changes.
RECIPES: Dict[str, int] = {"event": 7, "route": 3, "reaction": 4, "column": 4, "setting": 2}


def chunk_files() -> int:
    """Returns the number of files that a reader opens to follow a chunk."""
    return len({file for file, _ in CHUNK})


def recipe_files(contributing: str) -> Dict[str, int]:
    """Returns the number of files in the table of each recipe."""
    found = {}
    for name in RECIPES:
        section = re.search(rf"^### Add an? {name}\n(.*?)(?=^##|\Z)", contributing, re.MULTILINE | re.DOTALL)
        rows = re.findall(r"^\| (\d+)\. ", section[1], re.MULTILINE) if section else []
        found[name] = len(rows)
    return found


def faults() -> List[str]:
    """Returns the limits that are exceeded, and the steps that do not exist."""
    wrong = []
    for file, item in CHUNK:
        path = Path(REPOSITORY, file)
        if not path.is_file() or not re.search(rf"\b{re.escape(item)}\b", path.read_text()):
            wrong.append(f"{file} has no `{item}`: correct the journey of a chunk in measurelib/journeys.py")
    if chunk_files() > CHUNK_FILES_MAX:
        wrong.append(f"a reader opens {chunk_files()} files to follow a chunk; at most {CHUNK_FILES_MAX} are allowed")
    for name, files in recipe_files(_contributing()).items():
        if not 0 < files <= RECIPES[name]:
            wrong.append(f"CONTRIBUTING.md: the recipe for a new {name} has {files} files; 1 to {RECIPES[name]} are allowed")
    return wrong


def table() -> str:
    """Returns the measures as rows."""
    recipes = ", ".join(f"{name} {files}" for name, files in recipe_files(_contributing()).items())
    return f"Files to open to follow a chunk: {chunk_files()}\nFiles to change per recipe: {recipes}"


def _contributing() -> str:
    return Path(REPOSITORY, "CONTRIBUTING.md").read_text()
