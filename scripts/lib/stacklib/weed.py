"""Starts SeaweedFS as S3 server: `weed mini`, with all parts in one process, on loopback.

Of six servers tried, it is closest to AWS, and it survives kill -9. It accepts the stale ETag of a
replaced part and does not check signed payload hashes, so Waybill does not rely on these checks.
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
    # The server saves its flags in this file and reads them at the next start. Only the flags below must apply.
    (data / "mini.options").unlink(missing_ok=True)
    ports = {part: pick_port(part) for part in PARTS}
    # The server leaves some of its sockets in /tmp, and after kill -9 all of them.
    remove_sockets(ports)
    stack.after_stop(lambda: remove_sockets(ports))
    # Without -logtostderr, it logs to files in the temporary folder.
    child = stack.start(WEED, [wheels.weed(), "-logtostderr=true", "mini", *_flags(data, ports)], _environment(keys))
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    stack.wait_ready(WEED, child, lambda: s3probe.answers(endpoint, keys), 60)
    return endpoint


def remove_sockets(ports: Dict[str, int]) -> None:
    """Removes the sockets of these ports. Call it only while the ports are free: the names contain only the port."""
    for port in ports.values():
        for number in (port, port + TWIN_OFFSET):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                socket.unlink(missing_ok=True)


def _flags(data: Path, ports: Dict[str, int]):
    return [
        f"-dir={data}",
        # By default it listens on all interfaces. The gRPC ports are 10,000 higher, see ports.py.
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        *(f"-{part}.port={port}" for part, port in ports.items()),
        # Waybill does not need these parts. The admin part itself cannot be switched off.
        "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.telemetry=false",
        # Each bucket has its own volumes, which grow as needed. The default maximum number of volumes is
        # the free disk space divided by the volume size, which a hundred test buckets exceed.
        "-master.volumeSizeLimitMB=1024", "-volume.max=1000",
        # It waits for idle connections between its own parts before it stops: 30 s by default.
        "-idleTimeout=5", "-volume.preStopSeconds=0",
    ]


def _environment(keys: Keys) -> Dict[str, str]:
    """Returns the environment with the secrets, and without the AWS and S3 variables of the caller."""
    foreign = ("AWS_", "S3_", "WEED_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "WEED_S3_SSE_KEY": keys.sse_key,
        # Without a limit, the garbage collector of Go lets the heap grow to a multiple of the used memory.
        "GOMEMLIMIT": os.environ.get("GOMEMLIMIT", "1GiB"),
    }
