"""Starts the servers that the environment does not provide, and returns the settings with which waybill reaches them."""

import secrets
from typing import Dict

from . import clamd, nats, weed
from .console import say
from .home import Home
from .ports import Ports
from .postgres import Postgres
from .settings import Settings, secret
from .stack import Stack

Environment = Dict[str, str]

# User of PostgreSQL for `serve all`.
WRITER = "waybill_writer"


def start(stack: Stack, home: Home, settings: Settings, ports: Ports) -> Environment:
    """Returns the settings of the servers that were started. The environment of the caller has the other settings."""
    started: Environment = {}
    for variable, label, start_one in (
        ("WAYBILL_DATABASE_URL", "PostgreSQL", _start_postgres),
        ("WAYBILL_NATS_URL", "NATS", _start_nats),
        ("WAYBILL_S3_ENDPOINT", "S3", _start_s3),
    ):
        if settings.given(variable):
            say(f"{label}: {variable} is set, so no server is started")
        else:
            say(f"{label}: starting")
            started.update(start_one(stack, home, settings, ports))
    started.update(_start_clamd(stack, home, settings, ports))
    for name, value in started.items():
        settings.keep(name, value)
    return started


def _start_clamd(stack: Stack, home: Home, settings: Settings, ports: Ports) -> Environment:
    """Starts clamd if it is installed. Without it, Waybill scans no files."""
    program = clamd.find()
    if settings.given("WAYBILL_CLAMD") or program is None:
        return {}
    if not clamd.has_signatures():
        say("clamd: it has no signatures, so files cannot be scanned for viruses. Run freshclam to load them")
        return {}
    say("clamd: starting")
    port = ports.remembered(settings, "WAYBILL_UP_PORT_CLAMD", "clamd")
    return {"WAYBILL_CLAMD": clamd.start(stack, program, home.data / "clamav", port)}


def _start_postgres(stack: Stack, home: Home, settings: Settings, ports: Ports) -> Environment:
    port = ports.remembered(settings, "WAYBILL_UP_PORT_POSTGRES", "PostgreSQL")
    superuser_password = settings.own("WAYBILL_UP_POSTGRES_PASSWORD", secret)
    password = settings.own("WAYBILL_UP_DATABASE_PASSWORD", secret)
    server = Postgres(home.data / "postgres", port, superuser_password, durable=True)
    server.start(stack)
    server.ensure_database("waybill", password)
    writer_password = settings.own("WAYBILL_UP_DATABASE_WRITER_PASSWORD", secret)
    server.ensure_role(WRITER, writer_password)
    # `serving` has the user of the roles, who cannot change the tables.
    settings.keep("WAYBILL_UP_DATABASE_WRITER_URL", server.url(WRITER, writer_password, "waybill"))
    return {"WAYBILL_DATABASE_URL": server.url("waybill", password, "waybill"), "WAYBILL_DATABASE_WRITER": WRITER}


def _start_nats(stack: Stack, home: Home, settings: Settings, ports: Ports) -> Environment:
    port = ports.remembered(settings, "WAYBILL_UP_PORT_NATS", "NATS")
    passwords = nats.passwords(lambda name: settings.own(f"WAYBILL_UP_{name}", nats.password))
    url = nats.start(stack, home.data / "nats", port, passwords=passwords)
    # Operators use the settings of the stack for their commands. `serving` has the user of the roles.
    return {"WAYBILL_NATS_URL": url, **_login("provision", passwords)}


def _login(user: str, passwords: Environment) -> Environment:
    return {"WAYBILL_NATS_USER": user, "WAYBILL_NATS_PASSWORD": passwords[nats.password_name(user)]}


def serving(started: Environment, settings: Settings) -> Environment:
    """Returns the settings for `waybill serve all` that differ from those for the commands of operators."""
    differing: Environment = {}
    if "WAYBILL_NATS_USER" in started:
        passwords = nats.passwords(lambda name: settings.own(f"WAYBILL_UP_{name}", nats.password))
        differing.update(_login("all", passwords))
    if "WAYBILL_DATABASE_WRITER" in started:
        differing["WAYBILL_DATABASE_URL"] = settings.kept("WAYBILL_UP_DATABASE_WRITER_URL") or ""
    return differing


def _start_s3(stack: Stack, home: Home, settings: Settings, ports: Ports) -> Environment:
    keys = weed.Keys(
        settings.own("WAYBILL_S3_ACCESS_KEY_ID", lambda: "waybill" + secrets.token_hex(6)),
        settings.own("WAYBILL_S3_SECRET_ACCESS_KEY", secret),
        settings.own("WAYBILL_UP_S3_SSE_KEY", secret),
    )

    def pick_port(part: str) -> int:
        return ports.remembered(settings, weed_port_name(part), f"S3 ({part})")

    return {
        "WAYBILL_S3_ENDPOINT": weed.start(stack, home.data / "weed", pick_port, keys),
        "WAYBILL_S3_REGION": "us-east-1",
        "WAYBILL_S3_BUCKET": "waybill",
        "WAYBILL_S3_ACCESS_KEY_ID": keys.access_key_id,
        "WAYBILL_S3_SECRET_ACCESS_KEY": keys.secret_access_key,
    }


def weed_port_name(part: str) -> str:
    return f"WAYBILL_UP_PORT_WEED_{part.upper()}"
