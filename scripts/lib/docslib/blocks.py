"""Splits a Markdown page into what its test does in order: code blocks, and comments that readers do not see.

A comment before a block tells how the block is tested:

    <!-- not run: REASON -->            the block cannot be run
    <!-- run by MODULE::TEST -->        this integration test runs the block
    <!-- test with: OLD => NEW; … -->   the block is run with NEW in place of OLD
    <!-- test: SHELL -->                these commands run at this place of the page, and may have several lines

Without a comment, commands (sh, bash) are run, and JSON is parsed.
"""

import re
import subprocess
from dataclasses import dataclass, field
from typing import Dict, List, Tuple

SHELL = ("sh", "bash")
# Diagrams and layouts, which nobody runs.
_TEXT = ("text",)
_FENCE = re.compile(r"^( *)(`{3,})(\w*)")
_COMMENT = re.compile(r" *<!-- (not run|run by|test with|test)(?:: ?|\s+)(.*?)-->\s*$", re.DOTALL)


class Fault(Exception):
    """Mistake in a page, with its line."""


@dataclass(frozen=True)
class Command:
    """Command of a block, or a hidden one. A shown output is the comment lines that follow a command."""

    text: str
    line: int
    hidden: bool
    shown: str = ""


@dataclass
class Block:
    """Code block, or the commands of a hidden comment."""

    language: str
    line: int
    text: str
    hidden: bool = False
    not_run: str = ""
    run_by: str = ""
    instead: Dict[str, str] = field(default_factory=dict)

    def is_run(self) -> bool:
        return self.language in SHELL and not self.not_run and not self.run_by


def blocks(text: str) -> List[Block]:
    """Returns the code blocks and hidden commands of a page. Raises a fault for a comment without a block."""
    found: List[Block] = []
    marks: Dict[str, Tuple[str, int]] = {}
    lines = iter(enumerate(text.split("\n"), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence:
            found.append(_block(fence, number, _until(lines, f"{fence[1]}{fence[2]}"), marks))
            marks = {}
        elif line.lstrip().startswith("<!-- "):
            comment = line
            while "-->" not in comment:
                comment += "\n" + next(lines, (0, "-->"))[1]
            match = _COMMENT.match(comment)
            if match and match[1] == "test":
                found.append(Block("sh", number, match[2], hidden=True))
            elif match:
                marks[match[1]] = (match[2].strip(), number)
        elif line.strip() and marks:
            raise Fault(f"{number}: a comment stands before this line, but not before a code block")
    return found


def _until(lines, end: str) -> str:
    inside = []
    for _, line in lines:
        if line.rstrip() == end:
            break
        inside.append(line)
    return "\n".join(inside)


def _block(fence, number: int, text: str, marks) -> Block:
    indent, language = fence[1], fence[3]
    text = "\n".join(line[len(indent):] if line.startswith(indent) else line for line in text.split("\n"))
    block = Block(language, number, text, not_run=marks.get("not run", ("", 0))[0], run_by=marks.get("run by", ("", 0))[0])
    if "not run" in marks and not block.not_run:
        raise Fault(f"{number}: the comment gives no reason")
    for pair in filter(str.strip, marks.get("test with", ("", 0))[0].split(";")):
        old, arrow, new = (part.strip() for part in pair.partition("=>"))
        if not arrow or old not in text:
            raise Fault(f"{number}: the block does not contain {old!r}, or the comment has no =>")
        block.instead[old] = new
    if language not in (*SHELL, *_TEXT, "json") and not block.not_run and not block.run_by:
        raise Fault(f"{number}: a block of {language or 'no language'} is neither run nor marked")
    return block


def commands(block: Block) -> List[Command]:
    """Returns the commands of a block. A command ends at the first line with which it is complete."""
    found: List[Command] = []
    pending, first = "", 0
    for offset, line in enumerate(block.text.split("\n")):
        number = block.line + offset + (0 if block.hidden else 1)
        if not pending and (not line.strip() or line.startswith("#")):
            if line.startswith("# ") and found:
                last = found[-1]
                found[-1] = Command(last.text, last.line, last.hidden, last.shown + line[2:] + "\n")
            continue
        first = first if pending else number
        pending += line + "\n"
        if not line.endswith("\\") and _is_complete(pending):
            found.append(Command(pending, first, block.hidden))
            pending = ""
    if pending:
        raise Fault(f"{first}: this command is not complete")
    return found


def _is_complete(text: str) -> bool:
    return subprocess.run(["bash", "-n"], input=text, text=True, stderr=subprocess.DEVNULL).returncode == 0
