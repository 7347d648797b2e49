"""Measures one contestant that sends one load."""

from dataclasses import dataclass, field
from typing import Dict, List, Tuple

from . import quiet
from .rig import Rig
from .usage import Meter, Usage

# Processes whose CPU and memory count as Waybill's. The servers that it uses are shown separately.
OUR_ROLES = ("gateway", "worker", "projector", "fanout", "all")


@dataclass
class Timing:
    """`wall_s` is the result of the contestant. The phases are parts of it, or additional times."""

    wall_s: float
    phases: Dict[str, float] = field(default_factory=dict)


@dataclass
class Made:
    """Events, subjects and rows that a run has created, including those after the last answer."""

    events: int = 0
    # In the event log.
    subjects: int = 0
    # In the tables.
    rows: int = 0

    @classmethod
    def so_far(cls, rig: Rig) -> "Made":
        return cls(rig.log.last_seq(), rig.log.subjects(), rig.rows())

    def since(self, before: "Made") -> "Made":
        return Made(self.events - before.events, self.subjects - before.subjects, self.rows - before.rows)


@dataclass
class Run:
    contestant: str
    own_groups: Tuple[str, ...]
    size_bytes: int
    files: int
    wall_s: float
    phases: Dict[str, float]
    cpu_s: Dict[str, float]
    peak_kib: Dict[str, int]
    peaks_reset: bool
    made: "Made"

    @property
    def mb_per_s(self) -> float:
        return self.size_bytes / 1e6 / self.wall_s

    def cpu_per_gb(self, groups) -> float:
        return sum(self.cpu_s.get(name, 0.0) for name in groups) / (self.size_bytes / 1e9)

    def cpu_ms_per_file(self, groups) -> float:
        return sum(self.cpu_s.get(name, 0.0) for name in groups) * 1e3 / self.files

    @property
    def own_cpu_per_gb(self) -> float:
        return self.cpu_per_gb(self.own_groups)


class Attempt:
    """One attempt of a contestant. Each run creates a new one. prepare() and check() are not timed."""

    own_groups: Tuple[str, ...] = ()
    bucket = ""
    # True if verify() follows send() as a separate run.
    verifies_apart = False

    def __init__(self, rig: Rig, sources, parallel: int = 1):
        self.rig = rig
        self.sources = sources
        self.parallel = parallel

    def prepare(self) -> None:
        raise NotImplementedError

    def send(self) -> Timing:
        raise NotImplementedError

    def verify(self) -> Timing:
        raise NotImplementedError

    def check(self) -> None:
        """Raises an error unless all files are stored as they were sent."""
        raise NotImplementedError


def measure(name: str, attempt: Attempt) -> List[Run]:
    rig = attempt.rig
    attempt.prepare()
    quiet.until_settled(rig)
    meter, runs, before = Meter(rig.stack.pids()), [], Made.so_far(rig)
    meter.start()
    timing = attempt.send()
    if attempt.verifies_apart:
        runs.append(_run(name, attempt, timing, meter.stop(), Made()))
        name += ", verification"
        meter.start()
        timing = attempt.verify()
    quiet.until_done(rig)
    used = meter.stop()
    runs.append(_run(name, attempt, timing, used, Made.so_far(rig).since(before)))
    rig.stack.must_live()
    attempt.check()
    rig.reset_bucket(attempt.bucket)
    return runs


def _run(name: str, attempt: Attempt, timing: Timing, used: Usage, made: Made) -> Run:
    return Run(
        name, attempt.own_groups, sum(source.size_bytes for source in attempt.sources),
        len(attempt.sources), timing.wall_s, timing.phases, used.cpu_s, used.peak_kib,
        used.peaks_reset, made,
    )
