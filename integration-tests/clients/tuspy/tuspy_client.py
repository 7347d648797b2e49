"""Upload with tuspy: python tuspy_client.py SCENARIO SETTINGS, see README.md."""

import json
import os
import sys
import tempfile
import time
from urllib.parse import urljoin

import requests
from tusclient.client import TusClient
from tusclient.fingerprint.fingerprint import Fingerprint
from tusclient.storage.filestorage import FileStorage

_CHUNK = 1024 * 1024
_PATIENCE_S = 60


def plain(client, settings):
    """Upload in small chunks, with one PATCH each."""
    return _upload(_uploader(client, settings))


def checksum(client, settings):
    """Upload each chunk with an Upload-Checksum."""
    return _upload(_uploader(client, settings, upload_checksum=True))


def resume(client, settings):
    """Stop in the middle. Another uploader asks for the offset and resumes."""
    stop_at = settings.get("stop_at", os.path.getsize(settings["file"]) // 2)
    first = _uploader(client, settings)
    first.upload(stop_at=stop_at)
    second = _uploader(client, settings, url=first.url)
    return {"stopped_at": first.offset, "resumed_at": second.offset, **_upload(second)}


def deleted_then_again(client, settings):
    """Upload a file, delete it, and upload it again while the storage still has the first URL.

    tuspy gives up if the upload is gone, with any status. An app has to forget the URL and try again.
    """
    with tempfile.TemporaryDirectory() as folder:
        storage = FileStorage(os.path.join(folder, "urls.json"))
        stored = {"store_url": True, "url_storage": storage}
        first = _uploader(client, settings, **stored)
        _upload(first)
        answer = {"first_url": first.url, "delete_status": _delete(client, settings, first.url)}
        try:
            answer.update(_upload(_uploader(client, settings, **stored)), raised=None)
        except Exception as error:
            answer["raised"] = _described(error)
            with open(settings["file"], "rb") as file:
                storage.remove_item(Fingerprint().get_fingerprint(file))
            answer.update(_upload(_uploader(client, settings, **stored)))
        return answer


def _delete(client, settings, url):
    """Delete the upload with tus, or the file with the HTTP API as soon as it is verified."""
    if settings.get("delete") == "file":
        url = urljoin(url, f"/v1/files/{url.rsplit('/', 1)[1]}")
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        headers = {"Tus-Resumable": "1.0.0", **client.headers}
        status = requests.delete(url, headers=headers, timeout=_PATIENCE_S).status_code
        if status // 100 == 2:
            return status
        if status not in (404, 409) or time.monotonic() > deadline:
            raise RuntimeError(f"DELETE {url} answers {status}")
        time.sleep(0.1)


def _uploader(client, settings, **more):
    return client.uploader(
        settings["file"], chunk_size=settings.get("chunk_size", _CHUNK),
        metadata=settings.get("metadata", {}), **more,
    )


def _upload(uploader):
    uploader.upload()
    return {"url": uploader.url, "bytes": uploader.offset}


_SCENARIOS = {scenario.__name__: scenario for scenario in (plain, checksum, resume, deleted_then_again)}


def main():
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    try:
        client = TusClient(
            settings["endpoint"], headers={"Authorization": f"Bearer {settings['token']}"}
        )
        answer = {"ok": True, **_SCENARIOS[name](client, settings)}
    except Exception as error:
        answer = {"ok": False, "error": _described(error)}
    print(json.dumps(answer))
    return 0 if answer["ok"] else 1


def _described(error):
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}: {error}" + (f" (status {status})" if status else "")


sys.exit(main())
