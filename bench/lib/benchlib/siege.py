"""Measures what one of twenty tenants can do to the others at the permitted rates."""

import json
import os
import uuid
from dataclasses import dataclass, field
from typing import Dict, List, Tuple

from stacklib import process, waybill
from stacklib.console import StackError, say
from stacklib.home import REPOSITORY

from . import quiet
from .queries import percentile
from .rig import USER_RATES, Rig
from .scale import Company
from .usage import Meter, resident_kib

_TENANTS = 19
# Users of the tenant that attacks.
_USERS = 4


@dataclass
class Phase:
    # Milliseconds of each answer to the other tenants, by kind of request.
    ms: Dict[str, List[float]]
    failures: Dict[str, int]
    # Number of answers to the attacks, by attack and status.
    attacks: Dict[str, Dict[str, int]]
    # Of each process: CPU time, and growth of the resident memory.
    cpu_s: Dict[str, float] = field(default_factory=dict)
    grown_kib: Dict[str, int] = field(default_factory=dict)
    events: int = 0
    log_bytes: int = 0


@dataclass
class Siege:
    seconds: int
    quiet: Phase
    attacked: Phase


def measure(rig: Rig, seconds: int, attacks: List[str]) -> Siege:
    program = _program()
    # The limit of users is a part of what is measured. That of addresses is not, because all tenants have the same one.
    for name in USER_RATES:
        del rig.env[name]
    rig.restart_roles()
    tenants = [_token(rig, str(uuid.uuid4()), str(uuid.uuid4())) for _ in range(_TENANTS)]
    attackers, chatroom = _attackers(rig)
    plan = {"url": rig.url, "seconds": seconds, "tenants": tenants, "attackers": [], "chatroom": chatroom,
            "attacks": attacks}
    # The first run fills caches and is not used.
    _run(rig, program, {**plan, "seconds": min(seconds, 30)})
    calm = _run(rig, program, plan)
    attacked = _run(rig, program, {**plan, "attackers": attackers})
    quiet.until_done(rig, 3_600)
    return Siege(seconds, calm, attacked)


def _attackers(rig: Rig) -> Tuple[List[str], str]:
    """Creates a company with a chatroom. Returns the tokens of its users and the id of the chatroom."""
    company, chatroom = Company(rig), str(uuid.uuid4())
    directory = f"/v1/admin/companies/{company.id}"
    users = [str(uuid.uuid4()) for _ in range(_USERS)]
    company.ask("PUT", directory, {})
    company.ask("PUT", f"{directory}/chatrooms/{chatroom}", {})
    for user in users:
        company.ask("PUT", f"{directory}/users/{user}", {})
        company.ask("PUT", f"{directory}/chatrooms/{chatroom}/members/{user}", {})
    company.close()
    return [_token(rig, company.id, user) for user in users], chatroom


def _run(rig: Rig, program: str, plan: dict) -> Phase:
    groups = rig.stack.pids()
    resident = {name: resident_kib(pid) for name, pid in groups.items()}
    events, log_bytes = rig.log.last_seq(), rig.log.stored_bytes()
    meter = Meter(groups)
    meter.start()
    result = process.run([program], stdin=json.dumps(plan), capture=True, quiet=True)
    used = meter.stop()
    if result.returncode != 0:
        raise StackError("the load ended with an error")
    phase = Phase(**json.loads(result.stdout))
    phase.cpu_s = used.cpu_s
    phase.grown_kib = {name: resident_kib(pid) - resident[name] for name, pid in groups.items()}
    phase.events, phase.log_bytes = rig.log.last_seq() - events, rig.log.stored_bytes() - log_bytes
    for kind, ms in phase.ms.items():
        say(f"  {'attacked' if plan['attackers'] else 'quiet'}, {kind}: {len(ms)}, p50 {percentile(ms, 0.5):.1f} ms, "
            f"p99 {percentile(ms, 0.99):.1f} ms")
    return phase


def _token(rig: Rig, company: str, user: str) -> str:
    return waybill.token(rig.program, rig.env, company, user)


def _program() -> str:
    """Builds the program that sends the load, and returns its path."""
    build = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--package", "waybill-siege",
             "--message-format=json-render-diagnostics"]
    result = process.run(build, cwd=REPOSITORY, stdin="", capture=True, quiet=True)
    made = [line for line in result.stdout.splitlines() if '"executable":"' in line]
    if result.returncode != 0 or not made:
        raise StackError("the build of waybill-siege failed")
    return json.loads(made[-1])["executable"]
