"""Text files: documents, data, source code, and text that begins like another format."""

from collections.abc import Iterator
from pathlib import Path

from entry import put

PACKAGES: list[str] = []

PLAIN = ("Windows text/plain",)
PROSE = "Dear all,\r\nthe delivery of Monday arrives on Tuesday. Please tell the customer.\r\n\r\nKind regards\r\n"
WESTERN = "Größe und Preis: zwölf Stück für 30 £, Übergabe im Café.\r\n" * 4
JAPANESE = "こんにちは。荷物は火曜日に届きます。よろしくお願いします。\r\n" * 4
RUSSIAN = "Добрый день! Груз прибудет во вторник. С уважением, склад.\r\n" * 4
CHINESE = "您好，货物将于星期二到达。请通知客户。谢谢。\r\n" * 4
TABLE = [("number", "name", "price"), ("1", "Nägel, lang", "3.50"), ("2", "Schrauben", "4.25")]
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" viewBox="0 0 40 40">'
    '<circle cx="20" cy="20" r="15" fill="#06c"/></svg>\n'
)
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'

# kind, name, text, declared types
DOCUMENTS: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("markdown", "README.md", "# Title\n\nSome *words*, and a [link](https://example.org).\n", ("Windows", "Linux text/markdown", "macOS text/markdown")),
    ("html", "page.html", "<!DOCTYPE html>\n<html><head><title>Page</title></head><body><p>Hello</p></body></html>\n", ("Windows text/html",)),
    ("xhtml", "page.xhtml", XML + '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Page</title></head><body><p>Hello</p></body></html>\n', ("Windows application/xhtml+xml",)),
    ("xml", "order.xml", XML + "<order><item>nails</item></order>\n", ("Windows text/xml", "Linux application/xml")),
    ("json", "data.json", '{"name": "nails", "price": 3.5}\n', ("Windows application/json",)),
    ("jsonl", "events.jsonl", '{"at": 1}\n{"at": 2}\n', ("Windows", "Linux application/x-ndjson", "Linux application/jsonl")),
    ("geojson", "place.geojson", '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [13.4, 52.5]}}]}\n', ("Windows", "Linux application/geo+json")),
    ("yaml", "values.yaml", "---\nname: nails\nprices: [3.5, 4]\n", ("Windows", "Linux application/x-yaml", "macOS application/x-yaml")),
    ("toml", "settings.toml", '[server]\naddress = "127.0.0.1"\n', ("Windows", "Linux application/toml")),
    ("ini", "settings.ini", "[server]\naddress=127.0.0.1\n", ("Windows", "Linux text/plain")),
    ("log", "server.log", "2024-05-01T10:00:00Z INFO started\n2024-05-01T10:00:01Z WARN slow\n", ("Windows", "Linux text/x-log", "macOS text/plain")),
    ("diff", "change.diff", "--- a/one.txt\n+++ b/one.txt\n@@ -1 +1 @@\n-old\n+new\n", ("Windows", "Linux text/x-patch", "Linux text/x-diff")),
    ("tex", "paper.tex", "\\documentclass{article}\n\\begin{document}\nHello\n\\end{document}\n", ("Windows", "Linux text/x-tex", "macOS application/x-tex")),
    ("bib", "papers.bib", "@book{one,\n  title = {A Title},\n  year = {2001}\n}\n", ("Windows", "Linux text/x-bibtex")),
    ("svg", "drawing.svg", SVG, ("Windows image/svg+xml",)),
    ("svg-with-declaration", "logo.svg", XML + "<!-- made by hand -->\n" + SVG, ("macOS image/svg+xml",)),
    ("ics", "meeting.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//example//EN\r\nBEGIN:VEVENT\r\nUID:1@example.org\r\nDTSTAMP:20240501T100000Z\r\nDTSTART:20240502T100000Z\r\nSUMMARY:Meeting\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n", ("Windows text/calendar",)),
    ("vcf", "person.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Doe;Jane\r\nFN:Jane Doe\r\nEND:VCARD\r\n", ("Windows text/x-vcard", "macOS text/vcard", "Linux text/vcard")),
    ("eml", "letter.eml", "From: a@example.org\r\nTo: b@example.org\r\nSubject: Hello\r\nDate: Wed, 1 May 2024 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello\r\n", ("Windows message/rfc822", "Linux message/rfc822")),
    ("mbox", "archive.mbox", "From a@example.org Wed May  1 10:00:00 2024\nFrom: a@example.org\nSubject: Hello\n\nHello\n\n", ("Windows", "Linux application/mbox")),
    ("srt", "film.srt", "1\r\n00:00:01,000 --> 00:00:02,000\r\nHello\r\n\r\n", ("Windows", "Linux application/x-subrip")),
    ("vtt", "film.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n", ("Windows text/vtt",)),
    ("ass", "film.ass", "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Text\nDialogue: 0,0:00:01.00,0:00:02.00,Default,Hello\n", ("Windows", "Linux text/x-ssa")),
    ("gpx", "tour.gpx", XML + '<gpx version="1.1" creator="hand" xmlns="http://www.topografix.com/GPX/1/1"><wpt lat="52.5" lon="13.4"/></gpx>\n', ("Windows", "Linux application/gpx+xml", "Android application/gpx+xml")),
    ("kml", "place.kml", XML + '<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><Point><coordinates>13.4,52.5</coordinates></Point></Placemark></kml>\n', ("Windows application/vnd.google-earth.kml+xml",)),
    ("plist-xml", "settings.plist", XML + '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0"><dict><key>a</key><string>b</string></dict></plist>\n', ("macOS", "Linux application/x-plist", "macOS application/xml")),
    ("webloc", "site.webloc", XML + '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0"><dict><key>URL</key><string>https://example.org</string></dict></plist>\n', ("macOS",)),
    ("obj", "cube.obj", "# a triangle\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", ("Windows", "Linux model/obj", "Linux application/x-tgif")),
    ("gltf", "scene.gltf", '{"asset": {"version": "2.0"}, "scenes": [{"nodes": []}]}\n', ("Windows", "Linux model/gltf+json")),
    ("step", "part.step", "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('part','2024-05-01',(''),(''),'','','');\nFILE_SCHEMA(('AUTOMOTIVE_DESIGN'));\nENDSEC;\nDATA;\nENDSEC;\nEND-ISO-10303-21;\n", ("Windows", "Linux model/step", "Windows application/step")),
    ("dxf", "plan.dxf", "  0\r\nSECTION\r\n  2\r\nENTITIES\r\n  0\r\nLINE\r\n  8\r\n0\r\n 10\r\n0.0\r\n 20\r\n0.0\r\n 11\r\n9.0\r\n 21\r\n9.0\r\n  0\r\nENDSEC\r\n  0\r\nEOF\r\n", ("Windows", "Linux image/vnd.dxf")),
    ("stl-ascii", "cube-text.stl", "solid one\n facet normal 0 0 1\n  outer loop\n   vertex 0 0 0\n   vertex 1 0 0\n   vertex 0 1 0\n  endloop\n endfacet\nendsolid one\n", ("Windows", "Linux model/stl", "Windows application/vnd.ms-pki.stl")),
    ("ply", "cloud.ply", "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n0 0 0\n", ("Windows", "macOS")),
    ("fb2", "book.fb2", XML + '<FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0"><description/><body><section><p>Hello</p></section></body></FictionBook>\n', ("Windows", "Linux application/x-fictionbook+xml")),
    ("drawio", "diagram.drawio", '<mxfile host="example.org"><diagram name="Page-1"><mxGraphModel><root><mxCell id="0"/></root></mxGraphModel></diagram></mxfile>\n', ("Windows", "Linux application/vnd.jgraph.mxfile")),
    ("rtf", "letter.rtf", "{\\rtf1\\ansi\\deff0{\\fonttbl{\\f0 Arial;}}\\f0 Hello\\par}\r\n", ("Windows application/msword", "Linux application/rtf", "macOS text/rtf")),
    ("xls-html-table", "report.xls", '<html xmlns:x="urn:schemas-microsoft-com:office:excel"><head><meta charset="utf-8"></head><body><table><tr><td>1</td><td>2</td></tr></table></body></html>\n', ("Windows application/vnd.ms-excel",)),
    ("mht", "page.mht", 'From: <Saved by a browser>\r\nSubject: Page\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; type="text/html"; boundary="----b"\r\n\r\n------b\r\nContent-Type: text/html\r\nContent-Location: https://example.org/\r\n\r\n<html><body>Hello</body></html>\r\n------b--\r\n', ("Windows multipart/related", "Linux application/x-mimearchive", "Windows message/rfc822")),
]

