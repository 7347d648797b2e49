"""Files that are not text, made with Python's library and a few packages of PyPI: archives, data, models and certificates.

`media.py` and `documents.py` have the other kinds.
"""

import base64
import bz2
import gzip
import io
import lzma
import plistlib
import sqlite3
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from basics import STDLIB, ZIPPED, java_archive, noise, windows_program, zipped
from documents import compounds, open_packages, zip_documents
from entry import put
from media import fonts, pictures, sounds

PACKAGES: list[str] = []
GLTF = b'{"asset":{"version":"2.0"},"scenes":[{"nodes":[]}]}'


def tarred() -> bytes:
    """A tar archive of two files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("one.txt", "two.txt"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 6, 1714557600
            archive.addfile(info, io.BytesIO(b"hello\n"))
    return out.getvalue()


def archives(folder: Path) -> Iterator[dict]:
    """ZIP archives, including archives of programs, and compressed files and tar archives."""
    zips = [
        ("zip", "photos.zip", {"a.txt": "hello\n" * 50, "b/c.txt": "hello\n"}),
        ("zip-empty", "nothing.zip", {}),
        ("zip-of-program", "tools.zip", {"setup.exe": windows_program()}),
        ("zip-of-jar", "library.zip", {"py4j.jar": java_archive()}),
    ]
    for kind, name, files in zips:
        yield put(folder, kind, name, zipped(files), STDLIB, *ZIPPED)
    text = b"hello, hello, hello\n" * 100
    tar = tarred()
    gz = ("Windows application/x-gzip", "macOS application/x-gzip", "Linux application/gzip")
    tgz = ("Windows application/x-compressed", "Linux application/x-compressed-tar", "macOS application/x-gzip")
    yield put(folder, "tar", "backup.tar", tar, STDLIB, "Windows application/x-tar")
    yield put(folder, "tar-gz", "backup.tar.gz", gzip.compress(tar, mtime=0), STDLIB, *gz, "Linux application/x-compressed-tar")
    yield put(folder, "tgz", "backup.tgz", gzip.compress(tar, mtime=0), STDLIB, *tgz)
    yield put(folder, "gz", "log.gz", gzip.compress(text, mtime=0), STDLIB, *gz)
    yield put(folder, "bz2", "log.bz2", bz2.compress(text), STDLIB, "Windows", "Linux application/x-bzip", "macOS application/x-bzip2")
    yield put(folder, "tar-bz2", "backup.tar.bz2", bz2.compress(tar), STDLIB, "Linux application/x-bzip-compressed-tar", "macOS application/x-bzip2")
    yield put(folder, "xz", "log.xz", lzma.compress(text), STDLIB, "Windows", "Linux application/x-xz")
    yield put(folder, "tar-xz", "backup.tar.xz", lzma.compress(tar), STDLIB, "Windows", "Linux application/x-xz-compressed-tar", "Linux application/x-xz")


def database() -> bytes:
    """An SQLite database with one table."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "one.sqlite"
        connection = sqlite3.connect(path)
        connection.executescript("create table item (name text); insert into item values ('nails');")
        connection.close()
        return path.read_bytes()


def array() -> bytes:
    """A NumPy array."""
    head = "{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }"
    head = head.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack("<4d", 1, 2, 3, 4)


def capture() -> bytes:
    """A capture of one network packet."""
    packet = bytes.fromhex("ffffffffffff0242ac1100020806") + bytes(28)
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + struct.pack("<4I", 1714557600, 0, len(packet), len(packet)) + packet


def torrent() -> bytes:
    """A torrent of one small file."""
    return b"d8:announce26:http://example.org/announce4:infod6:lengthi6e4:name7:one.txt12:piece lengthi16384e6:pieces20:" + noise(20) + b"ee"


def data(folder: Path) -> Iterator[dict]:
    """Data files of programs."""
    yield put(folder, "sqlite", "items.sqlite", database(), STDLIB, "Windows", "Linux application/vnd.sqlite3", "Linux application/x-sqlite3")
    yield put(folder, "npy", "array.npy", array(), "by hand", "Windows")
    binary_plist = plistlib.dumps({"a": [1, 2, "b"]}, fmt=plistlib.FMT_BINARY)
    yield put(folder, "plist-binary", "settings-binary.plist", binary_plist, STDLIB, "macOS", "Linux application/x-plist")
    yield put(folder, "torrent", "file.torrent", torrent(), "by hand", "Windows application/x-bittorrent")
    yield put(folder, "pcap", "network.pcap", capture(), "by hand", "Windows", "Linux application/vnd.tcpdump.pcap")
    yield put(folder, "wasm", "empty.wasm", b"\0asm\x01\0\0\0", "by hand", "Windows application/wasm")


