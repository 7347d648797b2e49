"""Write compound files (OLE2), the container of old office documents, Outlook mail and Windows installers."""

import struct
import uuid

SECTOR = 512
MINI = 64
CUTOFF = 4096
FREE, END, FAT_SECTOR, NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


def padded(data: bytes, size: int) -> bytes:
    """Return `data` padded with zeros to a multiple of `size`."""
    return data + bytes(-len(data) % size)


def chain(start: int, count: int) -> list[int]:
    """Return the table entries of `count` consecutive sectors."""
    return [*range(start + 1, start + count), END] if count else []


def record(name: str, kind: int, links: tuple[int, int, int], clsid: bytes, start: int, size: int) -> bytes:
    """Return one entry of the directory. `links` are its left sibling, its right sibling and its child."""
    wide = name.encode("utf-16-le") + b"\0\0"
    head = wide.ljust(64, b"\0") + struct.pack("<HBB3I", len(wide), kind, 1, *links)
    return head + clsid + bytes(20) + struct.pack("<IQ", start, size)


def tree(order: list[int], links: dict[int, tuple[int, int]]) -> int:
    """Make a balanced tree of sorted entries, and return its root."""
    if not order:
        return NONE
    middle = len(order) // 2
    links[order[middle]] = (tree(order[:middle], links), tree(order[middle + 1 :], links))
    return order[middle]


def directory(clsid: bytes, names: list[str], places: list[tuple[int, int]], mini: tuple[int, int]) -> bytes:
    """Return the directory: the root entry and its streams."""
    order = sorted(range(len(names)), key=lambda at: (len(names[at]), names[at].upper()))
    links: dict[int, tuple[int, int]] = {}
    top = tree([at + 1 for at in order], links)
    records = [record("Root Entry", 5, (NONE, NONE, top), clsid, *mini)]
    for at, (name, place) in enumerate(zip(names, places), 1):
        records.append(record(name, 2, (*links[at], NONE), bytes(16), *place))
    return b"".join(records)


def minis(streams: list[bytes]) -> tuple[bytes, list[int], list[int]]:
    """Join the short streams. Return the joined stream, its table, and the start of each short stream."""
    body, table, starts = b"", [], []
    for stream in streams:
        starts.append(len(table))
        table += chain(len(table), -(-len(stream) // MINI))
        body += padded(stream, MINI)
    return body, table, starts


def compound(clsid: str, streams: dict[str, bytes]) -> bytes:
    """Return a compound file with the directory after the streams. It must not need more than 109 sectors of tables."""
    short = [name for name, data in streams.items() if len(data) < CUTOFF]
    mini_body, mini_table, mini_starts = minis([streams[name] for name in short])
    body, table = b"", []

    def add(data: bytes) -> int:
        nonlocal body, table
        start = len(table)
        table += chain(start, -(-len(data) // SECTOR))
        body += padded(data, SECTOR)
        return start if data else END

    starts = dict(zip(short, mini_starts))
    starts |= {name: add(data) for name, data in streams.items() if name not in starts}
    mini = (add(mini_body), len(mini_body))
    mini_fat = struct.pack(f"<{len(mini_table)}I", *mini_table)
    mini_fat += b"\xff" * (-len(mini_fat) % SECTOR)
    mini_at = add(mini_fat)
    places = [(starts[name], len(data)) for name, data in streams.items()]
    entries = directory(uuid.UUID(clsid).bytes_le, list(streams), places, mini)
    unused = record("", 0, (NONE, NONE, NONE), bytes(16), 0, 0)
    entries += unused * (-len(entries) // 128 % 4)
    directory_at = add(entries)
    fats = 1
    while len(table) + fats > fats * 128:
        fats += 1
    fat_at = list(range(len(table), len(table) + fats))
    table += [FAT_SECTOR] * fats
    table += [FREE] * (fats * 128 - len(table))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<5H6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<4I", 0, fats, directory_at, 0)
    header += struct.pack("<5I", CUTOFF, mini_at, len(mini_fat) // SECTOR, END, 0)
    header += struct.pack("<109I", *(fat_at + [FREE] * (109 - fats)))
    return header + body + struct.pack(f"<{len(table)}I", *table)
