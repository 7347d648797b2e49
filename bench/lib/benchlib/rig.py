"""The stack of one scenario: servers, Waybill's roles and peers, with empty data and its own ports."""

import os
import shutil
import signal
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, Optional, Sequence

from stacklib import interrupts, nats, pgfolder, stack as stacks, waybill, weed
from stacklib.console import StackError, say
from stacklib.ports import Ports
from stacklib.postgres import Postgres
from stacklib.s3probe import REGION
from stacklib.settings import secret
from stacklib.stack import Stack

from . import distance, peer, roles, tusd
from .distance import Distance
from .jetstream import EventLog
from .s3 import Store

OURS = "waybill"
RAW = "raw"

# Count the rows, because the statistics are up to ten seconds old.
_ROWS = """
    SELECT sum((xpath('/row/n/text()', query_to_xml(
        format('SELECT count(*) AS n FROM %I.%I', nspname, relname), false, true, '')))[1]::text::bigint)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'waybill' AND relkind = 'r'
"""


class BenchStack(Stack):
    """A stack that also stops roles that stacklib does not know. It restores the signal handlers when it stops, so that signals
    can also end the next stack."""

    def __init__(self, run_folder: Path, log_folder: Path):
        super().__init__(run_folder, log_folder)
        self._more = []

    def start(self, role, argv, env=None, run_as=None):
        child = super().start(role, argv, env, run_as)
        if role not in stacks.START_ORDER:
            self._more.append((role, child))
        return child

    def pids(self) -> Dict[str, int]:
        return {child.name: child.pid for child in self._children}

    def stop_one(self, role) -> None:
        for child in [child for child in self._children if child.name == role.name]:
            child.stop(role.stop_signal, role.grace_s)
            self._children.remove(child)
            self._more = [(of, other) for of, other in self._more if other is not child]

    def must_live(self) -> None:
        for child in self._children:
            if not child.is_alive():
                raise StackError(f"{child.name} died (exit code {child.popen.returncode})")

    def stop(self) -> None:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        handlers = {number: signal.getsignal(number) for number in numbers}
        interrupts.ignore()
        for role, child in reversed(self._more):
            if not child.stop(role.stop_signal, role.grace_s):
                say(f"{role.name} did not stop within {role.grace_s:.0f} s and was killed")
        super().stop()
        for number, handler in handlers.items():
            signal.signal(number, handler)


# Rate limits of users.
USER_RATES = ("WAYBILL_RATE_PER_USER", "WAYBILL_BURST_PER_USER")