SOURCES: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("sql", "schema.sql", "create table item (id integer primary key, name text);\n", ("Windows", "Linux application/sql", "macOS application/x-sql")),
    ("css", "style.css", "body { color: #333; }\n", ("Windows text/css",)),
    ("js", "script.js", "export const answer = 42;\nconsole.log(answer);\n", ("Windows text/javascript", "Linux application/javascript", "macOS application/x-javascript")),
    ("mjs", "module.mjs", "export default () => 42;\n", ("Windows text/javascript",)),
    ("ts", "types.ts", "export const answer: number = 42;\n", ("Windows video/vnd.dlna.mpeg-tts", "macOS video/mp2t", "Linux text/vnd.trolltech.linguist")),
    ("tsx", "view.tsx", "export const View = () => <p>Hello</p>;\n", ("Windows",)),
    ("java", "Main.java", "class Main {\n  public static void main(String[] a) {}\n}\n", ("Windows", "Linux text/x-java", "macOS text/x-java-source")),
    ("c", "main.c", "#include <stdio.h>\nint main(void) { return 0; }\n", ("Windows text/plain", "Linux text/x-csrc", "macOS text/x-csrc")),
    ("h", "main.h", "#ifndef MAIN_H\n#define MAIN_H\nint one(void);\n#endif\n", ("Windows text/plain", "Linux text/x-chdr")),
    ("cpp", "main.cpp", "#include <vector>\nint main() { return 0; }\n", ("Windows text/plain", "Linux text/x-c++src")),
    ("rs", "main.rs", "fn main() {\n    println!(\"hello\");\n}\n", ("Windows", "Linux text/rust")),
    ("go", "main.go", "package main\n\nfunc main() {}\n", ("Windows", "Linux text/x-go")),
    ("rb", "main.rb", "puts 'hello'\n", ("Windows", "Linux application/x-ruby", "macOS text/x-ruby-script")),
    ("pl", "main.pl", "use strict;\nprint \"hello\\n\";\n", ("Windows", "Linux application/x-perl", "macOS text/x-perl-script")),
    ("php", "index.php", "<?php\necho 'hello';\n", ("Windows", "Linux application/x-php", "macOS text/php")),
    ("py", "main.py", "import sys\n\nprint(sys.argv)\n", ("Windows", "Linux text/x-python", "macOS text/x-python-script")),
    ("py-with-first-line", "tool.py", "#!/usr/bin/env python3\nprint('hello')\n", ("Windows text/x-python", "Linux text/x-python3", "macOS")),
    ("ipynb", "notes.ipynb", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n', ("Windows", "Linux application/x-ipynb+json")),
    ("makefile", "Makefile", "all:\n\techo hello\n", ("Windows", "Linux text/x-makefile")),
    ("dockerfile", "Dockerfile", "FROM debian:12\nRUN true\n", ("Windows", "Linux application/octet-stream")),
]

