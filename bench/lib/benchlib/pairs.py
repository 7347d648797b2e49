"""Runs contestants in turn.

Changes on a machine from minute to minute affect all runs of a pair in the same way. The order is reversed each time, so that no
contestant always runs after the same other one.
"""

from typing import Dict, List

from stacklib.console import say

from . import direct, ours, raw, tus
from .attempt import Run, measure
from .rig import Rig
from .scenarios import Scenario, Sizes
from .sources import Sources

Pair = Dict[str, Run]


def run(rig: Rig, scenario: Scenario, chosen: List[str], pairs: int) -> List[Pair]:
    contestants = scenario.among(chosen)
    results: List[Pair] = []
    for number in range(pairs):
        names = list(contestants)
        pair: Pair = {}
        for name in names if number % 2 == 0 else reversed(names):
            for span in measure(name, contestants[name](rig)):
                pair[span.contestant] = span
                say(f"  {number + 1}/{pairs} {line(span)}")
        results.append(pair)
    return results


def warm_up(rig: Rig, sources: Sources, chosen: List[str], sizes: Sizes) -> None:
    """Makes one short run of each contestant that does not count, so that code is compiled and pools and volumes exist."""
    file = sources.file("warm-up", sizes.warm_up_bytes)
    attempts = {
        "ours": lambda: ours.Whole(rig, [file]),
        "ours-tus": lambda: tus.OursWhole(rig, [file]),
        "raw": lambda: raw.Parts(rig, [file], sources.chunks(file)),
        "direct": lambda: direct.Parts(rig, [file], sources.chunks(file)),
        "tus": lambda: tus.PeerWhole(rig, [file]),
        "tusd": lambda: tus.TusdWhole(rig, [file]),
    }
    for name in chosen:
        measure(name, attempts[name]())


def line(run: Run) -> str:
    text = f"{run.contestant:<23} {run.wall_s:8.2f} s {run.mb_per_s:8.1f} MB/s"
    if run.files > 1:
        text += f" {run.files / run.wall_s:8.1f} files/s"
    cpu = {name: f"{seconds:.2f}" for name, seconds in run.cpu_s.items() if seconds >= 0.005}
    return f"{text}  CPU s: {' '.join(f'{name} {used}' for name, used in cpu.items())}"
