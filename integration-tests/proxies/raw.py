"""Send a request TIMES times over a socket, write all of it before reading, and count the answers.

Supports only HTTP/1.1. Sends the POST of --then on the same connection if the answer leaves it open, or else on a new
one.
"""

import socket
import ssl
from typing import Optional
from urllib.parse import urlsplit

import arguments

BLOCK = bytes([7]) * 65_536


class Broken(Exception):
    """The connection broke. The message says where."""


def connect(url, ca: Optional[str]) -> socket.socket:
    port = url.port or (443 if url.scheme == "https" else 80)
    connection = socket.create_connection((url.hostname, port), timeout=60)
    if url.scheme != "https":
        return connection
    return ssl.create_default_context(cafile=ca).wrap_socket(connection, server_hostname=url.hostname)


def write(connection, url, method, headers, size, chunked=False, block=BLOCK) -> None:
    target = url.path + (f"?{url.query}" if url.query else "")
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = [f"{method} {target} HTTP/1.1", f"Host: {url.netloc}", length, *headers, "", ""]
    sent = 0
    try:
        connection.sendall("\r\n".join(head).encode())
        while sent < size:
            piece = block[: size - sent]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            sent += len(piece)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
    except OSError as error:
        raise Broken(f"write: {error.__class__.__name__}") from error


def read(connection) -> "tuple[int, dict, bytes]":
    """Return the status, the headers and the body of an answer."""
    try:
        reader = connection.makefile("rb")
        status = reader.readline().split()
        if len(status) < 2:
            raise Broken("read: no answer")
        headers = {}
        while (line := reader.readline().strip()):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while (length := int(reader.readline() or b"0", 16)):
                body += reader.read(length)
                reader.readline()
        elif "content-length" in headers:
            body = reader.read(int(headers["content-length"]))
        else:
            body = reader.read()
        return int(status[1]), headers, body
    except OSError as error:
        raise Broken(f"read: {error.__class__.__name__}") from error


def once(given) -> "tuple[str, Optional[str]]":
    url, then = urlsplit(given.url), given.then and urlsplit(given.then)
    connection, headers = connect(url, given.ca), {"connection": "close"}
    try:
        write(connection, url, given.method, given.header, given.size, given.chunked)
        status, headers, body = read(connection)
        answer = arguments.seen(status, body)
    except Broken as error:
        answer = str(error)
    if not then:
        connection.close()
        return answer, None
    if "close" in headers.get("connection", ""):
        connection.close()
        connection = connect(then, given.ca)
    try:
        write(connection, then, "POST", given.then_header, 5, block=b"hello")
        return answer, str(read(connection)[0])
    except Broken as error:
        return answer, str(error)
    finally:
        connection.close()


def main() -> None:
    given = arguments.parse(__doc__)
    arguments.report("raw", given, lambda: once(given))


main()
