"""Runs the commands of a page in order, in one shell, in a folder that looks like a checkout.

Each page has its own folder, with links to the scripts and the binary, and its own ports. `scripts/up` keeps its data there.
The page's `127.0.0.1:8080` and `/tmp` are replaced by its own address and folder. A placeholder such as FILE_ID is replaced
by the variable of this name, which a hidden command sets. `waybill serve …` and `scripts/up` do not end on their own: the
test waits until they are ready, and stops them as Ctrl-C would.
"""

import os
import re
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Set

from stacklib import pgfind, pgfolder, process, wheels
from stacklib.home import REPOSITORY
from stacklib.ports import Ports

from . import blocks, shown
from .blocks import Block, Command, Fault

_FILES = ("README.md", "docker-compose.yml", "nats", "scripts")
_PROGRAMS = ("WAYBILL_NATS_SERVER", "WAYBILL_WEED", "WAYBILL_PG_BINDIR")
_PRELUDE = Path(__file__).with_name("prelude.sh")
_SERVER = re.compile(r"\bwaybill serve (?P<role>all|gateway|worker|projector|fanout|content)\b|(?:^|\s)scripts/up\b(?!.*--detach)")
_ADDRESSES = {"worker": "WAYBILL_WORKER_ADDR", "projector": "WAYBILL_PROJECTOR_ADDR", "fanout": "WAYBILL_FANOUT_ADDR",
              "content": "WAYBILL_CONTENT_ADDR"}
_SET = re.compile(r"(?:^|[\s;])([A-Z][A-Z_]*)=")


class Page:
    """A Markdown file with commands, and the folder in which they run."""

    def __init__(self, name: str):
        self.name = name
        self.left_out: List[Block] = []
        self.faults: List[str] = []
        self._commands: List[Command] = []
        try:
            for block in blocks.blocks((REPOSITORY / name).read_text()):
                if block.is_run():
                    self._commands += _commands(block)
                elif block.not_run or block.run_by:
                    self.left_out.append(block)
                self.faults += [f"{name}:{block.line}: {fault}" for fault in _unrun_faults(block)]
        except Fault as fault:
            self.faults.append(f"{name}:{fault}")

    def visible(self) -> int:
        """Returns the number of commands that readers see."""
        return sum(not command.hidden for command in self._commands)

    def run(self, program: Path, work: Path) -> None:
        """Runs the commands, and adds a fault for the first one that fails or shows something else than the page."""
        ports = Ports()
        address = f"127.0.0.1:{ports.pick()}"
        _fill(work, program)
        script = work / "page.sh"
        script.write_text(_PRELUDE.read_text() + "".join(self._script(work, address)))
        try:
            result = process.run(["bash", str(script)], env=_environment(work, address, ports), cwd=work / "checkout",
                                 stdin="", capture=True)
            fault = self._fault(work / "out", result)
            if fault:
                self.faults.append(f"{self.name}:{fault}")
        finally:
            _stop_stacks(work)

    def _script(self, work: Path, address: str) -> Iterator[str]:
        names = {name for command in self._commands if command.hidden for name in _SET.findall(command.text)}
        for number, command in enumerate(self._commands):
            yield f"\nbegin {number} {'hidden' if command.hidden else 'visible'}\n"
            text = command.text if command.hidden else _with_values(_for_page(command.text, work, address), names)
            server = None if command.hidden else _SERVER.search(text)
            yield _server(text, server) if server else f"{{\n{text}}} >\"$OUTPUT\" 2>\"$OUTPUT.err\"\n"

    def _fault(self, out: Path, result) -> Optional[str]:
        reached = int((out / "reached").read_text()) if (out / "reached").exists() else 0
        for number, command in enumerate(self._commands[:reached + 1]):
            printed, errors = (_read(out / f"{number}{end}") for end in ("", ".err"))
            if result.returncode != 0 and number == reached:
                after = "not done after 300 s" if result.returncode < 0 else f"failed with {result.returncode}"
                told = "\n".join(part for part in (printed, errors, result.stdout) if part.strip())
                return f"{command.line}: {after}:\n{_indented(command.text)}\n{_indented(told)}"
            if "command not found" in errors:
                return f"{command.line}: {errors.strip()}"
            wrong = shown.difference(command.shown, printed) if command.shown else None
            if wrong:
                return f"{command.line}: {wrong}"
        return None


