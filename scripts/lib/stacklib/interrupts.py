"""Signals become an exception, so that `finally` blocks stop what was started.

Two moments must not be torn apart: between starting a child and writing down its pid, and while
the children are being stopped. `uninterrupted()` holds signals back in the first, `ignore()`
drops them in the second (every wait in there is bounded, so impatience gains nothing).
"""

import contextlib
import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_depth = 0
_pending = None


class Interrupted(BaseException):
    """Like KeyboardInterrupt, not an Exception: nothing on the way up may swallow it."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


def _handle(signal_number, _frame):
    global _pending
    if _depth:
        _pending = signal_number
    else:
        raise Interrupted(signal_number)


def install() -> None:
    for number in _SIGNALS:
        # Under nohup a hang-up is ignored on purpose.
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue
        signal.signal(number, _handle)


def ignore() -> None:
    """From here on signals are dropped; children still start with the defaults."""
    for number in _SIGNALS:
        signal.signal(number, lambda _number, _frame: None)


@contextlib.contextmanager
def uninterrupted():
    global _depth, _pending
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth and _pending is not None:
            number, _pending = _pending, None
            raise Interrupted(number)
