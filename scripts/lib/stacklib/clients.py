"""Installs the upload clients of integration-tests/clients in cache folders that all runs share.

The name of a folder is a hash of the lock file, so each folder is created only once. If another run
is creating the folder, a run waits for it.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterable, Optional

from . import apt, process
from .console import StackError, say
from .home import REPOSITORY, cache_folder

_SOURCES = REPOSITORY / "integration-tests" / "clients"
_PACKAGES = ("package.json", "package-lock.json", ".npmrc")
_JAVA = _SOURCES / "java" / "TusJava.java"
_JAVA_VERSION = "0.5.1"
_JAVA_JAR = f"tus-java-client-{_JAVA_VERSION}.jar"
_JAVA_SHA256 = "196ce59aac4cca7395aca493e1740ba121ef9696232911086ac205a30948e7bb"
_NJS = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
_MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def environment() -> Dict[str, str]:
    """Returns the environment variables with which the integration tests run all clients."""
    folder = node_clients()
    java = java_classpath()
    return {
        "WAYBILL_TEST_NODE": _node(),
        "WAYBILL_TEST_TUS_JS": str(folder / "tus-js.mjs"),
        "WAYBILL_TEST_BROWSER": str(folder / "browser.mjs"),
        "WAYBILL_TEST_CHROMIUM": chromium(),
        "WAYBILL_TEST_NGINX_JS": _from_debian("nginx") or _missing("nginx"),
        "WAYBILL_TEST_NJS": _njs(),
        "WAYBILL_TEST_VARNISH": _from_debian("varnishd", "varnish") or _missing("varnish"),
        "WAYBILL_TEST_REDIS": _from_debian("redis-server") or _missing("redis-server"),
        "WAYBILL_TEST_UNZIP": _from_debian("unzip") or _missing("unzip"),
        "WAYBILL_TEST_7Z": _from_debian("7z", "p7zip-full") or _missing("p7zip-full"),
        "WAYBILL_TEST_BSDTAR": _from_debian("bsdtar", "libarchive-tools") or _missing("libarchive-tools"),
        "WAYBILL_TEST_TUSPY_PYTHON": str(python_with("tuspy")),
        "WAYBILL_TEST_MOTO_PYTHON": str(python_with("moto")),
        "WAYBILL_TEST_MOTO": str(_SOURCES / "moto" / "server.py"),
        "WAYBILL_TEST_TUSPY": str(_SOURCES / "tuspy" / "tuspy_client.py"),
        "WAYBILL_TEST_CURL": curl(),
        "WAYBILL_TEST_CURL_VARIANTS": str(_SOURCES / "curl_variants.py"),
        **({"WAYBILL_TEST_JAVA_CLASSPATH": java} if java else {}),
    }


def node_clients() -> Path:
    """Returns the folder of tus-js.mjs and browser.mjs.

    It is inside the folder of their packages, where Node finds the packages. Its name is a hash of the
    scripts, so checkouts with different scripts and the same lock file share the packages.
    """
    _node()
    packages = once("clients", hash_of(_SOURCES / name for name in _PACKAGES), _install_packages)
    sources = [file for part in ("*.mjs", "uppy/*.*", "pages/*.*") for file in sorted(_SOURCES.glob(part))]
    return once(packages.relative_to(cache_folder()), hash_of(sources), _copy_sources(sources))


def python_with(package: str) -> Path:
    """Returns a Python interpreter with the packages of the folder `package`."""
    requirements = _SOURCES / package / "requirements.txt"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = once(package, f"{hash_of([requirements])}-{version}", _install_python(package, requirements))
    return folder / "bin" / "python"


def chromium() -> str:
    """Returns WAYBILL_CHROMIUM, or chromium on the PATH. Otherwise installs the Debian package."""
    named = os.environ.get("WAYBILL_CHROMIUM")
    if named:
        return named
    found = _from_debian("chromium")
    if found is None:
        raise StackError("the browser tests need chromium: install it or set WAYBILL_CHROMIUM")
    return found


def curl() -> str:
    """Returns curl on the PATH. Otherwise installs the Debian package."""
    found = _from_debian("curl")
    if found is None:
        raise StackError("the tests need curl: install it")
    return found


def java_classpath() -> Optional[str]:
    """Returns the class path of TusJava and tus-java-client, or None if Maven or a JDK is not installed."""
    if any(shutil.which(program) is None for program in ("mvn", "javac", "java")):
        return None
    folder = once("tus-java", f"{_JAVA_VERSION}-{hash_of([_JAVA])}", _compile_java)
    return os.pathsep.join([str(folder), str(folder / _JAVA_JAR)])


def _from_debian(program: str, package: Optional[str] = None) -> Optional[str]:
    # Some distributions keep servers in a folder that is not on the PATH of users.
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    with _locked(cache_folder() / program):
        found = shutil.which(program, path=path)
        if found is None and apt.install(package or program):
            found = shutil.which(program, path=path)
    return found


def _njs() -> str:
    """Returns the path of the module njs of nginx. Installs the Debian package if necessary."""
    with _locked(cache_folder() / "njs"):
        if not _NJS.exists():
            apt.install("libnginx-mod-http-js")
    return str(_NJS) if _NJS.exists() else _missing("libnginx-mod-http-js")


def _missing(package: str) -> str:
    raise StackError(f"the tests need {package}: install it (Debian, Ubuntu: apt-get install {package})")


def _node() -> str:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise StackError("the JavaScript clients need node and npm")
    return node


def _install_packages(folder: Path) -> None:
    say(f"installing tus-js-client and Uppy into {folder}")
    folder.mkdir()
    for name in _PACKAGES:
        shutil.copyfile(_SOURCES / name, folder / name)
    command = ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    run("npm ci", command, cwd=folder)


def _copy_sources(sources: Iterable[Path]) -> Callable[[Path], None]:
    def copy(folder: Path) -> None:
        for source in sources:
            target = folder / source.relative_to(_SOURCES)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return copy


def _install_python(package: str, requirements: Path) -> Callable[[Path], None]:
    def install(folder: Path) -> None:
        say(f"installing {package} into {folder}")
        make = [sys.executable, "-m", "venv", str(folder)]
        if process.run(make, capture=True).returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            apt.install("python3-venv")
            run("python3 -m venv", make)
        run("pip install", [
            str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary=:all:",
            "-r", str(requirements),
        ])
    return install


def _compile_java(folder: Path) -> None:
    say(f"installing tus-java-client into {folder}")
    folder.mkdir()
    artifact = f"io.tus.java.client:tus-java-client:{_JAVA_VERSION}"
    copy = ["mvn", "-B", "-q", _MAVEN_COPY, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
    # Run in this folder because the current folder may have a pom.xml.
    run("mvn dependency:copy", copy, cwd=folder)
    jar = folder / _JAVA_JAR
    if hashlib.sha256(jar.read_bytes()).hexdigest() != _JAVA_SHA256:
        raise StackError(f"{jar} does not have the expected SHA-256")
    run("javac", ["javac", "-cp", str(jar), "-d", str(folder), str(_JAVA)])


def run(what: str, command: Iterable[str], **more) -> str:
    """Runs a command and returns its output. Raises an error with the output if the command fails."""
    result = process.run(list(command), stdin="", capture=True, **more)
    if result.returncode != 0:
        raise StackError(f"{what} failed:\n{result.stdout.strip()}")
    return result.stdout


def once(kind, name: str, make: Callable[[Path], None]) -> Path:
    """Returns the folder of this name. Creates it if no earlier run has completed it."""
    folder = cache_folder() / kind / name
    folder.parent.mkdir(exist_ok=True)
    with _locked(folder):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            (folder / "complete").touch()
    return folder


@contextmanager
def _locked(path: Path):
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def hash_of(files: Iterable[Path]) -> str:
    """Returns a hash of the names and contents of files."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        total.update(f"{file.name} {len(content)}\n".encode() + content)
    return total.hexdigest()[:12]
