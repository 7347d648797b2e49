"""What the scripts say, and the one error that ends them with a message instead of a traceback."""

import sys
from pathlib import Path

from . import interrupts


class StackError(Exception):
    """Something that the person at the terminal can act on; its text is printed as it stands."""


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, indented; a note where there is none."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        text = []
    return "\n".join("    " + line for line in text) or "    (the log is empty)"


def exit_code(main) -> int:
    """Runs a script's main and turns its outcome into an exit code."""
    interrupts.install()
    try:
        return main()
    except StackError as error:
        say(f"error: {error}")
        return 1
    except interrupts.Interrupted as interrupted:
        return 128 + interrupted.signal_number
