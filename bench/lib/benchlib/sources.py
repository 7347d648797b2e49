"""The files that are sent: random bytes with known digests, created once for all scenarios.

Each file begins with bytes that match no file format. Otherwise some of thousands of random files would look like programs, which
Waybill refuses.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import List

PART_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20
_NO_FORMAT = b"\xa5" * 16


@dataclass(frozen=True)
class Source:
    path: Path
    size_bytes: int
    sha256: str

    @property
    def parts(self) -> int:
        return -(-self.size_bytes // PART_BYTES)


class Sources:
    """Creates each file on its first use and reuses it afterwards."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self._folder = folder
        self._made = {}

    def file(self, name: str, size_bytes: int) -> Source:
        if name not in self._made:
            self._made[name] = _write(self._folder / name, size_bytes)
        return self._made[name]

    def many(self, name: str, count: int, size_bytes: int) -> List[Source]:
        (self._folder / name).mkdir(exist_ok=True)
        return [self.file(f"{name}/{index:05}", size_bytes) for index in range(count)]

    def chunks(self, source: Source) -> List[Path]:
        """Returns the parts of the file as files of their own, because curl sends only whole files."""
        folder = self._folder / (source.path.name + ".chunks")
        paths = [folder / f"{index:05}" for index in range(source.parts)]
        if not folder.exists():
            folder.mkdir()
            with open(source.path, "rb") as file:
                for path in paths:
                    path.write_bytes(file.read(PART_BYTES))
        return paths


def _write(path: Path, size_bytes: int) -> Source:
    sha256, left = hashlib.sha256(), size_bytes
    with open(path, "wb") as file:
        while left:
            block = os.urandom(min(left, _BLOCK_BYTES))
            if left == size_bytes:
                block = (_NO_FORMAT + block)[:len(block)]
            sha256.update(block)
            file.write(block)
            left -= len(block)
    return Source(path, size_bytes, sha256.hexdigest())
