"""Prints tables: medians of runs and medians of the ratios within pairs, each with the smallest and largest value."""

from statistics import median
from typing import Callable, Dict, Iterable, List, Optional, Sequence

from . import downloads as of_downloads, tusd
from .attempt import OUR_ROLES, Run
from .company import Level as CompanyLevel
from .compression import Compression
from .content import Content
from .distance import Distance
from .downloads import Downloads
from .pairs import Pair
from .queries import CONNECTIONS, Queries, percentile
from .rebuild import Rebuild
from .scale import Scale
from .scenarios import Ratio, Scenario
from .siege import Siege
from .sockets import Sockets

_SERVERS = ("nats", "postgres", "weed", "curl")
# Servers that Waybill needs in addition to the store, and that a peer does not need.
_OUR_SERVERS = ("nats", "postgres")
# Number of files from which the cost per file is shown.
_MANY = 32
_MADE = ("events", "subjects", "rows")
_PEAKS = (*OUR_ROLES, "tus", *tusd.NAMES, "nats", "weed")


def scenario(plan: Scenario, pairs: List[Pair], distance: Optional[Distance]) -> str:
    names = list(pairs[0])
    runs = {name: [pair[name] for pair in pairs] for name in names}
    parts = [
        f"### {_title(plan.title, distance)}", f"{len(pairs)} pair{'s' if len(pairs) > 1 else ''}; "
        "median (smallest to largest).", _speeds(runs), _costs(runs), _file_costs(runs),
        _ratios(plan.ratios, pairs),
        _peaks(runs),
    ]
    return "\n\n".join(part for part in parts if part)


def memory(run: Run, distance: Optional[Distance]) -> str:
    size = f"{run.size_bytes // run.files >> 20:,} MiB"
    peaks = [[name, f"{run.peak_kib[name] / 1024:,.0f}"] for name in _PEAKS if name in run.peak_kib]
    since = "while they ran" if run.peaks_reset else "since the processes were started"
    phases = "".join(f"{phase[:-2]} {seconds:.1f} s, " for phase, seconds in run.phases.items())
    return "\n\n".join([
        f"### {_title(f'{run.files} uploads of {size} at once, {run.contestant}', distance)}",
        f"{run.wall_s:.0f} s, {phases} {run.mb_per_s:.0f} MB/s, {run.own_cpu_per_gb:.2f} CPU s/GB; "
        f"peak resident memory {since}.",
        _table(["process", "MiB"], peaks),
    ])


def _title(title: str, distance: Optional[Distance]) -> str:
    return f"{title}; store: {distance}" if distance else title


def rebuild(result: Rebuild) -> str:
    rates = [result.events / wall_s for wall_s in result.wall_s]
    rows = [
        ["events/s, the whole command", _spread(rates, ",.0f")],
        ["wall s, the whole command", _spread(result.wall_s, ".2f")],
        *([f"CPU s of {name}", _spread((cpu_s[name] for cpu_s in result.cpu_s), ".2f")]
          for name in ("waybill", "postgres", "nats")),
    ]
    said = "\n".join(result.said)
    return "\n\n".join([
        f"### {result.what}: {result.events:,} events in {result.partitions} partitions", _table(["", "median"], rows),
        f"```text\n{said}\n```",
    ])


def queries(result: Queries) -> str:
    runs = [("", result), *([(", with Redis", result.with_redis)] if result.with_redis else [])]
    rows = [
        [what + suffix, f"{percentile(ms, 0.5):.1f}", f"{percentile(ms, 0.99):.1f}", f"{len(ms):,}",
         *(f"{_cpu_of(run, what, names):.1f}" for names in (("gateway", "all"), ("postgres",), ("redis",), ("client",)))]
        for suffix, run in runs for what, ms in run.ms.items()
    ]
    parts = [
        f"### Queries from {CONNECTIONS} connections, {result.files:,} files in {result.chatrooms:,} chatrooms and as many in one",
        _table(["ms", "p50", "p99", "answers", "CPU s of the gateway", "of PostgreSQL", "of Redis", "of the client"], rows),
        f"Rows of the large tables read by sequential scans during the queries: {result.sequentially_read}.",
    ]
    if result.with_redis:
        without, less = (sum(_cpu_of(run, what, ("postgres",)) for what in run.ms) for _, run in runs)
        parts.append(f"CPU time of PostgreSQL with Redis / without: {less / without:.2f}.")
    return "\n\n".join(parts)


