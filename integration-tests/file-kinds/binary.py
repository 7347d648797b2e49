"""Files that are no text, made with Python's library and a few packages of PyPI.

The packages are imported where they are used, so that `make.py --packages` runs without them.
"""

import base64
import bz2
import gzip
import io
import lzma
import plistlib
import random
import sqlite3
import struct
import sys
import sysconfig
import tarfile
import tempfile
import wave
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compound import compound
from entry import put

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont

PACKAGES: list[str] = []

STDLIB = "Python's library"
ZIPPED = ("Windows application/x-zip-compressed", "macOS application/zip")
OOXML = "application/vnd.openxmlformats-officedocument."
TYPES = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/{part}" ContentType="{type}"/></Types>'
RELATIONS = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="{type}" Target="{part}"/></Relationships>'
OFFICE_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
GLTF = b'{"asset":{"version":"2.0"},"scenes":[{"nodes":[]}]}'


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes without a pattern, the same ones each time."""
    return random.Random(seed).randbytes(size)


def windows_program(name: str = "t64.exe") -> bytes:
    """A program for Windows that comes with pip."""
    return (Path(sysconfig.get_paths()["purelib"]) / "pip/_vendor/distlib" / name).read_bytes()


def java_archive() -> bytes:
    """The archive of Java classes that py4j has."""
    return next(Path(sys.prefix).glob("share/py4j/*.jar")).read_bytes()


def zipped(files: dict[str, bytes | str], stored: bool = False) -> bytes:
    """A ZIP archive in the given order. A file named mimetype is stored, as EPUB and ODF want it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            plain = stored or name == "mimetype"
            info = zipfile.ZipInfo(name, (2024, 5, 1, 10, 0, 0))
            archive.writestr(info, data, zipfile.ZIP_STORED if plain else zipfile.ZIP_DEFLATED)
    return out.getvalue()


def package(part: str, media_type: str, body: str, relation: str = OFFICE_DOCUMENT) -> bytes:
    """A package of the Open Packaging Conventions with one part."""
    return zipped({
        "[Content_Types].xml": TYPES.format(part=part, type=media_type),
        "_rels/.rels": RELATIONS.format(part=part, type=relation),
        part: '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + body,
    })


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
    """ZIP archives, also of programs, and what compresses one file or a tar archive."""
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
    """A database of SQLite with one table."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "one.sqlite"
        connection = sqlite3.connect(path)
        connection.executescript("create table item (name text); insert into item values ('nails');")
        connection.close()
        return path.read_bytes()


def array() -> bytes:
    """An array of NumPy."""
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
    """Data of programs."""
    yield put(folder, "sqlite", "items.sqlite", database(), STDLIB, "Windows", "Linux application/vnd.sqlite3", "Linux application/x-sqlite3")
    yield put(folder, "npy", "array.npy", array(), "by hand", "Windows")
    binary_plist = plistlib.dumps({"a": [1, 2, "b"]}, fmt=plistlib.FMT_BINARY)
    yield put(folder, "plist-binary", "settings-binary.plist", binary_plist, STDLIB, "macOS", "Linux application/x-plist")
    yield put(folder, "torrent", "file.torrent", torrent(), "by hand", "Windows application/x-bittorrent")
    yield put(folder, "pcap", "network.pcap", capture(), "by hand", "Windows", "Linux application/vnd.tcpdump.pcap")
    yield put(folder, "wasm", "empty.wasm", b"\0asm\x01\0\0\0", "by hand", "Windows application/wasm")


def sampled() -> bytes:
    """A second of a tone, as 16-bit samples in the order of Intel's processors."""
    return b"".join(struct.pack("<h", (at % 18 - 9) * 1000) for at in range(8000))


def waved() -> bytes:
    """The tone as WAV."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(sampled())
    return out.getvalue()


def swapped() -> bytes:
    """The tone's samples in the order of the network."""
    samples = sampled()
    return b"".join(samples[at + 1 : at + 2] + samples[at : at + 1] for at in range(0, len(samples), 2))


def aiff() -> bytes:
    """The tone as AIFF; its rate is an 80-bit number."""
    samples = swapped()
    common = b"COMM" + struct.pack(">IhIh", 18, 1, len(samples) // 2, 16) + bytes.fromhex("400bfa00000000000000")
    sound = b"SSND" + struct.pack(">III", len(samples) + 8, 0, 0) + samples
    return b"FORM" + struct.pack(">I", 4 + len(common) + len(sound)) + b"AIFF" + common + sound


def midi() -> bytes:
    """One note."""
    track = bytes.fromhex("00ff510307a120" "00903c64" "60803c40" "00ff2f00")
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(track)) + track


