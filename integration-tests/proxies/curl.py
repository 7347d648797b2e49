"""Send a request with a body of SIZE bytes TIMES times with curl, and count the answers.

The same curl sends the POST of --then, on the same connection if the answer leaves it open.
"""

import os
import subprocess
import tempfile
from typing import Optional

import arguments


def options(given, headers) -> "list[str]":
    all_ = ["-sS", "--max-time", "60", "--http2" if given.http2 else "--http1.1"]
    if given.ca:
        all_ += ["--cacert", given.ca]
    # Most clients do not send Expect, and curl would wait 1 s for the answer.
    for header in [*headers, "Expect:"]:
        all_ += ["-H", header]
    return all_


def once(given, file: str, folder: str) -> "tuple[str, Optional[str]]":
    body = os.path.join(folder, "answer")
    if os.path.exists(body):
        os.unlink(body)
    command = ["curl", *options(given, given.header), "-X", given.method, "-o", body, "-w", "%{http_code}\n"]
    # -T reads the file while it sends; --data-binary would read the whole file first.
    command += ["-T", "-" if given.chunked else file, given.url]
    if given.then:
        command += ["--next", *options(given, given.then_header), "-d", "hello", "-o", os.devnull]
        command += ["-w", "%{http_code}\n", given.then]
    with open(file, "rb") as stdin:
        run = subprocess.run(command, stdin=stdin, capture_output=True, text=True)
    statuses = run.stdout.split()
    errors = [line for line in run.stderr.splitlines() if line.startswith("curl:")]
    answer, then = statuses[0] if statuses else "000", statuses[1] if len(statuses) > 1 else "none"
    if answer != "000":
        with open(body, "rb") as text:
            answer = arguments.seen(int(answer), text.read())
    if answer.startswith("000") or errors and then[:1] == "2":
        answer = f"{answer} {errors.pop(0) if errors else ''}"
    return answer, (then if not errors else f"{then} {errors[0]}") if given.then else None


def main() -> None:
    given = arguments.parse(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "body")
        with open(file, "wb") as body:
            body.truncate(given.size)
        arguments.report("curl-http2" if given.http2 else "curl", given, lambda: once(given, file, folder))


main()
