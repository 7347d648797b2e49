"""Write a file and describe it for the manifest."""

from pathlib import Path


def declared(words: tuple[str, ...]) -> list[dict]:
    """Parse words like `"Windows text/plain"`. A system alone declares no type. Each type is kept once."""
    types: dict[str, str] = {}
    for word in words:
        system, _, media_type = word.partition(" ")
        types.setdefault(media_type, system)
    return [{"by": system, "type": media_type} for media_type, system in types.items()]


def put(folder: Path, kind: str, name: str, data: bytes, made_with: str, *by: str, kind_class: str = "allowed") -> dict:
    """Write `data` and return its entry of the manifest."""
    suffix = Path(name).suffix
    path = folder / (kind + suffix)
    path.write_bytes(data)
    return {
        "kind": kind,
        "file": path.relative_to(folder.parent).as_posix(),
        "name": name,
        "class": kind_class,
        "made_with": made_with,
        "declared": declared(by),
    }
