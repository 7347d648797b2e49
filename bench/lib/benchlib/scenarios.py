"""Defines the scenarios with a peer: the contestants and the files that they send. `pairs` runs them."""

from dataclasses import dataclass
from typing import Callable, Dict, List, Tuple

from . import direct, ours, raw, tus
from .attempt import Attempt
from .rig import Rig
from .sources import Sources

AT_ONCE = 8
CHUNKS_AT_ONCE = 4
SMALL_AT_ONCE = 32
_SAME_BYTES = 1_000

Make = Callable[[Rig], Attempt]


@dataclass(frozen=True)
class Load:
    """Files that are sent in parallel."""

    files: int
    file_bytes: int

    @property
    def size_bytes(self) -> int:
        return self.files * self.file_bytes


@dataclass(frozen=True)
class Sizes:
    file_bytes: int
    small_files: int
    small_bytes: int
    memory: Dict[str, Load]
    events: int
    warm_up_bytes: int
    rows: Tuple[int, int, int]  # files, chatrooms, and queries per kind
    others: Tuple[int, ...]  # events of other companies in the partition
    same_files: int
    company_files: int
    sockets: int
    siege_s: int


FULL = Sizes(
    1 << 30, 2_000, 100_000,
    {"memory": Load(32, 1 << 30), "memory-tus": Load(64, 256 << 20), "memory-distant": Load(32, 128 << 20)},
    1_000_000, 32 << 20, (1_000_000, 1_000, 8_000),
    (300_000, 3_000_000, 10_000_000), 20_000, 1_000_000, 9_000, 600,
)
QUICK = Sizes(
    32 << 20, 64, 100_000,
    {"memory": Load(4, 16 << 20), "memory-tus": Load(8, 16 << 20), "memory-distant": Load(8, 16 << 20)},
    20_000, 16 << 20, (10_000, 100, 320),
    (300_000,), 640, 50_000, 80, 20,
)


@dataclass(frozen=True)
class Ratio:
    """Ratio of two contestants within each pair. By default: how much faster `one` is than `other`, in total or in `phase`.
    With `of_cost`: CPU time of `one` divided by that of `other`, of the backends alone or with NATS and PostgreSQL."""

    label: str
    one: str
    other: str
    phase: str = ""
    of_cost: bool = False
    with_servers: bool = False


_TUSD = (
    Ratio("ours-tus / tusd", "ours-tus", "tusd"),
    Ratio("ours-tus / tusd no hashes", "ours-tus", "tusd no hashes"),
    Ratio("cost: ours-tus / tusd", "ours-tus", "tusd", of_cost=True),
    Ratio("cost with NATS and PostgreSQL: ours-tus / tusd", "ours-tus", "tusd", of_cost=True, with_servers=True),
    Ratio("cost: ours-tus / tusd no hashes", "ours-tus", "tusd no hashes", of_cost=True),
)


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    pairs: int
    peak_bytes: int
    contestants: Dict[str, Make]
    ratios: Tuple[Ratio, ...]

    def among(self, chosen: List[str]) -> Dict[str, Make]:
        """Returns the chosen contestants. They are chosen by the first word of their names."""
        return {n: make for n, make in self.contestants.items() if n.split()[0] in chosen}


def one(sources: Sources, sizes: Sizes) -> Scenario:
    file = sources.file("one", sizes.file_bytes)
    chunks = sources.chunks(file)
    return Scenario(
        "one", f"One file of {_mib(sizes.file_bytes)}", 9, 2 * sizes.file_bytes,
        {
            "ours one request": lambda rig: ours.Whole(rig, [file]),
            "ours chunks": lambda rig: ours.Chunks(rig, [file], chunks),
            "direct": lambda rig: direct.Parts(rig, [file], chunks),
            "raw": lambda rig: raw.Parts(rig, [file], chunks),
            "direct x4": lambda rig: direct.Parts(rig, [file], chunks, CHUNKS_AT_ONCE),
            "raw x4": lambda rig: raw.Parts(rig, [file], chunks, CHUNKS_AT_ONCE),
            "ours chunks x4": lambda rig: ours.Chunks(rig, [file], chunks, CHUNKS_AT_ONCE),
            "ours-tus": lambda rig: tus.OursWhole(rig, [file]),
            "tus": lambda rig: tus.PeerWhole(rig, [file]),
            "tusd": lambda rig: tus.TusdWhole(rig, [file]),
            "tusd no hashes": lambda rig: tus.TusdNoHashesWhole(rig, [file]),
        },
        (
            Ratio("one request / raw", "ours one request", "raw"),
            Ratio("chunks / raw", "ours chunks", "raw"),
            Ratio("chunks / raw, the PUTs alone", "ours chunks", "raw", "put_s"),
            Ratio("chunks x4 / raw x4", "ours chunks x4", "raw x4"),
            Ratio("chunks x4 / raw x4, the PUTs alone", "ours chunks x4", "raw x4", "put_s"),
            Ratio("direct / raw", "direct", "raw"),
            Ratio("direct / raw, the PUTs alone", "direct", "raw", "put_s"),
            Ratio("direct x4 / raw x4", "direct x4", "raw x4"),
            Ratio("direct x4 / raw x4, the PUTs alone", "direct x4", "raw x4", "put_s"),
            Ratio("ours-tus / tus", "ours-tus", "tus"),
            Ratio("cost: ours-tus / tus", "ours-tus", "tus", of_cost=True),
            *_TUSD,
            Ratio("cost: ours-tus / one request", "ours-tus", "ours one request", of_cost=True),
        ),
    )


