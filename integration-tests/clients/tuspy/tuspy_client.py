"""One upload by tuspy: python tuspy_client.py SCENARIO SETTINGS, see README.md."""

import json
import os
import sys

from tusclient.client import TusClient

_CHUNK = 1024 * 1024


def plain(client, settings):
    """Small chunks, one PATCH each."""
    return _upload(_uploader(client, settings))


def checksum(client, settings):
    """Each chunk with an Upload-Checksum."""
    return _upload(_uploader(client, settings, upload_checksum=True))


def resume(client, settings):
    """Stops half way; another uploader asks for the offset and goes on."""
    stop_at = settings.get("stop_at", os.path.getsize(settings["file"]) // 2)
    first = _uploader(client, settings)
    first.upload(stop_at=stop_at)
    second = _uploader(client, settings, url=first.url)
    return {"stopped_at": first.offset, "resumed_at": second.offset, **_upload(second)}


def _uploader(client, settings, **more):
    return client.uploader(
        settings["file"], chunk_size=settings.get("chunk_size", _CHUNK),
        metadata=settings.get("metadata", {}), **more,
    )


def _upload(uploader):
    uploader.upload()
    return {"url": uploader.url, "bytes": uploader.offset}


_SCENARIOS = {scenario.__name__: scenario for scenario in (plain, checksum, resume)}


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
