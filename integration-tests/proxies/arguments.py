"""Arguments and counters that the Python clients share."""

import argparse
import json
from collections import Counter
from typing import Callable, Optional


def parse(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("url")
    parser.add_argument("method")
    parser.add_argument("size", type=int)
    parser.add_argument("times", type=int)
    parser.add_argument("--chunked", action="store_true")
    parser.add_argument("--http2", action="store_true")
    parser.add_argument("--ca")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--expect")
    parser.add_argument("--then", help="URL of a small POST that follows on the same client")
    parser.add_argument("--then-header", action="append", default=[])
    return parser.parse_args()


def seen(status: int, body: bytes) -> str:
    """Return the status and the code of the problem document."""
    try:
        return f"{status} {json.loads(body)['code']}"
    except (ValueError, KeyError, TypeError):
        return f"{status} (no problem document)"


def report(client: str, given: argparse.Namespace, once: Callable[[], "tuple[str, Optional[str]]"]) -> None:
    """Print how often each answer was seen. `once` returns the answers to the request and to the POST after it."""
    answers, after = Counter(), Counter()
    for _ in range(given.times):
        answer, then = once()
        answers[answer] += 1
        if then is not None:
            after[then] += 1
    print(json.dumps({
        "client": client,
        "tries": given.times,
        "right": answers[given.expect],
        "seen": answers,
        "then_right": sum(count for what, count in after.items() if what[:1] == "2" and len(what) == 3),
        "then": after,
    }))
