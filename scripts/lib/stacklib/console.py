"""Prints messages, and defines the error that ends a script with a message instead of a traceback."""

import sys
from pathlib import Path

from . import interrupts


class StackError(Exception):
    """Error that the user can fix. Its text is printed unchanged."""


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def tail(log: Path, lines: int = 20) -> str:
    """Returns the last lines of a log, indented, or a note if the log is empty or missing."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        text = []
    return "\n".join("    " + line for line in text) or "    (the log is empty)"


def exit_code(main) -> int:
    """Runs the main function of a script and returns the exit code."""
    interrupts.install()
    try:
        return main()
    except StackError as error:
        say(f"error: {error}")
        return 1
    except interrupts.Interrupted as interrupted:
        return 128 + interrupted.signal_number
