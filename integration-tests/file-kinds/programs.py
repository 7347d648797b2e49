"""Office documents, pictures, sounds, films, archives and signed mail, made with programs of Debian."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from entry import declared

PACKAGES = [
    "cpio", "ffmpeg", "genisoimage", "ghostscript", "imagemagick", "gcab", "libheif-examples", "libreoffice-calc-nogui",
    "libreoffice-draw-nogui", "libreoffice-impress-nogui", "libreoffice-writer-nogui", "lz4", "msitools", "ncompress",
    "openssl", "p7zip-full", "qpdf", "webp", "wixl", "xz-utils", "zstd",
]

_HEAD = '<?xml version="1.0" encoding="UTF-8"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" ' \
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" ' \
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0" ' \
    'office:version="1.2" office:mimetype="application/vnd.oasis.opendocument.{kind}"><office:body><office:{body}>'
_TAIL = "</office:{body}></office:body></office:document>"
_SHAPE = '<draw:page draw:name="a"><draw:rect svg:x="1cm" svg:y="1cm" svg:width="3cm" svg:height="2cm"/></draw:page>'
_SOURCES = {
    "fodt": ("text", "text", "<text:p>Dear all, the delivery arrives on Tuesday.</text:p>" * 20),
    "fods": ("spreadsheet", "spreadsheet", '<table:table table:name="a">' + "<table:table-row><table:table-cell office:value-type=\"float\" office:value=\"3.5\"><text:p>3.5</text:p></table:table-cell></table:table-row>" * 40 + "</table:table>"),
    "fodp": ("presentation", "presentation", _SHAPE),
    "fodg": ("graphics", "drawing", _SHAPE),
}
_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."
# source, extension, LibreOffice's filter, declared
_OFFICE = [
    ("fodt", "doc", "doc:MS Word 97", ("Windows application/msword",)),
    ("fodt", "dot", "dot:MS Word 97 Vorlage", ("Windows application/msword", "Linux application/msword-template")),
    ("fodt", "docx", "docx", ("Windows " + _OOXML + "wordprocessingml.document",)),
    ("fodt", "odt", "odt", ("Linux " + _ODF + "text",)),
    ("fodt", "ott", "ott", ("Linux " + _ODF + "text-template",)),
    ("fodt", "rtf", "rtf", ("Windows application/msword", "macOS text/rtf", "Linux application/rtf")),
    ("fodt", "pdf", "pdf", ("Windows application/pdf",)),
    ("fodt", "epub", "epub", ("macOS application/epub+zip", "Windows")),
    ("fods", "xls", "xls:MS Excel 97", ("Windows application/vnd.ms-excel",)),
    ("fods", "xlt", "xlt:MS Excel 97 Vorlage/Template", ("Windows application/vnd.ms-excel",)),
    ("fods", "xlsx", "xlsx", ("Windows " + _OOXML + "spreadsheetml.sheet",)),
    ("fods", "ods", "ods", ("Linux " + _ODF + "spreadsheet",)),
    ("fodp", "ppt", "ppt:MS PowerPoint 97", ("Windows application/vnd.ms-powerpoint",)),
    ("fodp", "pps", "pps:MS PowerPoint 97 AutoPlay", ("Windows application/vnd.ms-powerpoint",)),
    ("fodp", "pptx", "pptx", ("Windows " + _OOXML + "presentationml.presentation",)),
    ("fodp", "ppsx", "ppsx:Impress MS PowerPoint 2007 XML AutoPlay", ("Windows " + _OOXML + "presentationml.slideshow",)),
    ("fodp", "odp", "odp", ("Linux " + _ODF + "presentation",)),
    ("fodg", "odg", "odg", ("Linux " + _ODF + "graphics",)),
    ("fodg", "svg", "svg", ("Windows image/svg+xml",)),
    ("fodg", "emf", "emf", ("Windows image/x-emf", "Linux image/emf")),
    ("fodg", "wmf", "wmf", ("Windows image/x-wmf", "Linux image/wmf")),
]
_PICTURES = [
    ("jpg", ("Windows image/jpeg", "macOS image/jpeg")), ("png", ("Windows image/png",)), ("gif", ("Windows image/gif",)),
    ("webp", ("Windows image/webp",)), ("bmp", ("Windows image/bmp", "Linux image/bmp")), ("tiff", ("Windows image/tiff",)),
    ("ico", ("Windows image/x-icon", "Linux image/vnd.microsoft.icon")), ("psd", ("Windows", "macOS image/vnd.adobe.photoshop", "Linux image/x-photoshop")),
    ("pcx", ("Windows", "Linux image/vnd.zbrush.pcx", "macOS image/x-pcx")), ("tga", ("Windows", "Linux image/x-tga")),
    ("jp2", ("Windows image/jp2",)), ("xpm", ("Linux image/x-xpixmap",)), ("xbm", ("Windows image/x-xbitmap",)),
    ("dds", ("Windows image/vnd.ms-dds", "Linux image/x-dds")),
]
_SOUNDS = [
    ("mp3", "", ("Windows audio/mpeg", "Android audio/mp3")), ("m4a", "-c:a aac", ("macOS audio/x-m4a", "Windows audio/mp4")),
    ("aac", "-c:a aac", ("Windows audio/vnd.dlna.adts", "Linux audio/aac")), ("flac", "", ("Windows audio/flac", "Linux audio/x-flac")),
    ("ogg", "-c:a libvorbis", ("Windows audio/ogg", "Linux application/ogg")), ("opus", "-c:a libopus", ("Windows audio/ogg", "Linux audio/x-opus+ogg")),
    ("wma", "", ("Windows audio/x-ms-wma",)), ("wav", "", ("Windows audio/wav", "Linux audio/x-wav")), ("aiff", "", ("macOS audio/x-aiff", "Windows audio/aiff")),
    ("ac3", "", ("Windows audio/ac3", "Linux audio/vnd.dolby.dd-raw")), ("mka", "", ("Linux audio/x-matroska", "Windows")), ("caf", "-c:a pcm_s16le", ("macOS audio/x-caf",)),
]
_FILMS = [
    ("mp4", "", ("Windows video/mp4",)), ("mov", "", ("macOS video/quicktime",)), ("m4v", "", ("macOS video/x-m4v",)),
    ("webm", "-c:v libvpx -c:a libvorbis", ("Windows video/webm",)), ("mkv", "", ("Linux video/x-matroska", "Windows")), ("avi", "", ("Windows video/avi", "Linux video/x-msvideo")),
    ("wmv", "", ("Windows video/x-ms-wmv",)), ("flv", "-ar 44100", ("Windows video/x-flv",)), ("mpg", "", ("Windows video/mpeg",)),
    ("ts", "", ("Linux video/mp2t", "Windows video/vnd.dlna.mpeg-tts")), ("3gp", "-c:v mpeg4 -c:a aac", ("Android video/3gpp",)), ("ogv", "-c:v libtheora -c:a libvorbis", ("Linux video/ogg",)), ("m2ts", "", ("Windows video/vnd.dlna.mpeg-tts", "macOS video/mp2t")),
]
_PACKED = [
    ("7z", "7z a {out} a.txt", ("Windows", "Linux application/x-7z-compressed")), ("zip", "7z a -psecret {out} a.txt", ("Windows application/x-zip-compressed",)),
    ("zst", "zstd -q a.txt -o {out}", ("Linux application/zstd", "Windows")), ("lz4", "lz4 -q a.txt {out}", ("Linux application/x-lz4", "Windows")),
    ("lzma", "sh -c 'xz --format=lzma -c a.txt > {out}'", ("Linux application/x-lzma", "Windows")), ("cpio", "sh -c 'echo a.txt | cpio -o --quiet > {out}'", ("Linux application/x-cpio",)),
    ("Z", "sh -c 'compress -c a.txt > {out} || true'", ("Linux application/x-compress", "Windows")), ("cab", "gcab -c {out} a.txt", ("Windows application/vnd.ms-cab-compressed",)),
    ("iso", "genisoimage -quiet -o {out} a.txt", ("Linux application/x-cd-image", "macOS application/x-iso9660-image", "Windows")), ("ar", "ar rc {out} a.txt", ("Linux application/x-archive",)),
]


def make(folder: Path) -> Iterator[dict]:
    """Make each kind of file with a common program."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "a.txt").write_text("The delivery arrives on Tuesday.\n" * 200)
        for kind, path, made_with, by in _all(work):
            target = folder / f"program-{kind}{path.suffix}"
            shutil.copyfile(path, target)
            file_class = "installer" if path.suffix == ".msi" else "allowed"
            yield {
                "kind": f"program-{kind}", "file": target.relative_to(folder.parent).as_posix(), "name": f"my {kind}{path.suffix}",
                "class": file_class, "made_with": made_with, "declared": declared(by),
            }