def eight(sources: Sources, sizes: Sizes) -> Scenario:
    file = sources.file("one", sizes.file_bytes)
    chunks = sources.chunks(file)
    files = [file] * AT_ONCE
    return Scenario(
        "eight", f"{AT_ONCE} files of {_mib(sizes.file_bytes)} at once", 3,
        2 * AT_ONCE * sizes.file_bytes,
        {
            "ours": lambda rig: ours.Whole(rig, files),
            "raw": lambda rig: raw.Parts(rig, files, chunks),
            "ours-tus": lambda rig: tus.OursWhole(rig, files),
            "tus": lambda rig: tus.PeerWhole(rig, files),
            "tusd": lambda rig: tus.TusdWhole(rig, files),
            "tusd no hashes": lambda rig: tus.TusdNoHashesWhole(rig, files),
        },
        (
            Ratio("ours / raw", "ours", "raw"),
            Ratio("ours-tus / tus", "ours-tus", "tus"),
            Ratio("cost: ours-tus / tus", "ours-tus", "tus", of_cost=True),
            *_TUSD,
            Ratio("cost: ours-tus / ours", "ours-tus", "ours", of_cost=True),
        ),
    )


def distant(sources: Sources, sizes: Sizes) -> Scenario:
    file = sources.file("one", sizes.file_bytes)
    chunks = sources.chunks(file)
    return Scenario(
        "distant", f"One file of {_mib(sizes.file_bytes)} with a distant store", 3, 2 * sizes.file_bytes,
        {
            "ours one request": lambda rig: ours.Whole(rig, [file]),
            "raw": lambda rig: raw.Parts(rig, [file], chunks),
            "raw x4": lambda rig: raw.Parts(rig, [file], chunks, CHUNKS_AT_ONCE),
            "raw x8": lambda rig: raw.Parts(rig, [file], chunks, 2 * CHUNKS_AT_ONCE),
            "ours-tus": lambda rig: tus.OursWhole(rig, [file]),
            "tus": lambda rig: tus.PeerWhole(rig, [file]),
            "tusd": lambda rig: tus.TusdWhole(rig, [file]),
            "tusd no hashes": lambda rig: tus.TusdNoHashesWhole(rig, [file]),
        },
        (
            Ratio("one request / raw", "ours one request", "raw"),
            Ratio("one request / raw x4", "ours one request", "raw x4"),
            Ratio("one request / raw x8", "ours one request", "raw x8"),
            Ratio("ours-tus / raw x8", "ours-tus", "raw x8"),
            Ratio("ours-tus / tus", "ours-tus", "tus"),
            Ratio("cost: ours-tus / tus", "ours-tus", "tus", of_cost=True),
            *_TUSD,
        ),
    )


def small(sources: Sources, sizes: Sizes) -> Scenario:
    files = sources.many("small", sizes.small_files, sizes.small_bytes)
    title = f"{sizes.small_files:,} files of {sizes.small_bytes:,} bytes, {SMALL_AT_ONCE} at a time"
    return Scenario(
        "small", title, 3, 4 * sizes.small_files * sizes.small_bytes,
        {
            "ours": lambda rig: ours.Small(rig, files, SMALL_AT_ONCE),
            "raw": lambda rig: raw.Objects(rig, files, SMALL_AT_ONCE),
            "ours-tus": lambda rig: tus.OursSmall(rig, files, SMALL_AT_ONCE),
            "tus": lambda rig: tus.PeerSmall(rig, files, SMALL_AT_ONCE),
            "tusd": lambda rig: tus.TusdSmall(rig, files, SMALL_AT_ONCE),
            "tusd no hashes": lambda rig: tus.TusdNoHashesSmall(rig, files, SMALL_AT_ONCE),
        },
        (
            Ratio("ours / raw", "ours", "raw"),
            Ratio("ours-tus / raw", "ours-tus", "raw"),
            Ratio("ours-tus / ours", "ours-tus", "ours"),
            Ratio("ours-tus / tus", "ours-tus", "tus"),
            Ratio("cost: ours-tus / tus", "ours-tus", "tus", of_cost=True),
            *_TUSD,
            Ratio("cost: ours-tus / ours", "ours-tus", "ours", of_cost=True),
        ),
    )


def identical(sources: Sources, sizes: Sizes) -> Scenario:
    count = sizes.same_files
    same = [sources.file("same", _SAME_BYTES)] * count
    random = sources.many("random", count, _SAME_BYTES)
    title = f"{count:,} files of {_SAME_BYTES:,} bytes, {SMALL_AT_ONCE} at a time: all identical, or all random"
    return Scenario(
        "identical", title, 3, 0,
        {
            "ours identical": lambda rig: ours.SmallAndSettled(rig, same, SMALL_AT_ONCE),
            "ours random": lambda rig: ours.SmallAndSettled(rig, random, SMALL_AT_ONCE),
        },
        (Ratio("identical / random", "ours identical", "ours random"),),
    )


PAIRED = {"one": one, "distant": distant, "eight": eight, "small": small, "identical": identical}


def _mib(size_bytes: int) -> str:
    return f"{size_bytes >> 20:,} MiB"
