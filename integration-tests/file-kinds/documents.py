"""Office documents, books and mail, made with Python's library and xlwt.

xlwt is imported where it is used, so that `make.py --packages` runs without it.
"""

import io
import plistlib
import struct
from collections.abc import Iterator
from pathlib import Path

from basics import STDLIB, noise, zipped
from compound import compound
from entry import put
from media import png

OOXML = "application/vnd.openxmlformats-officedocument."
TYPES = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/{part}" ContentType="{type}"/></Types>'
RELATIONS = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="{type}" Target="{part}"/></Relationships>'
OFFICE_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def package(part: str, media_type: str, body: str, relation: str = OFFICE_DOCUMENT) -> bytes:
    """A package of the Open Packaging Conventions with one part."""
    return zipped({
        "[Content_Types].xml": TYPES.format(part=part, type=media_type),
        "_rels/.rels": RELATIONS.format(part=part, type=relation),
        part: '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + body,
    })


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
    """Office documents and models that are ZIP packages of XML."""
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
    """A table of numbers and words in the format of Excel 97."""
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
    """A mail in the format of Outlook, with properties, subject and text."""
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
