"""Gives Schemathesis ids that exist in Waybill, so that half of all requests use existing objects.

Schemathesis loads this module (SCHEMATHESIS_HOOKS). scripts/check-api sets the environment.
"""

import ipaddress
import itertools
import json
import os
import urllib.request
import uuid
import zlib

import requests
import schemathesis

URL, COMPANY, USER = (os.environ["WAYBILL_CHECK_" + name] for name in ("URL", "COMPANY", "USER"))
ADMIN = os.environ["WAYBILL_CHECK_ADMIN"]
# Number of objects of each kind, so that some are left after operations have deleted others.
EACH = 12


def call(method, path, body=None, raw=None):
    data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
    kind = "application/octet-stream" if raw is not None else "application/json"
    request = urllib.request.Request(URL + path, data, {"Authorization": f"Bearer {ADMIN}", "Content-Type": kind},
                                     method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def an_upload(**more):
    facts = {"name": "a.txt", "size_bytes": 20, "mime_type": "text/plain", **more}
    return call("POST", "/v1/uploads", facts)["upload_id"]


def fixtures():
    chatroom, thread = str(uuid.uuid4()), str(uuid.uuid4())
    admin = f"/v1/admin/companies/{COMPANY}"
    call("PUT", admin, {})
    call("PUT", f"{admin}/users/{USER}")
    call("PUT", f"{admin}/chatrooms/{chatroom}")
    call("PUT", f"{admin}/chatrooms/{chatroom}/members/{USER}")
    call("PUT", f"{admin}/threads/{thread}", {"chatroom_id": chatroom})
    files = [call("POST", f"/v1/files?name=f{n}.txt&mime_type=text/plain", raw=b"some text %d" % n)["file_id"]
             for n in range(EACH)]
    tokens = [call("POST", f"/v1/files/{file}/tokens", {"max_downloads": None}) for file in files]
    share = {"chatroom_id": chatroom}
    uppy = [call("POST", "/uppy/s3/multipart", {"filename": "u.txt", "type": "text/plain", "metadata": {"size": "20"}})
            for _ in range(EACH)]
    return {
        "chatroom": [chatroom], "thread": [thread], "user": [USER], "company": [COMPANY], "files": files,
        "associations": [call("POST", f"/v1/files/{file}/associations", share)["id"] for file in files],
        "tokens": [token["id"] for token in tokens], "texts": [token["token"] for token in tokens],
        "uploads": [an_upload() for _ in range(EACH)],
        "direct": [an_upload(mode="direct") for _ in range(EACH)],
        "sessions": [call("POST", "/v1/sessions", {"name": "s"})["session_id"] for _ in range(EACH)],
        "uppy": [(one["uploadId"], one["key"]) for one in uppy],
    }


THERE = fixtures()

# Requests that the checks themselves send also get an address.
ADDRESSES = (str(ipaddress.IPv4Address("10.0.0.1") + n) for n in itertools.count())
SEND = requests.Session.send


def send_from_elsewhere(session, request, **more):
    request.headers["X-Forwarded-For"] = next(ADDRESSES)
    return SEND(session, request, **more)


requests.Session.send = send_from_elsewhere


def pick(kind, by):
    """Returns an existing object, or None half of the time. Depends only on the generated value, and so on the seed."""
    chance = zlib.crc32(repr(by).encode())
    pool = THERE[kind]
    return None if chance % 2 else pool[(chance // 2) % len(pool)]


def kind_of_id(path):
    for piece, kind in (("/parts", "direct"), ("/v1/uploads", "uploads"), ("/v1/files", "files"), ("/tus", "uploads"),
                        ("/associations", "associations"), ("/v1/tokens", "tokens"), ("/v1/sessions", "sessions"),
                        ("/files/", "files"), ("/chatrooms", "chatroom"), ("/threads", "thread"), ("/users", "user")):
        if piece in path:
            return kind
    return None


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if not isinstance(path_parameters, dict):
        return path_parameters
    path = context.operation.path
    # Do not close the company or delete places and users, because later requests need them.
    ends = context.operation.method.upper() == "DELETE" and "/admin/" in path
    for name, value in path_parameters.items():
        kind = {"company": "company", "user": "user", "token": "texts"}.get(name) or kind_of_id(path)
        if name in ("index", "part_number", "upload_id") or kind is None:
            continue
        if ends and kind in ("company", "chatroom", "thread", "user") and path.endswith("{" + name + "}"):
            continue
        path_parameters[name] = pick(kind, value) or value
    if "upload_id" in path_parameters:
        found = pick("uppy", path_parameters["upload_id"])
        path_parameters["upload_id"] = found[0] if found else path_parameters["upload_id"]
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    if isinstance(query, dict):
        with_ids(query)
        if "key" in query:
            found = pick("uppy", query["key"])
            query["key"] = found[1] if found else query["key"]
    return query


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict):
        with_ids(body)
        if isinstance(body.get("operations"), list):
            for operation in body["operations"]:
                if isinstance(operation, dict) and not str(operation.get("op", "")).startswith(("delete", "remove")):
                    with_ids(operation)
    return body


def with_ids(members):
    kinds = {"chatroom_id": "chatroom", "thread_id": "thread", "session_id": "sessions", "file_id": "files",
             "user_id": "user"}
    for name, kind in kinds.items():
        if isinstance(members.get(name), str):
            members[name] = pick(kind, members[name]) or members[name]
    if isinstance(members.get("mime_type"), str) and pick("company", members["mime_type"]):
        members["mime_type"] = "text/plain"


@schemathesis.serializer("application/offset+octet-stream")
def offset_octet_stream(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.deserializer("application/octet-stream")
def octet_stream(ctx, response):
    return response.content.decode("latin-1")
