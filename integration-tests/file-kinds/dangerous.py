"""Files that Waybill refuses: programs, installers, scripts, and pages that are declared as another type."""

import io
import shutil
import struct
import subprocess
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

from basics import STDLIB, java_archive, noise, windows_program, zipped
from compound import compound
from entry import put

PACKAGES: list[str] = ["coreutils", "dpkg", "rpm"]

PIP = "pip's launcher (distlib)"
PROGRAM = ("Windows application/x-msdownload", "Linux application/x-ms-dos-executable", "macOS application/octet-stream")
JAR = ("Windows application/java-archive", "Linux application/x-java-archive", "Windows application/x-java-archive")
MSI = ("Windows application/octet-stream", "Linux application/x-msi", "Windows")
SHELL = ("Linux application/x-shellscript", "macOS text/x-sh", "Windows")
ZIPPED = ("Windows application/x-zip-compressed", "macOS application/zip")
APK = "application/vnd.android.package-archive"
INSTALLER = "{000C1084-0000-0000-C000-000000000046}"


def windows(folder: Path) -> Iterator[dict]:
    """Programs for Windows, with their own and with other extensions."""
    wide, narrow = windows_program("t64.exe"), windows_program("t32.exe")
    files = [
        ("pe-64", "setup.exe", wide, PROGRAM),
        ("pe-32", "setup32.exe", narrow, PROGRAM),
        ("pe-arm", "setup-arm.exe", windows_program("t64-arm.exe"), PROGRAM),
        ("pe-window", "window.exe", windows_program("w64.exe"), PROGRAM),
        ("pe-dll", "library.dll", wide, ("Windows application/x-msdownload", "Linux application/x-sharedlib", "Windows")),
        ("pe-scr", "holiday.scr", narrow, ("Windows", "Linux application/x-ms-dos-executable", "Windows application/octet-stream")),
        ("pe-as-jpg", "photo.jpg", wide, ("Windows image/jpeg",)),
        ("pe-as-txt", "notes.txt", narrow, ("Windows text/plain",)),
        ("pe-without-extension", "setup", wide, ("Windows application/octet-stream", "Windows")),
    ]
    for kind, name, data, by in files:
        yield put(folder, kind, name, data, PIP, *by, kind_class="executable")
    yield put(folder, "lnk", "Report.lnk", shortcut(), "by hand", "Windows", "Linux application/x-ms-shortcut", kind_class="executable")
    help_file = b"ITSF" + struct.pack("<6I", 3, 96, 1, 1, 0x409, 0) + bytes(68)
    by = ("Windows application/vnd.ms-htmlhelp", "Linux application/vnd.ms-htmlhelp", "Windows")
    yield put(folder, "chm", "manual.chm", help_file, "by hand: the header alone", *by, kind_class="executable")


def shortcut() -> bytes:
    """A shortcut to a program."""
    clsid = uuid.UUID("{00021401-0000-0000-C000-000000000046}").bytes_le
    has_path_and_arguments, unicode = 0x08 | 0x20, 0x80
    head = struct.pack("<I16sII", 0x4C, clsid, has_path_and_arguments | unicode, 0x20) + bytes(24)
    head += struct.pack("<IiIHHII", 0, 0, 1, 0, 0, 0, 0)
    texts = [".\\cmd.exe", "/c echo hello"]
    return head + b"".join(struct.pack("<H", len(one)) + one.encode("utf-16-le") for one in texts) + bytes(4)


def mach_o() -> bytes:
    """A program for Macs with Intel's processors: a header, its commands and one instruction that returns."""
    def segment(name: bytes, at: int, size: int, held: int, protection: int) -> bytes:
        return struct.pack("<II16sQQQQiiII", 0x19, 72, name, at, size, 0, held, protection, protection, 0, 0)

    base = 1 << 32
    linker = struct.pack("<III", 0x0E, 32, 12) + b"/usr/lib/dyld".ljust(20, b"\0")
    library = struct.pack("<6I", 0x0C, 56, 24, 2, 0x10000, 0x10000) + b"/usr/lib/libSystem.B.dylib".ljust(32, b"\0")
    commands = [
        segment(b"__PAGEZERO", 0, base, 0, 0),
        segment(b"__TEXT", base, 4096, 4096, 5),
        linker,
        library,
        struct.pack("<IIQQ", 0x80000028, 24, 2048, 0),
    ]
    body = b"".join(commands)
    head = struct.pack("<8I", 0xFEEDFACF, 0x01000007, 3, 2, len(commands), len(body), 0x85, 0)
    return ((head + body).ljust(2048, b"\0") + b"\xc3").ljust(4096, b"\0")


