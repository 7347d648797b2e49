"""Messages of a client of the WebSocket interface (RFC 6455), and `snapshot`, which reads one snapshot over one connection."""

import base64
import json
import secrets
import socket
import struct
from urllib.parse import urlsplit

from stacklib.console import StackError

# Kinds of frames.
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def snapshot(url: str, token: str, topic: str) -> dict:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        stream = connection.makefile("rb")
        connection.sendall(handshake(address.netloc, token))
        status = stream.readline()
        if b" 101 " not in status:
            raise StackError(f"no WebSocket: {status.decode().strip()}")
        while stream.readline() != b"\r\n":
            pass
        connection.sendall(subscription(topic))
        while True:
            message = json.loads(_read(stream))
            if message["t"] in ("snap", "err", "bye"):
                return message


def handshake(host: str, token: str) -> bytes:
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    return (
        f"GET /v1/progress HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: waybill.v1\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()


def subscription(topic: str) -> bytes:
    return frame(TEXT, json.dumps({"t": "sub", "id": 1, "topic": topic}).encode())


def frame(kind: int, payload: bytes) -> bytes:
    """Returns a masked frame with a payload of at most 125 bytes."""
    mask = secrets.token_bytes(4)
    return bytes([0x80 | kind, 0x80 | len(payload)]) + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def _read(stream) -> bytes:
    """Returns the payload of the next text frame. The server sends each message as one frame."""
    while True:
        first, length = stream.read(2)
        if length == 126:
            (length,) = struct.unpack(">H", stream.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", stream.read(8))
        payload = stream.read(length)
        if first & 0x0F == TEXT:
            return payload