def sounds(folder: Path) -> Iterator[dict]:
    """Sound without a codec."""
    yield put(folder, "wav", "tone.wav", waved(), STDLIB, "Windows audio/wav", "macOS audio/wav", "Linux audio/x-wav")
    au = b".snd" + struct.pack(">5I", 24, len(sampled()), 3, 8000, 1) + swapped()
    yield put(folder, "au", "tone.au", au, "by hand", "Windows audio/basic", "macOS audio/basic")
    yield put(folder, "aiff", "tone.aiff", aiff(), "by hand", "Windows audio/aiff", "macOS audio/aiff", "Linux audio/x-aiff")
    yield put(folder, "midi", "tune.mid", midi(), "by hand", "Windows audio/mid", "macOS audio/midi", "Linux audio/midi")


def bitmap() -> bytes:
    """A picture of 8 by 8 as BMP."""
    head = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 24, 0, 192, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 192, 0, 0, 54) + head + b"\xcc\x66\x00" * 64


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png() -> bytes:
    """A picture of 8 by 8 as PNG."""
    rows = (b"\0" + b"\x00\x66\xcc" * 8) * 8
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def gif() -> bytes:
    """A picture of one point as GIF."""
    return base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


def icon() -> bytes:
    """An icon that holds a PNG."""
    picture = png()
    return struct.pack("<3H", 0, 1, 1) + struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, len(picture), 22) + picture


def pictures(folder: Path) -> Iterator[dict]:
    """Pictures without a lossy codec."""
    yield put(folder, "bmp", "picture.bmp", bitmap(), "by hand", "Windows image/bmp", "Linux image/bmp")
    ppm = b"P6\n8 8\n255\n" + b"\x00\x66\xcc" * 64
    yield put(folder, "ppm", "picture.ppm", ppm, "by hand", "Windows", "Linux image/x-portable-pixmap")
    tga = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 8, 8, 24, 0) + b"\xcc\x66\x00" * 64
    yield put(folder, "tga", "picture.tga", tga, "by hand", "Windows", "Linux image/x-tga", "macOS image/x-targa")
    yield put(folder, "ico", "favicon.ico", icon(), "by hand", "Windows image/x-icon", "Linux image/vnd.microsoft.icon")
    yield put(folder, "gif", "point.gif", gif(), "by hand", "Windows image/gif")
    yield put(folder, "png", "picture.png", png(), STDLIB, "Windows image/png")


def epub() -> bytes:
    """A book of one page."""
    return zipped({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
        "book.opf": '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id"><metadata/><manifest><item id="p" href="p.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="p"/></spine></package>',
        "p.xhtml": '<html xmlns="http://www.w3.org/1999/xhtml"><body><p>Hello</p></body></html>',
    })


def odt() -> bytes:
    """A letter as OpenDocument."""
    media_type = "application/vnd.oasis.opendocument.text"
    return zipped({
        "mimetype": media_type,
        "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><manifest:file-entry manifest:full-path="/" manifest:media-type="{media_type}"/></manifest:manifest>',
        "content.xml": '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" office:version="1.3"><office:body><office:text/></office:body></office:document-content>',
    })


def open_packages(folder: Path) -> Iterator[dict]:
    """Office documents and models that are packages of XML."""
    word = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>Hello</w:t></w:r></w:p></w:body></w:document>'
    sheet = '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheets/></workbook>'
    slides = '<p:presentation xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"><p:notesSz cx="6858000" cy="9144000"/></p:presentation>'
    drawing = '<VisioDocument xmlns="http://schemas.microsoft.com/office/visio/2012/main"/>'
    model = '<model unit="millimeter" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources/><build/></model>'
    visio = "http://schemas.microsoft.com/visio/2010/relationships/document"
    printing = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
    names = [
        ("docx-minimal", "letter.docx", package("word/document.xml", OOXML + "wordprocessingml.document.main+xml", word), OOXML + "wordprocessingml.document"),
        ("xlsx-minimal", "table.xlsx", package("xl/workbook.xml", OOXML + "spreadsheetml.sheet.main+xml", sheet), OOXML + "spreadsheetml.sheet"),
        ("pptx-minimal", "talk.pptx", package("ppt/presentation.xml", OOXML + "presentationml.presentation.main+xml", slides), OOXML + "presentationml.presentation"),
    ]
    for kind, name, body, media_type in names:
        yield put(folder, kind, name, body, STDLIB, f"Windows {media_type}", "Android application/zip")
    vsdx = package("visio/document.xml", "application/vnd.ms-visio.drawing.main+xml", drawing, visio)
    yield put(folder, "vsdx", "plan.vsdx", vsdx, STDLIB, "Windows application/vnd.ms-visio.drawing", "Linux application/vnd.ms-visio.drawing.main+xml", "macOS application/vnd.visio")
    threemf = package("3D/3dmodel.model", "application/vnd.ms-package.3dmanufacturing-3dmodel+xml", model, printing)
    yield put(folder, "3mf", "part.3mf", threemf, STDLIB, "Windows", "Linux model/3mf", "Linux application/vnd.ms-3mfdocument")