def mach_o_32() -> bytes:
    """The big-endian header of a program for old Macs with PowerPC."""
    segment = struct.pack(">II16s8I", 1, 56, b"__TEXT", 0x1000, 4096, 0, 4096, 5, 5, 0, 0)
    head = struct.pack(">7I", 0xFEEDFACE, 18, 0, 2, 1, len(segment), 1)
    return (head + segment).ljust(4096, b"\0")


def mach_o_universal() -> bytes:
    """A universal program, which begins like a Java class."""
    head = struct.pack(">II", 0xCAFEBABE, 2)
    head += struct.pack(">5I", 0x01000007, 3, 4096, 4096, 12) + struct.pack(">5I", 18, 0, 8192, 4096, 12)
    return head.ljust(4096, b"\0") + mach_o() + mach_o_32()


def unix(folder: Path) -> Iterator[dict]:
    """Programs for Linux and for Macs."""
    elf = Path("/bin/true").read_bytes()
    octets = "application/octet-stream"
    files = [
        ("elf", "tool", elf, ("Linux application/x-executable", "Linux application/x-pie-executable", "Linux application/x-sharedlib")),
        ("elf-without-type", "tool2", elf, ("Linux", f"Windows {octets}")),
        ("elf-as-pdf", "report.pdf", elf, ("Linux application/pdf",)),
        ("elf-so", "libtool.so", elf, ("Linux application/x-sharedlib", "Windows")),
        ("appimage", "Tool.AppImage", elf[:8] + b"AI\x02" + elf[11:], ("Linux application/vnd.appimage", "Linux application/x-iso9660-appimage", "Windows")),
    ]
    for kind, name, data, by in files:
        yield put(folder, kind, name, data, "coreutils", *by, kind_class="executable")
    files = [
        ("mach-o", "tool-mac", mach_o(), ("macOS", f"macOS {octets}", "macOS application/x-mach-binary")),
        ("mach-o-as-png", "photo.png", mach_o(), ("macOS image/png",)),
        ("mach-o-32", "tool-powerpc", mach_o_32(), ("macOS", f"macOS {octets}")),
        ("mach-o-universal", "tool-universal", mach_o_universal(), ("macOS", f"macOS {octets}")),
    ]
    for kind, name, data, by in files:
        yield put(folder, kind, name, data, "by hand", *by, kind_class="executable")


def java(folder: Path) -> Iterator[dict]:
    """An archive of Java classes and one of its classes."""
    jar = java_archive()
    with zipfile.ZipFile(io.BytesIO(jar)) as archive:
        name = next(one for one in archive.namelist() if one.endswith(".class"))
        java_class = archive.read(name)
    yield put(folder, "jar", "library.jar", jar, "py4j", *JAR, kind_class="installer")
    yield put(folder, "jar-as-zip", "library.zip", jar, "py4j", *ZIPPED, kind_class="installer")
    by = ("Windows", "Linux application/x-java", "macOS application/java-vm")
    yield put(folder, "class", "Main.class", java_class, "py4j", *by, kind_class="executable")
    by = ("Windows application/octet-stream",)
    yield put(folder, "class-as-bin", "main.bin", java_class, "py4j", *by, kind_class="executable")


def android(folder: Path) -> Iterator[dict]:
    """An app for Android and its code. The manifest has the header of Android's binary XML."""
    dex = b"dex\n035\0" + bytes(24) + struct.pack("<III", 112, 112, 0x12345678) + bytes(68)
    axml = struct.pack("<HHI", 3, 8, 36) + struct.pack("<HHIIIIII", 1, 28, 28, 0, 0, 0, 28, 0)
    apk = zipped({
        "AndroidManifest.xml": axml,
        "classes.dex": dex,
        "resources.arsc": struct.pack("<HHII", 2, 12, 12, 0),
        "META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\n\r\n",
    })
    yield put(folder, "apk", "app.apk", apk, STDLIB, f"Android {APK}", f"Linux {APK}", "Windows", kind_class="installer")
    yield put(folder, "apk-as-zip", "app.zip", apk, STDLIB, *ZIPPED, kind_class="installer")
    yield put(folder, "dex", "classes.dex", dex, "by hand: the header alone", "Linux", "Android application/octet-stream", kind_class="executable")


