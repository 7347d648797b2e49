"""Make test files of every kind: `python3 make.py OUTPUT`; see README.md."""

import json
import sys
from pathlib import Path

import binary
import dangerous
import text

try:
    import programs
except ModuleNotFoundError:
    programs = None

MODULES = [module for module in (text, binary, programs, dangerous) if module is not None]
CLASSES = {"allowed", "executable", "installer", "script", "misleading"}


def main(arguments: list[str]) -> int:
    if arguments == ["--packages"]:
        print("\n".join(sorted({package for module in MODULES for package in module.PACKAGES})))
        return 0
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    output = Path(arguments[0])
    (output / "files").mkdir(parents=True, exist_ok=True)
    kinds = [kind for module in MODULES for kind in module.make(output / "files")]
    for kind in kinds:
        check(kind, output)
    names = [kind["kind"] for kind in kinds]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        sys.exit(f"kinds that occur twice: {sorted(twice)}")
    (output / "manifest.json").write_text(json.dumps({"kinds": kinds}, indent=1, ensure_ascii=False))
    print(f"{len(kinds)} kinds of files")
    return 0


def check(kind: dict, output: Path) -> None:
    """Check that a kind has a file, a class, and a declared type, which may be empty."""
    name = kind["kind"]
    if not (output / kind["file"]).is_file():
        sys.exit(f"{name}: {kind['file']} is missing")
    if kind["class"] not in CLASSES or not kind["declared"]:
        sys.exit(f"{name}: the class is unknown or the declared types are missing")


sys.exit(main(sys.argv[1:]))
