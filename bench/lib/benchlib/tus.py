"""@tus/server with its S3 store, by the tus protocol."""

from stacklib.console import StackError

from . import peer
from .attempt import Attempt, Timing
from .curl import Curl, Request, run_all

_VERSION = {"Tus-Resumable": "1.0.0"}
_BYTES = {**_VERSION, "Content-Type": "application/offset+octet-stream"}
# What the store keeps of an upload beside its bytes.
_INFO = ".info"


class _Tus(Attempt):
    own_groups = ["tus"]
    bucket = peer.BUCKET

    def check(self) -> None:
        """tus has no digests to compare: as many objects, of the sizes that were sent."""
        stored = self.rig.store.sizes(self.bucket)
        sizes = sorted(size for key, size in stored.items() if not key.endswith(_INFO))
        if sizes != sorted(source.size_bytes for source in self.sources):
            raise StackError(f"the store holds {len(sizes)} objects that are not what was sent")


class Whole(_Tus):
    """Each file by a POST that creates it and one PATCH with all its bytes. One process a file."""

    def prepare(self) -> None:
        self._creates = [
            Curl(self.rig.scratch, f"tus-create-{index}", [self._create(source.size_bytes)])
            for index, source in enumerate(self.sources)
        ]

    def send(self) -> Timing:
        create_s = run_all(self._creates)
        places = [curl.answers(201)[0].location for curl in self._creates]
        patches = [
            Curl(self.rig.scratch, f"tus-patch-{index}", [self._patch(place, source)])
            for index, (place, source) in enumerate(zip(places, self.sources))
        ]
        patch_s = run_all(patches)
        for curl in patches:
            curl.answers(204)
        return Timing(create_s + patch_s, {"start_s": create_s, "put_s": patch_s})

    def _create(self, size_bytes: int) -> Request:
        headers = {**_VERSION, "Upload-Length": str(size_bytes)}
        return Request("POST", self.rig.tus_url, headers)

    def _patch(self, place: str, source) -> Request:
        headers = {**_BYTES, "Upload-Offset": "0"}
        return Request("PATCH", place, headers, upload=source.path, size_bytes=source.size_bytes)


class Small(_Tus):
    """Many small files, each created with its bytes in one POST (creation-with-upload)."""

    def prepare(self) -> None:
        requests = [self._request(source) for source in self.sources]
        self._curl = Curl(self.rig.scratch, "tus-small", requests, self.parallel)

    def send(self) -> Timing:
        wall_s = run_all([self._curl])
        self._curl.answers(201)
        return Timing(wall_s)

    def _request(self, source) -> Request:
        headers = {**_BYTES, "Upload-Length": str(source.size_bytes)}
        return Request("POST", self.rig.tus_url, headers, upload=source.path,
                       size_bytes=source.size_bytes)