def summary() -> bytes:
    """The summary information of a Windows installer: platform and number."""
    texts = [(7, b"x64;1033\0"), (9, b"{11111111-2222-3333-4444-555555555555}\0")]
    values, places = b"", []
    for number, text in texts:
        places.append((number, 8 + 8 * len(texts) + len(values)))
        text += bytes(-len(text) % 4)
        values += struct.pack("<II", 30, len(text)) + text
    index = b"".join(struct.pack("<II", *place) for place in places)
    section = struct.pack("<II", 8 + len(index) + len(values), len(places)) + index + values
    form = uuid.UUID("{F29F85E0-4FF9-1068-AB91-08002B27B3D9}").bytes_le
    return struct.pack("<HHI16sI", 0xFFFE, 0, 0x00020006, bytes(16), 1) + form + struct.pack("<I", 48) + section


def msi(payload: int) -> bytes:
    """A Windows installer with a cabinet of noise and the directory after it."""
    streams = {
        "\x05SummaryInformation": summary(),
        "\u4840\u3f3f\u4577\u446c\u3e6a\u44b2\u482f": bytes(64),
        "\u4840\u3f7f\u4164\u422f\u4836": bytes(8),
        "one.cab": b"MSCF" + noise(payload),
    }
    return compound(INSTALLER, streams)


def windows_installers(folder: Path) -> Iterator[dict]:
    """Installers for Windows."""
    small = msi(9000)
    yield put(folder, "msi", "setup.msi", small, "by hand", *MSI, kind_class="installer")
    yield put(folder, "msi-as-doc", "letter.doc", small, "by hand", "Windows application/msword", kind_class="installer")
    far = "by hand: the directory lies beyond 1 MiB"
    yield put(folder, "msi-far-directory", "large.msi", msi(1_500_000), far, *MSI, kind_class="installer")
    yield put(folder, "msi-far-directory-as-doc", "large.doc", msi(1_500_000), far, "Windows application/msword", kind_class="installer")
    appx = zipped({
        "[Content_Types].xml": '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="exe" ContentType="application/x-msdownload"/></Types>',
        "AppxManifest.xml": '<?xml version="1.0"?><Package xmlns="http://schemas.microsoft.com/appx/manifest/foundation/windows10"><Identity Name="one" Publisher="CN=one" Version="1.0.0.0"/></Package>',
        "AppxBlockMap.xml": '<?xml version="1.0"?><BlockMap xmlns="http://schemas.microsoft.com/appx/2010/blockmap"/>',
        "one.exe": windows_program(),
    })
    by = ("Windows application/appx", "Windows application/vns.ms-appx", "Windows")
    yield put(folder, "appx", "app.appx", appx, STDLIB, *by, kind_class="installer")