def zip_documents(folder: Path) -> Iterator[dict]:
    """Other documents that are ZIP archives."""
    yield put(folder, "epub-minimal", "book.epub", epub(), STDLIB, "Windows application/epub+zip")
    yield put(folder, "odt-minimal", "letter.odt", odt(), STDLIB, "Windows application/vnd.oasis.opendocument.text")
    works = [("pages", "letter.pages"), ("numbers", "table.numbers"), ("key", "talk.key")]
    apple = {"pages": "pages", "numbers": "numbers", "key": "keynote"}
    for kind, name in works:
        files = {"Index/Document.iwa": noise(900), "Index/Metadata.iwa": noise(200), "Metadata/Properties.plist": plistlib.dumps({"a": 1}, fmt=plistlib.FMT_BINARY)}
        old = "keynote" if kind == "key" else kind
        by = ("Windows", f"macOS application/x-iwork-{old}-sff{kind}", f"iOS application/vnd.apple.{apple[kind]}")
        yield put(folder, kind, name, zipped(files, stored=True), STDLIB, *by)
    place = '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Placemark/></kml>'
    yield put(folder, "kmz", "place.kmz", zipped({"doc.kml": place}), STDLIB, "Windows application/vnd.google-earth.kmz")
    yield put(folder, "cbz", "comic.cbz", zipped({"1.png": png(), "2.png": png()}, stored=True), STDLIB, "Windows", "Linux application/vnd.comicbook+zip", "macOS application/x-cbz")


def workbook(rows: int) -> bytes:
    """A table of numbers and words, as Excel 97 saves it."""
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("Table")
    for row in range(rows):
        for column in range(8):
            sheet.write(row, column, row * column if column % 2 else f"cell {row} {column}")
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def mail() -> bytes:
    """A mail as Outlook saves it: its properties, its subject and its text."""
    def text(value: str) -> bytes:
        return value.encode("utf-16-le")

    def prop(tag: int, size: int) -> bytes:
        return struct.pack("<IIII", tag, 6, size, 0)

    subject, body, message = text("Hello"), text("Hello, the delivery arrives on Tuesday.\r\n"), text("IPM.Note")
    properties = bytes(8) + struct.pack("<4I", 0, 0, 0, 0) + bytes(8)
    properties += prop(0x001A001F, len(message) + 2) + prop(0x0037001F, len(subject) + 2) + prop(0x1000001F, len(body) + 2)
    return compound("{00020D0B-0000-0000-C000-000000000046}", {
        "__properties_version1.0": properties,
        "__substg1.0_001A001F": message,
        "__substg1.0_0037001F": subject,
        "__substg1.0_1000001F": body,
    })


def compounds(folder: Path) -> Iterator[dict]:
    """Compound files."""
    by = "Windows application/vnd.ms-excel"
    yield put(folder, "xls-small", "prices.xls", workbook(20), "xlwt", by)
    yield put(folder, "xls-large", "prices-large.xls", workbook(13000), "xlwt", by)
    yield put(folder, "msg", "letter.msg", mail(), "by hand", "Windows application/vnd.ms-outlook", "macOS", "Linux application/vnd.ms-outlook")


def binary_gltf() -> bytes:
    """A scene as GLB."""
    body = GLTF + b" " * (-len(GLTF) % 4)
    return b"glTF" + struct.pack("<III", 2, 20 + len(body), len(body)) + b"JSON" + body


def models(folder: Path) -> Iterator[dict]:
    """Models as bytes."""
    stl = b"made by hand".ljust(80, b" ") + struct.pack("<I", 1) + struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)
    yield put(folder, "stl-binary", "cube.stl", stl, "by hand", "Windows application/vnd.ms-pki.stl", "Linux model/stl", "macOS model/stl")
    ply = b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n" + struct.pack("<3f", 1, 2, 3)
    yield put(folder, "ply-binary", "cloud-binary.ply", ply, "by hand", "Windows")
    yield put(folder, "glb", "scene.glb", binary_gltf(), "by hand", "Windows", "Linux model/gltf-binary")