def _commands(block: Block) -> Iterator[Command]:
    """Yields the commands of a block, with the replacements of its comment, and stops its servers at the end."""
    for command in blocks.commands(block):
        text = command.text
        for old, new in block.instead.items():
            text = text.replace(old, new)
        yield Command(text, command.line, command.hidden, command.shown)
    if not block.hidden:
        yield Command("stop_servers\n", block.line, hidden=True)


def _unrun_faults(block: Block) -> Iterator[str]:
    """Yields why a block that is not run here is wrong: it is not JSON, or names a test that does not exist."""
    if block.run_by:
        module, _, test = block.run_by.rpartition("::")
        file = REPOSITORY / "integration-tests" / "tests" / "it" / f"{module.replace('::', '/')}.rs"
        if not file.is_file() or f"fn {test}(" not in file.read_text():
            yield f"the integration test {block.run_by} does not exist"
    elif block.language == "json" and not block.not_run:
        wrong = shown.invalid(block.text)
        if wrong:
            yield wrong


def _for_page(text: str, work: Path, address: str) -> str:
    """Returns the text of a command with the address and the temporary folder of this page."""
    text = text.replace("127.0.0.1:8080", address)
    return re.sub(r"(?<![\w/])/tmp\b", str(work / "tmp"), text)


def _with_values(text: str, names: Set[str]) -> str:
    """Returns the text with variables in place of placeholders of these names."""
    for name in names:
        text = re.sub(rf"(?<![\w${{-]){name}(?![\w=])", f"${name}", text)
    return text


def _server(text: str, match) -> str:
    """Returns the commands that start a server. `scripts/up` ends before the next command, other servers with the block."""
    text = re.sub(r"\s+#.*$", "", text.strip())
    start = f"{text} >\"$OUTPUT\" 2>\"$OUTPUT.err\" &\nstarted $! "
    if not match["role"]:
        return start + "\"$OUTPUT\"\nstop_servers\n"
    scheme = "https" if "TLS_CERT_FILE" in text else "http"
    return start + f"\"{scheme}://${_ADDRESSES.get(match['role'], 'WAYBILL_HTTP_ADDR')}/readyz\"\n"


def _fill(work: Path, program: Path) -> None:
    """Makes the folder that looks like a checkout."""
    checkout = work / "checkout"
    for folder in (work / "out", work / "tmp", checkout / "target" / "release"):
        folder.mkdir(parents=True)
    for name in _FILES:
        (checkout / name).symlink_to(REPOSITORY / name)
    (checkout / "target" / "release" / "waybill").symlink_to(program)
    # The user of PostgreSQL must reach its folder inside.
    for folder in (work, checkout):
        folder.chmod(0o711)


def _environment(work: Path, address: str, ports: Ports) -> Dict[str, str]:
    """Returns the environment of a page, without settings of Waybill that the caller has."""
    kept = {name: value for name, value in os.environ.items() if name in _PROGRAMS or not name.startswith(("WAYBILL_", "AWS_"))}
    return {
        **kept,
        "WORK": str(work), "REPOSITORY": str(REPOSITORY), "OUT": str(work / "out"), "TMPDIR": str(work / "tmp"),
        **{f"PORT_{number}": str(ports.pick()) for number in range(1, 6)},
        "NATS_SERVER": wheels.nats_server(), "PSQL": str(pgfind.programs() / "psql"),
        "WAYBILL_HOME": str(work / "checkout" / ".waybill"), "WAYBILL_HTTP_ADDR": address, "WAYBILL_URL": f"http://{address}",
        "WAYBILL_BIN": str(work / "checkout" / "target" / "release" / "waybill"),
        # Uploads that the client can continue are kept here.
        "XDG_STATE_HOME": str(work / "state"),
        "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
    }


def _stop_stacks(work: Path) -> None:
    for env in sorted(work.glob("**/env")):
        home = env.parent
        if (home / "run").is_dir():
            command = [str(REPOSITORY / "scripts" / "down")]
            process.run(command, env={**os.environ, "WAYBILL_HOME": str(home)}, capture=True)
            pgfolder.remove(home / "data" / "postgres")


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.strip().split("\n")[-30:])
