"""Finds dependencies that no code uses, for `scripts/check-dependencies`, in a few seconds and without a tool to install.

A crate uses a dependency if its code contains the name under which Rust knows the dependency: `md5` for the crate md-5. Code
of a dependency that comments or strings mention is not a use, except in documentation tests.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, Set

from measurelib import tokens

_SECTION = re.compile(r"^\[workspace\.dependencies\]$(.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^([\w-]+) *=", re.MULTILINE)


def unused(manifest: Path) -> Iterator[str]:
    """Yields a line for each dependency of the workspace of this manifest that no code uses."""
    metadata = _metadata(manifest)
    libraries = _libraries(metadata)
    members = set(metadata["workspace_members"])
    declared: Set[str] = set()
    for package in metadata["packages"]:
        if package["id"] not in members:
            continue
        folder = Path(package["manifest_path"]).parent
        for dependency in package["dependencies"]:
            declared.add(dependency["name"])
            name = (dependency["rename"] or libraries.get(dependency["name"], dependency["name"])).replace("-", "_")
            if not _is_used(folder, dependency["kind"], name):
                yield f"{package['name']}: no code uses the dependency {dependency['name']}"
    section = _SECTION.search(manifest.read_text())
    for name in sorted(set(_ENTRY.findall(section[1])) - declared if section else ()):
        yield f"Cargo.toml: no crate has the dependency {name}"


def _metadata(manifest: Path) -> Dict:
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--locked", "--format-version", "1",
               "--manifest-path", str(manifest)]
    answer = subprocess.run(command, stdout=subprocess.PIPE)
    if answer.returncode != 0:
        sys.exit("check-dependencies: cargo metadata failed")
    return json.loads(answer.stdout)


def _libraries(metadata: Dict) -> Dict[str, str]:
    """Returns the names of the libraries of all packages."""
    kinds = {"lib", "rlib", "dylib", "proc-macro"}
    return {package["name"]: target["name"] for package in metadata["packages"] for target in package["targets"]
            if kinds.intersection(target["kind"])}


def _is_used(folder: Path, kind: str, name: str) -> bool:
    if kind == "build":
        return _is_named(folder.glob("build.rs"), name)
    if kind is None:
        return _is_named(folder.glob("src/**/*.rs"), name) or _is_named(folder.glob("fuzz_targets/**/*.rs"), name)
    parts = ("src", "tests", "benches", "examples")
    files = [file for part in parts for file in folder.glob(f"{part}/**/*.rs")]
    return _is_named(files, name) or any(f"{name}::" in file.read_text() for file in files)


def _is_named(files, name: str) -> bool:
    return any(name in _names(file) for file in files)


_read: Dict[Path, Set[str]] = {}


def _names(file: Path) -> Set[str]:
    """Returns all identifiers of a file."""
    if file not in _read:
        _read[file] = {token.text for token in tokens.Source(file.read_text()).tokens if token.is_ident()}
    return _read[file]