def font(outline: str) -> "TTFont":
    """A font of one letter, with outlines of TrueType ("glyf") or PostScript ("CFF ")."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.t2CharStringPen import T2CharStringPen
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    builder = FontBuilder(1000, isTTF=outline == "glyf")
    names = [".notdef", "A"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({65: "A"})
    pens = {name: TTGlyphPen(None) if outline == "glyf" else T2CharStringPen(600, None) for name in names}
    for pen in pens.values():
        pen.moveTo((100, 0))
        pen.lineTo((500, 0))
        pen.lineTo((300, 700))
        pen.closePath()
    if outline == "glyf":
        builder.setupGlyf({name: pen.glyph() for name, pen in pens.items()})
    else:
        builder.setupCFF("Corpus-Regular", {}, {name: pen.getCharString() for name, pen in pens.items()}, {})
    builder.setupHorizontalMetrics({name: (600, 100) for name in names})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Corpus", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    return builder.font


def saved(made: "TTFont", flavor: str | None = None) -> bytes:
    """The bytes of a font, or of a font for the web."""
    out = io.BytesIO()
    made.flavor = flavor
    made.save(out)
    return out.getvalue()


def fonts(folder: Path) -> Iterator[dict]:
    """The four formats of fonts."""
    tool = "fontTools"
    yield put(folder, "ttf", "Corpus.ttf", saved(font("glyf")), tool, "Windows", "macOS font/ttf", "Linux font/ttf")
    yield put(folder, "otf", "Corpus.otf", saved(font("CFF ")), tool, "Windows", "macOS font/otf", "Linux font/otf")
    yield put(folder, "woff", "Corpus.woff", saved(font("glyf"), "woff"), tool, "Windows", "macOS font/woff", "Windows application/font-woff")
    yield put(folder, "woff2", "Corpus.woff2", saved(font("glyf"), "woff2"), tool, "Windows", "macOS font/woff2")


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
    """A certificate with the right structure whose signature is noise."""
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d01010b"), der(0x05))
    name = der(0x30, der(0x31, der(0x30, bytes.fromhex("0603550403"), der(0x0C, b"example.org"))))
    times = der(0x30, der(0x17, b"240501000000Z"), der(0x17, b"340501000000Z"))
    key = der(0x30, der(0x02, b"\0\xc1" + noise(254) + b"\x01"), der(0x02, b"\x01\x00\x01"))
    public = der(0x30, der(0x30, bytes.fromhex("06092a864886f70d010101"), der(0x05)), der(0x03, b"\0", key))
    body = der(0x30, der(0xA0, der(0x02, b"\x02")), der(0x02, b"\x01"), algorithm, name, times, name, public)
    return der(0x30, body, algorithm, der(0x03, b"\0", noise(256, 2)))


def certificates(folder: Path) -> Iterator[dict]:
    """Certificates as bytes and as text."""
    made = certificate()
    text = base64.encodebytes(made).replace(b"\n", b"")
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    pem = b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"
    yield put(folder, "pem", "server.pem", pem, "by hand", "Windows", "macOS application/x-x509-ca-cert", "Linux application/x-pem-file")
    yield put(folder, "der", "server.der", made, "by hand", "Windows application/x-x509-ca-cert", "Linux application/pkix-cert")
    yield put(folder, "crt", "server.crt", made, "by hand", "Windows application/x-x509-ca-cert", "Linux application/pkix-cert")


def unknown(folder: Path) -> Iterator[dict]:
    """Bytes of no format, also such that begin like one."""
    by = ("Windows application/octet-stream", "Linux")
    starts = [("random", b""), ("random-mz", b"MZ"), ("random-bm", b"BM"), ("random-1f9d", b"\x1f\x9d"), ("random-fffb", b"\xff\xfb")]
    for seed, (kind, start) in enumerate(starts, 10):
        rest = noise(8192 - len(start), seed)
        if start == b"MZ":
            rest = rest[:58] + struct.pack("<I", 0xF0000000) + rest[62:]
        yield put(folder, kind, f"{kind}.bin", start + rest, "by hand", *by)
    yield put(folder, "zeros", "zeros.bin", bytes(8192), "by hand", *by)


def make(folder: Path) -> Iterator[dict]:
    """All kinds of bytes."""
    for part in (archives, data, sounds, pictures, open_packages, zip_documents, compounds, models, fonts, certificates, unknown):
        yield from part(folder)