class Rig:
    """A running stack, as contestants use it."""

    def __init__(self, folder: Path, program: Path, peers: Sequence[str], together: bool,
                 distance: Optional[Distance] = None):
        self.folder = folder
        self.scratch = folder / "scratch"
        self.program = program
        for name in ("run", "logs", "scratch"):
            (folder / name).mkdir()
        self.stack = BenchStack(folder / "run", folder / "logs")
        self._ports = Ports()
        self._peers = peers
        self._together = together
        self._distance = distance

    def start(self) -> None:
        self.env = {**_clean_environment(), **self._start_servers(), **roles.settings(self._ports)}
        self.env |= {name: secret() for name in waybill.SECRETS}
        # Rate limits must not affect the measurements.
        self.env |= {name: "1000000" for name in (*USER_RATES, "WAYBILL_RATE_PER_ADDRESS")}
        # An administrator of a company can lower the quota that the operator sets, and not raise it.
        self.env["WAYBILL_DEFAULT_QUOTA_BYTES"] = str(1 << 51)
        self.url = f"http://{self.env['WAYBILL_HTTP_ADDR']}"
        self.log = EventLog(self.env["WAYBILL_NATS_URL"])
        self.reset_bucket(OURS)
        self._start_roles()
        self.reset_bucket(RAW)
        self._start_peers()
        self.observer = self.token()

    def free_port(self) -> int:
        return self._ports.pick()

    def token(self) -> str:
        """Returns a token for a new company, so that earlier runs cannot affect the result."""
        return waybill.token(self.program, self.env, str(uuid.uuid4()), str(uuid.uuid4()))

    def sql(self, text: str) -> str:
        """Runs statements in the schema of the read model. Returns their output."""
        return self._postgres.query("waybill", f"SET search_path = waybill, public; {text}")

    def rows(self) -> int:
        """Returns the number of rows in all tables of the read model."""
        return int(self.sql(_ROWS))

    def reset_bucket(self, bucket: str) -> None:
        """Creates an empty bucket. Drops an existing one first, which frees its space immediately."""
        if bucket in self._buckets:
            self.store.drop_bucket(bucket)
        self._buckets.add(bucket)
        self.store.create_bucket(bucket)
        if bucket == OURS:
            waybill.provision(self.program, self.env)

    def restart_nats(self, durable: bool = True) -> None:
        """Restarts NATS with the same data. Without durability, it accepts events faster, for filling the log."""
        self.stack.stop_one(stacks.NATS)
        self._start_nats(durable)

    def stop_roles(self) -> None:
        """Stops all roles, so that nothing else writes to the log."""
        names = ("all",) if self._together else roles.NAMES
        for name in names[::-1]:
            self.stack.stop_one(roles.role(name))

    def restart_roles(self) -> None:
        self.stop_roles()
        self._start_roles()

    def _start_roles(self) -> None:
        roles.start(self.stack, self.program, self.env, together=self._together)

    def _start_peers(self) -> None:
        """Starts the servers of other projects. `peer_urls` maps the bucket of each server to the URL for uploads."""
        self.peer_urls: Dict[str, str] = {}
        if "tus" in self._peers:
            port = self._ports.pick()
            self.reset_bucket(peer.BUCKET)
            self.peer_urls[peer.BUCKET] = peer.url(port)
            peer.start(self.stack, _clean_environment(), port, self.far_store)
        if "tusd" in self._peers:
            for name in tusd.NAMES:
                port = self._ports.pick()
                self.reset_bucket(name)
                self.peer_urls[name] = tusd.url(port)
                tusd.start(self.stack, _clean_environment(), name, port, self.far_store)

    def _start_nats(self, durable: bool = True) -> str:
        config = None
        if not durable:
            config = self.scratch / "nats.conf"
            config.write_text('max_payload: 1MiB\njetstream { sync_interval: "2m" }\n')
        return nats.start(self.stack, self.folder / "data" / "nats", self._nats_port, config)

    def _start_servers(self) -> Dict[str, str]:
        self._buckets = set()
        postgres = Postgres(self.folder / "postgres", self._ports.pick(), secret(), durable=True)
        postgres.start(self.stack)
        self._postgres = postgres
        password = secret()
        postgres.ensure_database("waybill", password)
        (self.folder / "data").mkdir()
        self._nats_port = self._ports.pick()
        nats_url = self._start_nats()
        keys = weed.Keys("waybillbench", secret(), secret())
        weed_data = self.folder / "data" / "weed"
        endpoint = weed.start(self.stack, weed_data, lambda _part: self._ports.pick(), keys)
        self.store = Store(endpoint, keys)
        if self._distance:
            endpoint = distance.start(self.stack, _clean_environment(), self._ports.pick(), endpoint, self._distance)
        # The store as contestants see it. Preparations and checks use the near one.
        self.far_store = Store(endpoint, keys)
        return {
            "WAYBILL_DATABASE_URL": postgres.url("waybill", password, "waybill"),
            "WAYBILL_NATS_URL": nats_url, "WAYBILL_S3_ENDPOINT": endpoint,
            "WAYBILL_S3_REGION": REGION, "WAYBILL_S3_BUCKET": OURS,
            "WAYBILL_S3_ACCESS_KEY_ID": keys.access_key_id,
            "WAYBILL_S3_SECRET_ACCESS_KEY": keys.secret_access_key,
        }


@contextmanager
def running(
    root: Path, name: str, program: Path, *, peers: Sequence[str], together: bool, distance: Optional[Distance] = None
) -> Iterator[Rig]:
    """Runs the stack of one scenario. Stops and deletes it when the block ends in any way. After an error, its logs stay."""
    folder = root / name
    # The user of PostgreSQL must be able to reach its data.
    folder.mkdir(mode=0o711)
    rig = Rig(folder, program, peers, together, distance)
    failed = False
    try:
        rig.start()
        yield rig
    except Exception:
        failed = True
        raise
    finally:
        rig.stack.stop()
        pgfolder.remove(folder / "postgres")
        for part in ("data", "run", "scratch"):
            shutil.rmtree(folder / part, ignore_errors=True)
        if failed:
            say(f"the servers' logs are in {folder / 'logs'}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _clean_environment() -> Dict[str, str]:
    """Returns the environment without settings of another stack and without proxies."""
    return {
        name: value for name, value in os.environ.items()
        if not name.startswith(("WAYBILL_", "AWS_")) and not name.lower().endswith("_proxy")
    }
