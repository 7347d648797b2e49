"""Helpers that several modules share: noise, ZIP archives, and programs that come with packages."""

import io
import random
import sys
import sysconfig
import zipfile
from pathlib import Path

STDLIB = "Python's library"
ZIPPED = ("Windows application/x-zip-compressed", "macOS application/zip")


def noise(size: int, seed: int = 1) -> bytes:
    """Return pseudo-random bytes that are the same in every run."""
    return random.Random(seed).randbytes(size)


def windows_program(name: str = "t64.exe") -> bytes:
    """A program for Windows that comes with pip."""
    return (Path(sysconfig.get_paths()["purelib"]) / "pip/_vendor/distlib" / name).read_bytes()


def java_archive() -> bytes:
    """The archive of Java classes in py4j."""
    return next(Path(sys.prefix).glob("share/py4j/*.jar")).read_bytes()


def zipped(files: dict[str, bytes | str], stored: bool = False) -> bytes:
    """A ZIP archive in the given order. A file named mimetype is not compressed, as EPUB and ODF require."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            plain = stored or name == "mimetype"
            info = zipfile.ZipInfo(name, (2024, 5, 1, 10, 0, 0))
            archive.writestr(info, data, zipfile.ZIP_STORED if plain else zipfile.ZIP_DEFLATED)
    return out.getvalue()