# Text that begins like another format: kind, first characters
BEGINNINGS = [
    ("mz", "MZ is the name of a brand of motorcycles. "),
    ("bm", "BM is short for business management. "),
    ("pk", "PK is short for primary key. "),
    ("hash-bang", "#!"),
    ("hash-bang-title", "#! a title\n"),
    ("percent-bang", "%!\n"),
    ("gif", "GIF is how a picture moves. "),
    ("id3", "ID3 is a kind of tag. "),
    ("rar", "Rar! cried the lion. "),
    ("ii", "II* is the grade of the building. "),
    ("boundary", "--boundary\n"),
    ("brace", "{"),
    ("less-than", "<"),
    ("doctype-html", "<!doctype html>\n<p>how a page begins</p>\n"),
    ("xml-declaration", "<?xml version=\"1.0\"?>\n<!-- how a document begins -->\n<a/>\n"),
    ("delete", "\x7f"),
]

ENCODINGS = [
    ("ascii", PROSE, "ascii", "letter.txt"),
    ("utf-8", WESTERN, "utf-8", "Grüße.txt"),
    ("utf-8-bom", WESTERN, "utf-8-sig", "bom.txt"),
    ("utf-16-le", "\ufeff" + WESTERN, "utf-16-le", "little.txt"),
    ("utf-16-be", "\ufeff" + WESTERN, "utf-16-be", "big.txt"),
    ("latin-1", WESTERN, "latin-1", "western.txt"),
    ("shift-jis", JAPANESE, "shift_jis", "日本語.txt"),
    ("windows-1251", RUSSIAN, "cp1251", "письмо.txt"),
    ("gb18030", CHINESE, "gb18030", "信.txt"),
]