def _all(work: Path) -> Iterator[tuple[str, Path, str, tuple[str, ...]]]:
    for source, (kind, body, text) in _SOURCES.items():
        (work / f"{source}.{source}").write_text(_HEAD.format(kind=kind, body=body) + text + _TAIL.format(body=body))
    for source, extension, form, by in _OFFICE:
        _run(work, "soffice", f"-env:UserInstallation={(work / 'profile').as_uri()}", "--headless", "--convert-to", form, "--outdir", "office", f"{source}.{source}")
        yield extension, work / "office" / f"{source}.{extension}", "LibreOffice", by
    _run(work, "convert-im6.q16", "-size", "64x48", "plasma:", "-depth", "8", "source.png")
    for extension, by in _PICTURES:
        _run(work, "convert-im6.q16", "source.png", *(["-monochrome"] if extension == "xbm" else []), f"picture.{extension}")
        yield f"picture-{extension}", work / f"picture.{extension}", "ImageMagick", by
    for extension, flags, by in [("heic", [], ("macOS image/heic", "iOS image/heic", "Windows")), ("avif", ["-A"], ("Windows image/avif",))]:
        _run(work, "heif-enc", *flags, "source.png", "-o", f"still.{extension}")
        yield extension, work / f"still.{extension}", "libheif", by
    for extension, flags, by in _SOUNDS:
        _run(work, "ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "sine=d=1", *flags.split(), f"sound.{extension}")
        yield f"sound-{extension}", work / f"sound.{extension}", "FFmpeg", by
    _run(work, "ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "sine=d=1", "-id3v2_version", "0", "-write_xing", "0", "bare.mp3")
    yield "sound-mp3-bare", work / "bare.mp3", "FFmpeg", ("Windows audio/mpeg",)
    for extension, flags, by in _FILMS:
        _run(work, "ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=25", "-f", "lavfi", "-i", "sine=d=1", *flags.split(), f"film.{extension}")
        yield f"film-{extension}", work / f"film.{extension}", "FFmpeg", by
    for extension, command, by in _PACKED:
        _shell(work, command.format(out=f"packed.{extension}"))
        yield f"packed-{extension}", work / f"packed.{extension}", command.split()[0] if not command.startswith("sh") else command.split("'")[1].split()[0], by
    yield from _documents(work)
    yield from _signed(work)
    (work / "a.wxs").write_text(_WXS)
    _run(work, "wixl", "-o", "setup.msi", "a.wxs")
    yield "msi", work / "setup.msi", "wixl", ("Windows application/x-msi", "Linux application/x-msi", "macOS")


def _documents(work: Path) -> Iterator[tuple[str, Path, str, tuple[str, ...]]]:
    _run(work, "qpdf", "--encrypt", "a", "b", "256", "--", "office/fodt.pdf", "locked.pdf")
    yield "pdf-encrypted", work / "locked.pdf", "qpdf", ("Windows application/pdf",)
    _run(work, "gs", "-q", "-dNOPAUSE", "-dBATCH", "-sDEVICE=ps2write", "-sOutputFile=a.ps", "office/fodt.pdf")
    yield "ps", work / "a.ps", "Ghostscript", ("Windows application/postscript",)


def _signed(work: Path) -> Iterator[tuple[str, Path, str, tuple[str, ...]]]:
    _shell(work, "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=anna")
    signer = "-signer cert.pem -inkey key.pem -in a.txt"
    for name, command, by in [
        ("p7m", f"openssl smime -sign -nodetach -outform DER {signer} -out smime.p7m", ("Windows application/pkcs7-mime", "Linux application/x-pkcs7-mime")),
        ("p7s", f"openssl smime -sign -outform DER {signer} -out smime.p7s", ("Windows application/pkcs7-signature", "macOS application/x-pkcs7-signature")),
        ("eml", f"openssl smime -sign {signer} -out smime.eml", ("Windows message/rfc822",)),
        ("p12", "openssl pkcs12 -export -passout pass:a -in cert.pem -inkey key.pem -out smime.p12", ("Windows application/x-pkcs12",)),
    ]:
        _shell(work, command)
        yield f"signed-{name}", work / f"smime.{name}", "OpenSSL", by


def _shell(work: Path, command: str) -> None:
    _run(work, "sh", "-c", command)


def _run(work: Path, *command: str) -> None:
    environment = {**os.environ, "HOME": str(work)}
    result = subprocess.run(command, cwd=work, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")


_WXS = """<?xml version="1.0"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
 <Product Name="Thing" Id="7D2F9D3A-6C3E-4F0B-9B0E-0A6B0B5F0001" Language="1033" Version="1.0" Manufacturer="Example"
   UpgradeCode="7D2F9D3A-6C3E-4F0B-9B0E-0A6B0B5F0002">
  <Package InstallerVersion="200" Compressed="yes"/><Media Id="1" Cabinet="a.cab" EmbedCab="yes"/>
  <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder"><Directory Id="D" Name="Thing">
   <Component Id="C" Guid="7D2F9D3A-6C3E-4F0B-9B0E-0A6B0B5F0003"><File Id="F" Source="a.txt"/></Component>
  </Directory></Directory></Directory>
  <Feature Id="Main" Level="1"><ComponentRef Id="C"/></Feature>
 </Product>
</Wix>
"""