def _cpu_of(run: Queries, what: str, names: Sequence[str]) -> float:
    return sum(run.cpu_s[what].get(name, 0.0) for name in names)


def sockets(costs: Sockets) -> str:
    rows = [
        ["CPU of the fan-out per accepted connection, ms", f"{costs.accept_ms:.2f}"],
        ["time to accept all connections, s", f"{costs.accept_s:.1f}"],
        ["CPU of the fan-out without connections, cores", f"{costs.base_core:.3f}"],
        ["idle: CPU, cores", f"{costs.idle_core:.3f}"],
        ["idle: KiB per connection", f"{costs.idle_kib:.1f}"],
        ["subscribed: CPU, cores", f"{costs.subscribed_core:.3f}"],
        ["subscribed: KiB per connection", f"{costs.subscribed_kib:.1f}"],
    ]
    return f"### {costs.connections:,} WebSocket connections\n\n" + _table(["", ""], rows)


def content(result: Content) -> str:
    rows = [[
        work.what, f"{work.files:,}", f"{work.files / work.wall_s:.1f}",
        *(f"{work.cpu_s[name] / work.files * 1_000:.1f}" for name in ("content", "clamd", "weed", "nats", "postgres")),
        f"{work.peak_kib['content'] / 1024:,.0f}",
    ] for work in result.works]
    verified = [[what, f"{percentile(ms, 0.5):.1f}", f"{percentile(ms, 0.99):.1f}", f"{len(ms):,}"]
                for what, ms in (("idle", result.idle_ms), ("with queued scans and previews", result.queued_ms),
                                 ("the same with `WAYBILL_CONTENT_MAX_BUSY=100`", result.never_waiting_ms))]
    return "\n\n".join([
        "### The role content",
        _table(["work", "files", "files/s", "CPU ms per file: content and its child processes", "clamd", "store", "nats",
                "postgres", "peak MiB of content"], rows),
        "Milliseconds from the completion of an upload of 100 KB to its verification:",
        _table(["role content", "p50", "p99", "uploads"], verified),
        f"After the last of these uploads, {result.still_queued:,} previews were still queued, which took another "
        f"{result.rest_s:.0f} s; with 100, {result.never_waiting_queued:,}.",
    ])


def compression(result: Compression) -> str:
    servers = ("content", "weed", "nats", "postgres")
    levels = [[
        str(level.level), f"{level.stored_bytes / level.file_bytes:.3f}", f"{level.file_bytes / level.wall_s / 1e6:,.0f}",
        *(f"{level.cpu_s[name] / level.file_bytes * 1e9:.1f}" for name in servers), f"{level.peak_kib / 1024:,.0f}",
    ] for level in result.levels]
    kinds = [[kind, f"{size:,}", *(f"{level.kinds[kind] / size:.2f}" for level in result.levels)]
             for kind, size in result.sizes.items()]
    reads = [[
        read.what, f"{read.sent_bytes / read.file_bytes:.2f}", f"{read.file_bytes / read.wall_s / 1e6:,.0f}",
        *(f"{read.cpu_s[name] / read.file_bytes * 1e9:.1f}" for name in ("gateway", "weed")),
    ] for read in result.reads]
    return "\n\n".join([
        "### Compression",
        _table(["level", "stored bytes per byte", "MB/s", "CPU s per GB: content", "store", "nats", "postgres",
                "peak MiB of content"], levels),
        "Stored bytes per byte of a file; 1.00 means that the file stays as it is:",
        _table(["kind", "bytes", *(f"level {level.level}" for level in result.levels)], kinds),
        "Reads of one file, one after another:",
        _table(["object", "bytes sent per byte", "MB/s", "CPU s per GB: gateway", "store"], reads),
    ])


