"""Checks the relative links of all Markdown files of the repository."""

import os
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, Set
from urllib.parse import unquote

from . import markdown

# Links to other sites are not checked, because CI would then depend on these sites.
_FOREIGN = ("http://", "https://", "mailto:")


def files(repository: Path) -> List[Path]:
    """Returns all Markdown files that are tracked or could be added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=repository, stdout=subprocess.PIPE, check=True).stdout.decode()
    paths = [repository / name for name in sorted(set(listed.split("\0"))) if name]
    return [path for path in paths if path.is_file()]


def faults(repository: Path) -> Iterator[str]:
    """Yields a line for each link whose file or heading does not exist."""
    known: Dict[Path, Set[str]] = {}
    for file in files(repository):
        for link in markdown.links(file.read_text()):
            if link.target.startswith(_FOREIGN):
                continue
            fault = _fault(repository, file, link.target, known)
            if fault:
                yield f"{file.relative_to(repository)}:{link.line}: {link.target}: {fault}"


def _fault(repository: Path, file: Path, target: str, known: Dict[Path, Set[str]]) -> str:
    path, _, fragment = unquote(target).partition("#")
    if path.startswith("/"):
        return "the link is not relative"
    goal = Path(os.path.normpath(file.parent / path)) if path else file
    if repository not in goal.parents and goal != repository:
        return "the link leaves the repository"
    if not goal.exists():
        return "the file does not exist"
    if not fragment:
        return ""
    if goal.suffix != ".md":
        return "only Markdown files have headings"
    if goal not in known:
        known[goal] = markdown.anchors(goal.read_text())
    return "" if fragment in known[goal] else "the heading does not exist"
