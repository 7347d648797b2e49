"""One contestant sending one load, and the measuring around it."""

from dataclasses import dataclass, field
from typing import Dict, List, Tuple

from . import quiet
from .rig import Rig
from .usage import Meter, Usage

# Whose CPU and memory a contestant answers for. The servers that it uses are shown beside.
OUR_ROLES = ("gateway", "worker", "projector", "fanout", "all")


@dataclass
class Timing:
    """`wall_s` is what the contestant is judged by; the phases are parts of it, or beside it."""

    wall_s: float
    phases: Dict[str, float] = field(default_factory=dict)


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
    # Of the event log, also those of what follows the last answer.
    events: int

    @property
    def mb_per_s(self) -> float:
        return self.size_bytes / 1e6 / self.wall_s

    def cpu_per_gb(self, groups) -> float:
        return sum(self.cpu_s.get(name, 0.0) for name in groups) / (self.size_bytes / 1e9)

    @property
    def own_cpu_per_gb(self) -> float:
        return self.cpu_per_gb(self.own_groups)


class Attempt:
    """Made anew for each run. What is not timed happens in prepare() and check()."""

    own_groups: Tuple[str, ...] = ()
    bucket = ""
    # Whether verify() follows send(), as a run of its own.
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
        """An error unless all that was sent is stored, and is what was sent."""
        raise NotImplementedError


def measure(name: str, attempt: Attempt) -> List[Run]:
    rig = attempt.rig
    attempt.prepare()
    quiet.until_settled(rig)
    meter, runs, before = Meter(rig.stack.pids()), [], rig.log.last_seq()
    meter.start()
    timing = attempt.send()
    if attempt.verifies_apart:
        runs.append(_run(name, attempt, timing, meter.stop(), 0))
        name += ", verification"
        meter.start()
        timing = attempt.verify()
    quiet.until_done(rig)
    runs.append(_run(name, attempt, timing, meter.stop(), rig.log.last_seq() - before))
    rig.stack.must_live()
    attempt.check()
    rig.reset_bucket(attempt.bucket)
    return runs


def _run(name: str, attempt: Attempt, timing: Timing, used: Usage, events: int) -> Run:
    return Run(
        name, attempt.own_groups, sum(source.size_bytes for source in attempt.sources),
        len(attempt.sources), timing.wall_s, timing.phases, used.cpu_s, used.peak_kib,
        used.peaks_reset, events,
    )