def downloads(result: Downloads) -> str:
    rounds = len(next(iter(next(iter(result.runs.values())).values())))
    return "\n\n".join([
        "### Downloads",
        f"{rounds} round{'s' if rounds > 1 else ''}; the run in the middle, and the median of the ratios within rounds.",
        _table(*of_downloads.table(result)),
    ])


def machine(facts: Dict[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in facts.items())


def ratio_values(ratio: Ratio, pairs: List[Pair]) -> List[float]:
    """Returns a ratio for each pair. Of speeds, above 1 means that the first is faster; of costs, below 1 means that it is cheaper."""
    def seconds(run: Run) -> float:
        return run.phases[ratio.phase] if ratio.phase else run.wall_s
    if ratio.one not in pairs[0] or ratio.other not in pairs[0]:
        return []
    if ratio.of_cost:
        servers = _OUR_SERVERS if ratio.with_servers else ()
        return [pair[ratio.one].cpu_per_gb((*pair[ratio.one].own_groups, *servers)) / pair[ratio.other].own_cpu_per_gb
                for pair in pairs]
    return [seconds(pair[ratio.other]) / seconds(pair[ratio.one]) for pair in pairs]


def _speeds(runs: Dict[str, List[Run]]) -> str:
    many = any(run.files > 1 for group in runs.values() for run in group)
    rows = []
    for name, group in runs.items():
        row = [name, _spread((run.wall_s for run in group), ".2f"),
               _spread((run.mb_per_s for run in group), ".0f")]
        if many:
            row.append(_spread((run.files / run.wall_s for run in group), ",.1f"))
            ours = group[0].own_groups == OUR_ROLES
            row += [_spread((getattr(run.made, made) / run.files for run in group), ".2f") if ours else "–"
                    for made in _MADE]
        phases = group[0].phases
        row.append(", ".join(
            f"{phase[:-2]} {median(run.phases[phase] for run in group):.2f}" for phase in phases
        ))
        rows.append(row)
    heads = ["", "wall s", "MB/s", *(["files/s", *(f"{made}/file" for made in _MADE)] if many else []), "phases, s"]
    return _table(heads, rows)


def _costs(runs: Dict[str, List[Run]]) -> str:
    return _cpu_table("CPU s/GB", runs, Run.cpu_per_gb)


def _file_costs(runs: Dict[str, List[Run]]) -> str:
    """Returns the table of costs per file. With many small files, the number of files determines the cost, not their bytes."""
    many = any(run.files >= _MANY for group in runs.values() for run in group)
    return _cpu_table("CPU ms/file", runs, Run.cpu_ms_per_file) if many else ""


def _cpu_table(what: str, runs: Dict[str, List[Run]], cost: Callable[[Run, Iterable[str]], float]) -> str:
    rows = []
    measured = {process for group in runs.values() for run in group for process in run.cpu_s}
    ours = [role for role in (*OUR_ROLES, "gateway+worker") if role in measured]

    def middle(group: List[Run], name: str) -> str:
        return f"{median(cost(run, [name]) for run in group):.2f}"

    for name, group in runs.items():
        own = group[0].own_groups
        shares = [middle(group, role) if own == OUR_ROLES else "–" for role in ours]
        total = _spread((cost(run, own) for run in group), ".2f") if own else "–"
        rows.append([name, total, *shares, *(middle(group, server) for server in _SERVERS)])
    return _table([what, "backend", *ours, *_SERVERS], rows)


def scale(result: Scale) -> str:
    heads = ["ms", *(f"{level.events:,} events: {what}" for level in result.levels
                     for what in ("warm p50", "p99", "cold first", "cold worst"))]
    rows = []
    for kind in result.levels[0].warm:
        row = [kind]
        for level in result.levels:
            warm, cold = level.warm[kind], level.cold.get(kind)
            row += [f"{percentile(warm, 0.5):.1f}", f"{percentile(warm, 0.99):.1f}"]
            row += [f"{level.cold_first(kind):.1f}", f"{max(cold):.1f}"] if cold else ["–", "–"]
        rows.append(row)
    row = ["concurrent appends"]
    for level in result.levels:
        row += [f"{percentile(level.appends, 0.5):.1f}", f"{percentile(level.appends, 0.99):.1f}", "–", "–"]
    base = result.baseline
    return "\n\n".join([
        "### Old uploads in a partition full of events of other companies",
        f"Appends without other requests: p50 {percentile(base, 0.5):.1f} ms, p99 {percentile(base, 0.99):.1f} ms.",
        _table(heads, [*rows, row]),
    ])


def company(levels: List[CompanyLevel]) -> str:
    few, many = levels[0], levels[-1]
    heads = ["ms", *(f"{level.files:,} files: {what}" for level in levels for what in ("p50", "p99")), "p50, many / few"]
    rows = []
    for kind in few.ms:
        found = [f"{percentile(level.ms[kind], part):.1f}" for level in levels for part in (0.5, 0.99)]
        rows.append([kind, *found, f"{percentile(many.ms[kind], 0.5) / max(percentile(few.ms[kind], 0.5), 0.1):.2f}"])
    used = [
        [name, *(f"{value:,.2f}" for level in levels
                 for value in (level.peak_kib[name] / 1024, level.cpu_s[name], level.recalculation_cpu_s[name]))]
        for name in (*OUR_ROLES, "nats", "postgres") if name in few.peak_kib
    ]
    names = [f"{level.files:,} files: {what}" for level in levels
             for what in ("peak MiB", "CPU s", "CPU s of a recalculation")]
    return "\n\n".join([
        f"### A company with {few.files:,} and with {many.files:,} files", _table(heads, rows),
        _table(["process", *names], used),
    ])


def siege(found: Siege) -> str:
    calm, attacked = found.quiet, found.attacked
    rows = []
    for kind, ms in calm.ms.items():
        part = [percentile(phase.ms[kind], part) for part in (0.5, 0.99) for phase in (calm, attacked)]
        rows.append([kind, str(len(ms)), *(f"{value:.1f}" for value in part), f"{part[3] / part[2]:.2f}"])
    heads = ["ms", "requests", "p50", "p50, attacked", "p99", "p99, attacked", "p99, attacked / not"]
    used = [
        [name, *(f"{value:,.1f}" for phase in (calm, attacked) for value in (phase.cpu_s[name], phase.grown_kib[name] / 1024))]
        for name in attacked.grown_kib
    ]
    attacks = [
        [name, ", ".join(f"{status}: {count:,}" for status, count in sorted(counts.items(), key=lambda one: -one[1]))]
        for name, counts in attacked.attacks.items()
    ]
    log = [[name, f"{phase.events:,}", f"{phase.log_bytes / 1e6:,.1f}", str(sum(phase.failures.values()))]
           for name, phase in (("not attacked", calm), ("attacked", attacked))]
    return "\n\n".join([
        f"### One of twenty tenants attacks the others for {found.seconds} s", _table(heads, rows),
        _table(["", "events", "MB in the log", "failed requests of the others"], log),
        _table(["process", "CPU s", "grown MiB", "CPU s, attacked", "grown MiB, attacked"], used),
        _table(["attack", "answers by status"], attacks),
    ])


def _ratios(ratios: Iterable[Ratio], pairs: List[Pair]) -> str:
    rows = []
    for ratio in ratios:
        values = ratio_values(ratio, pairs)
        if values:
            rows.append([ratio.label, _spread(values, ".2f")])
    return _table(["ratio within a pair", "median"], rows) if rows else ""


def _peaks(runs: Dict[str, List[Run]]) -> str:
    """Returns the table of peak memory: the largest of all runs."""
    shown = [name for name in _PEAKS if any(name in group[0].peak_kib for group in runs.values())]
    rows = []
    for name, group in runs.items():
        peaks = {p: max(run.peak_kib.get(p, 0) for run in group) / 1024 for p in shown}
        rows.append([name, *(f"{peaks[process]:,.0f}" for process in shown)])
    return _table(["peak MiB", *shown], rows)


def _spread(values: Iterable[float], how: str) -> str:
    values = list(values)
    if len(values) == 1:
        return f"{values[0]:{how}}"
    return f"{median(values):{how}} ({min(values):{how}} to {max(values):{how}})"


def _table(heads: List[str], rows: List[List[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
