"""`bench/run`: parses the options, runs the scenarios one after the other, and writes the results."""

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from stacklib import waybill
from stacklib.console import StackError, say

from . import company, compression, content, downloads, machine, memory, pairs, queries, rebuild, report, rig as rigs, scale, scenarios, siege, sockets, tusd
from .distance import Distance
from .sources import Sources

_NAMES = [*scenarios.PAIRED, *memory.CONTESTANTS, rebuild.SMALL, rebuild.LARGE, "queries", "scale", "company", "sockets", "siege", "content", "compression", "downloads"]
_CONTESTANTS = ["ours", "ours-tus", "direct", "raw", "tus", "tusd"]
_USAGE = """\
Measure Waybill on this machine, with its own servers on loopback. See bench/README.md.

environment:
  WAYBILL_BIN           waybill binary to measure; without it, a release build is made
  WAYBILL_NATS_SERVER, WAYBILL_WEED, WAYBILL_PG_BINDIR
                        programs to use instead of the found or installed ones
"""


def main() -> int:
    options = _parse()
    root = Path(tempfile.mkdtemp(prefix="waybill-bench-", dir=options.folder))
    root.chmod(0o711)
    try:
        return _run(options, root)
    finally:
        for part in ("sources", "waybill"):
            shutil.rmtree(root / part, ignore_errors=True)
        (root / "waybill.bin").unlink(missing_ok=True)
        # After an error, the folder still contains the logs of the scenario.
        if not any(root.iterdir()):
            root.rmdir()


def _run(options: argparse.Namespace, root: Path) -> int:
    # Copy the binary, so that a concurrent build cannot replace it.
    program = Path(shutil.copy2(waybill.binary(release=True), root / "waybill.bin"))
    facts = machine.describe(program)
    say(report.machine(facts))
    sources = Sources(root / "sources")
    texts, data = [report.machine(facts)], {"machine": facts, "scenarios": {}}
    for name, distance in _plan(options):
        text, found = _one(name, options, root, program, sources, distance)
        texts.append(text)
        data["scenarios"][f"{name} {distance.delay_ms} ms" if distance else name] = found
        if options.out:
            # Write after each scenario, so that a late failure does not lose hours of measurements.
            options.out.write_text(json.dumps(data, indent=1, default=dataclasses.asdict) + "\n")
    if options.markdown:
        print("\n\n".join(texts))
    elif not options.out:
        json.dump(data, sys.stdout, indent=1, default=dataclasses.asdict)
        print()
    return 0


def _plan(options: argparse.Namespace) -> List[Tuple[str, Optional[Distance]]]:
    """Lists the runs: a scenario with a distant store runs once per distance."""
    return [
        (name, distance) for name in options.only
        for distance in ([Distance(delay_ms, options.request_mb_s) for delay_ms in options.delay_ms] if "distant" in name else [None])
    ]


def _one(
    name: str, options, root: Path, program: Path, sources: Sources, distance: Optional[Distance]
) -> Tuple[str, Any]:
    sizes = _sizes(options)
    plan = scenarios.PAIRED[name](sources, sizes) if name in scenarios.PAIRED else None
    load = sizes.memory.get(name)
    stored = plan.peak_bytes if plan else load.size_bytes if load else 0
    memory.must_have_room(root, stored, name)
    taking_part = {contestant.split()[0] for contestant in plan.contestants} if plan else set()
    chosen = [name for name in options.contestants if name in taking_part] if plan else [memory.CONTESTANTS[name][0] if load else "ours"]
    say(f"{name}: starting a stack")
    together = options.roles == "together"
    peers = [name for name in chosen if name in ("tus", "tusd")]
    if distance:
        say(f"  the store: {distance}")
    with rigs.running(root, name, program, peers=peers, together=together, distance=distance) as rig:
        pairs.warm_up(rig, sources, chosen, sizes)
        if plan:
            done = pairs.run(rig, plan, chosen, _pairs(options, plan))
            return report.scenario(plan, done, distance), _as_data(plan, done)
        if load:
            run = memory.run(rig, sources, name, load)
            return report.memory(run, distance), run
        if name == "queries":
            found = queries.measure(rig, *sizes.rows)
            return report.queries(found), found
        if name == "scale":
            grown = scale.measure(rig, list(options.events or sizes.others))
            return report.scale(grown), grown
        if name == "company":
            levels = company.measure(rig, options.files or sizes.company_files)
            return report.company(levels), levels
        if name == "siege":
            besieged = siege.measure(rig, options.seconds or sizes.siege_s, options.attacks)
            return report.siege(besieged), besieged
        if name == "content":
            processed = content.measure(rig)
            return report.content(processed), processed
        if name == "compression":
            compressed = compression.measure(rig)
            return report.compression(compressed), compressed
        if name == "downloads":
            downloaded = downloads.measure(rig, sources, sizes.file_bytes, options.pairs or (1 if options.quick else 4))
            return report.downloads(downloaded), downloaded
        if name == "sockets":
            costs = sockets.measure(rig, options.sockets or sizes.sockets)
            return report.sockets(costs), costs
        result = rebuild.run(rig, sources, sizes, name)
        return report.rebuild(result), result