def deb() -> bytes:
    """A package of Debian with one file."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "one"
        (tree / "DEBIAN").mkdir(parents=True, mode=0o755)
        control = "Package: one\nVersion: 1\nArchitecture: all\nMaintainer: Jane Doe <a@example.org>\nDescription: one\n"
        (tree / "DEBIAN/control").write_text(control)
        (tree / "one.txt").write_text("hello\n")
        tree.chmod(0o755)
        out = Path(scratch) / "one.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, out], check=True, capture_output=True)
        return out.read_bytes()


def rpm() -> bytes:
    """An empty package of Red Hat."""
    spec = "Name: one\nVersion: 1\nRelease: 1\nSummary: one\nLicense: MIT\nBuildArch: noarch\n%description\none\n%files\n"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "one.spec"
        path.write_text(spec)
        top = ["--define", f"_topdir {scratch}"]
        subprocess.run(["rpmbuild", *top, "-bb", path], check=True, capture_output=True)
        return next(Path(scratch).glob("RPMS/*/*.rpm")).read_bytes()


def unix_installers(folder: Path) -> Iterator[dict]:
    """Packages of Linux, and a disk image of Macs. Without rpmbuild there is no RPM."""
    by = ("Linux application/vnd.debian.binary-package", "Linux application/x-deb", "Windows")
    yield put(folder, "deb", "one.deb", deb(), "dpkg-deb", *by, kind_class="installer")
    if shutil.which("rpmbuild"):
        by = ("Linux application/x-rpm", "Linux application/x-redhat-package-manager", "Windows")
        yield put(folder, "rpm", "one.rpm", rpm(), "rpmbuild", *by, kind_class="installer")
    trailer = b"koly" + struct.pack(">III", 4, 512, 1) + bytes(496)
    by = ("macOS application/x-apple-diskimage", "Windows", "Windows application/octet-stream")
    yield put(folder, "dmg", "Tool.dmg", bytes(8192) + trailer, "by hand: an empty image", *by, kind_class="installer")


def shell(folder: Path) -> Iterator[dict]:
    """Shell scripts, recognised by their first line."""
    lines = b"#!/bin/sh\necho hello\n"
    plain = ("Windows text/plain",)
    files = [
        ("sh", "install.sh", lines, SHELL),
        ("sh-as-txt", "notes.txt", lines, plain),
        ("sh-crlf", "install-windows.sh", lines.replace(b"\n", b"\r\n"), SHELL),
        ("sh-crlf-as-txt", "notes-windows.txt", lines.replace(b"\n", b"\r\n"), plain),
        ("sh-bom", "install-bom.sh", b"\xef\xbb\xbf" + lines, SHELL),
        ("sh-bom-as-txt", "notes-bom.txt", b"\xef\xbb\xbf" + lines, plain),
        ("bash", "install-bash.sh", b"#!/usr/bin/env bash\necho hello\n", SHELL),
        ("bash-without-extension", "install", b"#!/usr/bin/env bash\necho hello\n", ("Linux", "macOS application/octet-stream")),
        ("command", "Install.command", b"#!/bin/zsh\necho hello\n", ("macOS", "macOS application/x-shellscript", "macOS text/x-sh")),
    ]
    for kind, name, data, by in files:
        yield put(folder, kind, name, data, "by hand", *by, kind_class="script")


def windows_scripts(folder: Path) -> Iterator[dict]:
    """Scripts for Windows, recognised by their names."""
    page = "<html><head><hta:application/><script language=\"VBScript\">MsgBox \"hello\"</script></head></html>\r\n"
    registry = "\ufeffWindows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\Software\\One]\r\n\"a\"=\"b\"\r\n"
    script_file = "<job><script language=\"JScript\">WScript.Echo(\"hello\");</script></job>\r\n"
    files = [
        ("bat", "start.bat", b"@echo off\r\necho hello\r\n", ("Windows", "Linux application/x-bat", "Windows application/x-msdownload")),
        ("cmd", "start.cmd", b"@echo off\r\necho hello\r\n", ("Windows", "Linux application/x-bat")),
        ("ps1", "start.ps1", b"Write-Host 'hello'\r\n", ("Windows", "Linux application/x-powershell")),
        ("vbs", "start.vbs", b"MsgBox \"hello\"\r\n", ("Windows", "Linux text/vbscript", "Linux application/x-vbscript")),
        ("wsf", "start.wsf", script_file.encode(), ("Windows", "Linux application/xml")),
        ("hta", "start.hta", page.encode(), ("Windows application/hta", "Linux text/html")),
        ("reg", "settings.reg", registry.encode("utf-16-le"), ("Windows", "Linux text/x-ms-regedit")),
    ]
    for kind, name, data, by in files:
        yield put(folder, kind, name, data, "by hand", *by, kind_class="script")


def misleading(folder: Path) -> Iterator[dict]:
    """Pages with a script that are declared as another type."""
    page = b"<!DOCTYPE html>\n<html><body><script>alert(document.domain)</script></body></html>\n"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(document.domain)</script></svg>\n'
    files = [
        ("html-as-jpg", "photo.jpg", page, "Windows image/jpeg"),
        ("html-as-pdf", "invoice.pdf", page, "Windows application/pdf"),
        ("html-as-mp3", "song.mp3", page, "Windows audio/mpeg"),
        ("html-as-mp4", "film.mp4", page, "macOS video/mp4"),
        ("html-as-woff2", "font.woff2", page, "macOS font/woff2"),
        ("svg-as-png", "photo.png", svg, "Windows image/png"),
        ("svg-with-declaration-as-png", "logo.png", b'<?xml version="1.0"?>\n<!-- logo -->\n' + svg, "macOS image/png"),
    ]
    for kind, name, data, by in files:
        yield put(folder, kind, name, data, "by hand", by, kind_class="misleading")


def make(folder: Path) -> Iterator[dict]:
    """Make all kinds of files that Waybill refuses."""
    parts = (windows, unix, java, android, windows_installers, unix_installers, shell, windows_scripts, misleading)
    for part in parts:
        yield from part(folder)