def binary_gltf() -> bytes:
    """A scene as GLB."""
    body = GLTF + b" " * (-len(GLTF) % 4)
    return b"glTF" + struct.pack("<III", 2, 20 + len(body), len(body)) + b"JSON" + body


def models(folder: Path) -> Iterator[dict]:
    """3D models in binary formats."""
    stl = b"made by hand".ljust(80, b" ") + struct.pack("<I", 1) + struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)
    yield put(folder, "stl-binary", "cube.stl", stl, "by hand", "Windows application/vnd.ms-pki.stl", "Linux model/stl", "macOS model/stl")
    ply = b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n" + struct.pack("<3f", 1, 2, 3)
    yield put(folder, "ply-binary", "cloud-binary.ply", ply, "by hand", "Windows")
    yield put(folder, "glb", "scene.glb", binary_gltf(), "by hand", "Windows", "Linux model/gltf-binary")


def length(body: bytes) -> bytes:
    """The length of a value in DER."""
    if len(body) < 128:
        return bytes([len(body)])
    size = (len(body).bit_length() + 7) // 8
    return bytes([0x80 | size]) + len(body).to_bytes(size, "big")


def der(tag: int, *parts: bytes) -> bytes:
    """A value in DER."""
    body = b"".join(parts)
    return bytes([tag]) + length(body) + body


def certificate() -> bytes:
    """A certificate with the right structure and noise as its signature."""
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d01010b"), der(0x05))
    name = der(0x30, der(0x31, der(0x30, bytes.fromhex("0603550403"), der(0x0C, b"example.org"))))
    times = der(0x30, der(0x17, b"240501000000Z"), der(0x17, b"340501000000Z"))
    key = der(0x30, der(0x02, b"\0\xc1" + noise(254) + b"\x01"), der(0x02, b"\x01\x00\x01"))
    public = der(0x30, der(0x30, bytes.fromhex("06092a864886f70d010101"), der(0x05)), der(0x03, b"\0", key))
    body = der(0x30, der(0xA0, der(0x02, b"\x02")), der(0x02, b"\x01"), algorithm, name, times, name, public)
    return der(0x30, body, algorithm, der(0x03, b"\0", noise(256, 2)))


def certificates(folder: Path) -> Iterator[dict]:
    """Certificates in DER and PEM."""
    made = certificate()
    text = base64.encodebytes(made).replace(b"\n", b"")
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    pem = b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"
    yield put(folder, "pem", "server.pem", pem, "by hand", "Windows", "macOS application/x-x509-ca-cert", "Linux application/x-pem-file")
    yield put(folder, "der", "server.der", made, "by hand", "Windows application/x-x509-ca-cert", "Linux application/pkix-cert")
    yield put(folder, "crt", "server.crt", made, "by hand", "Windows application/x-x509-ca-cert", "Linux application/pkix-cert")


def unknown(folder: Path) -> Iterator[dict]:
    """Bytes of no format. Some begin like a known format."""
    by = ("Windows application/octet-stream", "Linux")
    starts = [("random", b""), ("random-mz", b"MZ"), ("random-bm", b"BM"), ("random-1f9d", b"\x1f\x9d"), ("random-fffb", b"\xff\xfb")]
    for seed, (kind, start) in enumerate(starts, 10):
        rest = noise(8192 - len(start), seed)
        if start == b"MZ":
            rest = rest[:58] + struct.pack("<I", 0xF0000000) + rest[62:]
        yield put(folder, kind, f"{kind}.bin", start + rest, "by hand", *by)
    yield put(folder, "zeros", "zeros.bin", bytes(8192), "by hand", *by)


def make(folder: Path) -> Iterator[dict]:
    """Make all kinds of binary files."""
    for part in (archives, data, sounds, pictures, open_packages, zip_documents, compounds, models, fonts, certificates, unknown):
        yield from part(folder)