def encodings(folder: Path) -> Iterator[dict]:
    """Letters in common encodings."""
    for kind, text, encoding, name in ENCODINGS:
        yield put(folder, f"txt-{kind}", name, text.encode(encoding), "by hand", *PLAIN)


def tables(folder: Path) -> Iterator[dict]:
    """Tables as text, like the exports of spreadsheets."""
    quoted = "".join(",".join(f'"{cell}"' for cell in row) + "\r\n" for row in TABLE)
    tabs = "".join("\t".join(row) + "\r\n" for row in TABLE)
    types = ("Windows application/vnd.ms-excel", "macOS text/csv", "Android text/comma-separated-values")
    yield put(folder, "csv", "prices.csv", quoted.encode(), "by hand", *types)
    wide = tabs.encode("utf-16")
    yield put(folder, "csv-utf-16", "prices-utf-16.csv", wide, "by hand, as Excel's Unicode text", *types)
    by = ("Windows", "macOS text/tab-separated-values", "Linux text/tab-separated-values")
    yield put(folder, "tsv", "prices.tsv", tabs.encode(), "by hand", *by)


def beginnings(folder: Path) -> Iterator[dict]:
    """Text that begins with the first bytes of another format."""
    for kind, start in BEGINNINGS:
        data = (start + PROSE).encode()
        yield put(folder, f"txt-begins-{kind}", f"begins-{kind}.txt", data, "by hand", *PLAIN)


def odd(folder: Path) -> Iterator[dict]:
    """Unusual text files, and files of one byte or none."""
    texts = [
        ("bom-only", b"\xef\xbb\xbf"),
        ("line-separator", "one\u2028two\u2029three\n".encode()),
        ("emoji", "👍🏽 👨‍👩‍👧 🇩🇪\n".encode()),
        ("long-line", b"abcdefghij" * 10240),
    ]
    for kind, data in texts:
        yield put(folder, f"txt-{kind}", f"{kind}.txt", data, "by hand", *PLAIN)
    yield put(folder, "empty", "empty.txt", b"", "by hand", "Windows text/plain", "Linux application/x-zerosize")
    for byte in (0x00, 0x0A, 0x4D, 0x7B, 0xFF):
        kind = f"one-byte-{byte:02x}"
        yield put(folder, kind, f"{kind}.txt", bytes([byte]), "by hand", *PLAIN)


def make(folder: Path) -> Iterator[dict]:
    """Make all kinds of text files."""
    yield from encodings(folder)
    yield from tables(folder)
    for kind, name, text, by in DOCUMENTS + SOURCES:
        yield put(folder, kind, name, text.encode(), "by hand", *by)
    yield from beginnings(folder)
    yield from odd(folder)
