"""Turns signals into an exception, so that `finally` blocks stop the child processes.

Signals must not interrupt two operations: starting a child and writing its pid file, and stopping
the children. `uninterrupted()` delays signals during the first operation, and `ignore()` drops them
during the second one, in which every wait is bounded.
"""

import contextlib
import signal

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_depth = 0
_pending = None


class Interrupted(BaseException):
    """Like KeyboardInterrupt, this is not an Exception, so that no handler of exceptions catches it."""

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
        # nohup ignores SIGHUP on purpose.
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue
        signal.signal(number, _handle)


def ignore() -> None:
    """Drops all later signals. Children still start with the default handlers."""
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
