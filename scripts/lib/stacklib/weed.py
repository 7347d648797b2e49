"""S3 by SeaweedFS: `weed mini`, all its parts in one process, on loopback.

It came closest to AWS of six servers tried, and survives kill -9. It accepts a replaced part's
stale ETag and does not check signed payload hashes, so Waybill rests on checks of its own.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict

from . import s3probe, wheels
from .ports import TWIN_OFFSET
from .stack import WEED, Stack

PARTS = ("master", "volume", "filer", "s3", "admin")


@dataclass(frozen=True)
class Keys:
    access_key_id: str
    secret_access_key: str
    sse_key: str


def start(stack: Stack, data: Path, pick_port: Callable[[str], int], keys: Keys) -> str:
    """Starts the server and returns the endpoint."""
    data.mkdir(mode=0o700, exist_ok=True)
    # It writes its flags of today into this file and reads them tomorrow: ours are the only ones.
    (data / "mini.options").unlink(missing_ok=True)
    ports = {part: pick_port(part) for part in PARTS}
    # It leaves some of its sockets in /tmp: all of them after kill -9.
    remove_sockets(ports)
    stack.after_stop(lambda: remove_sockets(ports))
    # Its log goes to files in the temporary folder otherwise.
    child = stack.start(WEED, [wheels.weed(), "-logtostderr=true", "mini", *_flags(data, ports)], _environment(keys))
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    stack.wait_ready(WEED, child, lambda: s3probe.answers(endpoint, keys), 60)
    return endpoint


def remove_sockets(ports: Dict[str, int]) -> None:
    """Only while the ports are not in use: the names hold nothing but the port."""
    for port in ports.values():
        for number in (port, port + TWIN_OFFSET):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                socket.unlink(missing_ok=True)


def _flags(data: Path, ports: Dict[str, int]):
    return [
        f"-dir={data}",
        # By default it listens on every interface. The gRPC ports follow at +10,000, see ports.py.
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        *(f"-{part}.port={port}" for part, port in ports.items()),
        # Parts that Waybill has no use for. The admin part itself cannot be switched off.
        "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.telemetry=false",
        # A bucket has volumes of its own. They grow as needed and take no space before, but the
        # automatic maximum is free disk over volume size, which a hundred test buckets exceed.
        "-master.volumeSizeLimitMB=1024", "-volume.max=1000",
        # It waits for idle connections between its own parts before it stops: 30 s by default.
        "-idleTimeout=5", "-volume.preStopSeconds=0",
    ]


def _environment(keys: Keys) -> Dict[str, str]:
    """Secrets go by environment. The caller's own AWS and S3 variables must not leak in."""
    foreign = ("AWS_", "S3_", "WEED_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "WEED_S3_SSE_KEY": keys.sse_key,
        # Left alone, Go's collector lets the heap grow to a multiple of what is in use.
        "GOMEMLIMIT": os.environ.get("GOMEMLIMIT", "1GiB"),
    }