def _as_data(plan: scenarios.Scenario, done: List[pairs.Pair]) -> Dict[str, Any]:
    ratios = {ratio.label: report.ratio_values(ratio, done) for ratio in plan.ratios}
    return {"title": plan.title, "pairs": done, "ratios": ratios}


def _pairs(options: argparse.Namespace, plan: scenarios.Scenario) -> int:
    return options.pairs or (1 if options.quick else plan.pairs)


def _sizes(options: argparse.Namespace) -> scenarios.Sizes:
    sizes = scenarios.QUICK if options.quick else scenarios.FULL
    if options.memory_size_mib:
        file_bytes = options.memory_size_mib << 20
        loads = {name: scenarios.Load(load.files, file_bytes)
                 for name, load in sizes.memory.items()}
        sizes = dataclasses.replace(sizes, memory=loads)
    return sizes


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run", description=_USAGE, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true",
                        help="tiny files and one pair, to check that everything works")
    parser.add_argument("--only", type=_some_of(_NAMES), default=_NAMES, metavar="NAME[,NAME]",
                        help=f"scenarios to run: {', '.join(_NAMES)}")
    parser.add_argument("--contestants", type=_some_of(_CONTESTANTS), default=_CONTESTANTS,
                        metavar="NAME[,NAME]", help=f"contestants: {', '.join(_CONTESTANTS)}")
    parser.add_argument("--roles", choices=["apart", "together"], default="apart",
                        help="four processes (the default), or one process as scripts/up runs it")
    parser.add_argument("--pairs", type=int, metavar="N",
                        help="runs of each contestant (default: 9 for one, 3 for the other scenarios with pairs)")
    parser.add_argument("--delay-ms", type=_numbers, default=[5, 60, 200], metavar="N[,N]",
                        help="times to the first byte of the distant store, in ms (default: 5,60,200)")
    parser.add_argument("--request-mb-s", type=int, default=60, metavar="N",
                        help="throughput of one request to the distant store, in MB/s (default: 60)")
    parser.add_argument("--memory-size-mib", type=int, metavar="N",
                        help="file size for memory (default: 1024), memory-tus (256) and memory-distant (128), in MiB")
    parser.add_argument("--events", type=_numbers, metavar="N[,N]",
                        help="numbers of events of other companies for scale (default: 300000,3000000,10000000)")
    parser.add_argument("--files", type=int, metavar="N",
                        help="number of files for company (default: 1000000)")
    parser.add_argument("--sockets", type=int, metavar="N",
                        help="number of connections for sockets (default: 9000)")
    parser.add_argument("--attacks", type=lambda text: text.split(","), default=[], metavar="H5,M8",
                        help="attacks of siege, by their letters in docs/threats.md (default: all)")
    parser.add_argument("--seconds", type=int, metavar="N",
                        help="duration of each part of siege, in seconds (default: 600)")
    parser.add_argument("--folder", type=Path, metavar="DIR",
                        help="folder for temporary data (default: the system's temporary folder)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to which all runs are written as JSON")
    parser.add_argument("--markdown", action="store_true",
                        help="print tables instead of JSON")
    options = parser.parse_args()
    if "tusd" in options.contestants and (reason := tusd.why_not()):
        say(f"tusd is skipped: {reason}")
        options.contestants = [name for name in options.contestants if name != "tusd"]
    if options.pairs is not None and options.pairs < 1:
        raise StackError("--pairs must be at least 1")
    return options


def _numbers(text: str) -> List[int]:
    return sorted(int(number) for number in text.split(","))


def _some_of(known: List[str]):
    def parse(text: str) -> List[str]:
        names = text.split(",")
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown name: {', '.join(unknown)}")
        return names
    return parse
