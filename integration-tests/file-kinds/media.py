"""Sounds, pictures and fonts, made with Python's library and fontTools.

fontTools is imported where it is used, so that `make.py --packages` runs without it.
"""

import base64
import io
import struct
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from basics import STDLIB
from entry import put

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont


def sampled() -> bytes:
    """One second of a tone, as 16-bit little-endian samples."""
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
    """The tone as 16-bit big-endian samples."""
    samples = sampled()
    return b"".join(samples[at + 1 : at + 2] + samples[at : at + 1] for at in range(0, len(samples), 2))


def aiff() -> bytes:
    """The tone as AIFF, with the sample rate as an 80-bit number."""
    samples = swapped()
    common = b"COMM" + struct.pack(">IhIh", 18, 1, len(samples) // 2, 16) + bytes.fromhex("400bfa00000000000000")
    sound = b"SSND" + struct.pack(">III", len(samples) + 8, 0, 0) + samples
    return b"FORM" + struct.pack(">I", 4 + len(common) + len(sound)) + b"AIFF" + common + sound


def midi() -> bytes:
    """A MIDI file with one note."""
    track = bytes.fromhex("00ff510307a120" "00903c64" "60803c40" "00ff2f00")
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", len(track)) + track


def sounds(folder: Path) -> Iterator[dict]:
    """Sounds that need no codec."""
    yield put(folder, "wav", "tone.wav", waved(), STDLIB, "Windows audio/wav", "macOS audio/wav", "Linux audio/x-wav")
    au = b".snd" + struct.pack(">5I", 24, len(sampled()), 3, 8000, 1) + swapped()
    yield put(folder, "au", "tone.au", au, "by hand", "Windows audio/basic", "macOS audio/basic")
    yield put(folder, "aiff", "tone.aiff", aiff(), "by hand", "Windows audio/aiff", "macOS audio/aiff", "Linux audio/x-aiff")
    yield put(folder, "midi", "tune.mid", midi(), "by hand", "Windows audio/mid", "macOS audio/midi", "Linux audio/midi")


def bitmap() -> bytes:
    """A picture of 8 by 8 pixels as BMP."""
    head = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 24, 0, 192, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 192, 0, 0, 54) + head + b"\xcc\x66\x00" * 64


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png() -> bytes:
    """A picture of 8 by 8 pixels as PNG."""
    rows = (b"\0" + b"\x00\x66\xcc" * 8) * 8
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def gif() -> bytes:
    """A picture of one pixel as GIF."""
    return base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


def icon() -> bytes:
    """An icon that holds a PNG."""
    picture = png()
    return struct.pack("<3H", 0, 1, 1) + struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, len(picture), 22) + picture


def pictures(folder: Path) -> Iterator[dict]:
    """Pictures that need no lossy codec."""
    yield put(folder, "bmp", "picture.bmp", bitmap(), "by hand", "Windows image/bmp", "Linux image/bmp")
    ppm = b"P6\n8 8\n255\n" + b"\x00\x66\xcc" * 64
    yield put(folder, "ppm", "picture.ppm", ppm, "by hand", "Windows", "Linux image/x-portable-pixmap")
    tga = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 8, 8, 24, 0) + b"\xcc\x66\x00" * 64
    yield put(folder, "tga", "picture.tga", tga, "by hand", "Windows", "Linux image/x-tga", "macOS image/x-targa")
    yield put(folder, "ico", "favicon.ico", icon(), "by hand", "Windows image/x-icon", "Linux image/vnd.microsoft.icon")
    yield put(folder, "gif", "point.gif", gif(), "by hand", "Windows image/gif")
    yield put(folder, "png", "picture.png", png(), STDLIB, "Windows image/png")


def font(outline: str) -> "TTFont":
    """A font with one letter and TrueType ("glyf") or PostScript ("CFF ") outlines."""
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
    """The bytes of a font; `flavor` selects a web font."""
    out = io.BytesIO()
    made.flavor = flavor
    made.save(out)
    return out.getvalue()


def fonts(folder: Path) -> Iterator[dict]:
    """Fonts in four formats."""
    tool = "fontTools"
    yield put(folder, "ttf", "Corpus.ttf", saved(font("glyf")), tool, "Windows", "macOS font/ttf", "Linux font/ttf")
    yield put(folder, "otf", "Corpus.otf", saved(font("CFF ")), tool, "Windows", "macOS font/otf", "Linux font/otf")
    yield put(folder, "woff", "Corpus.woff", saved(font("glyf"), "woff"), tool, "Windows", "macOS font/woff", "Windows application/font-woff")
    yield put(folder, "woff2", "Corpus.woff2", saved(font("glyf"), "woff2"), tool, "Windows", "macOS font/woff2")
