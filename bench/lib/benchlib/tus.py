"""The tus protocol: sends the same requests to @tus/server and tusd with their S3 stores, and to Waybill."""

import base64
import datetime
import json
import urllib.parse
from typing import Dict

from stacklib.console import StackError

from . import ours, peer, tusd
from .attempt import Attempt, Timing
from .curl import Curl, Request, run_all, run_one

_VERSION = {"Tus-Resumable": "1.0.0"}
_BYTES = {**_VERSION, "Content-Type": "application/offset+octet-stream"}
# Suffix of the objects in which the peers store information about an upload.
_INFO = ".info"


class _Tus(Attempt):
    """A contestant is defined by the `url` of its server and the headers for authorization."""

    url = ""

    def authorization(self) -> Dict[str, str]:
        raise NotImplementedError

    def _create(self, index: int) -> Dict[str, str]:
        """Returns the headers that create an upload."""
        name, kind = (base64.b64encode(fact.encode()).decode()
                      for fact in (f"file{index}.bin", ours.TYPE))
        size_bytes = self.sources[index].size_bytes
        return {**_VERSION, **self._who[index], "Upload-Length": str(size_bytes),
                "Upload-Metadata": f"filename {name},filetype {kind}"}

    def _answered(self, places) -> None:
        """Stores the URLs of the uploads and the current time: all requests have been answered."""
        self._places = list(places)
        self._answered_at = datetime.datetime.now(datetime.timezone.utc)


class _Whole(_Tus):
    """Sends each file with a POST that creates the upload and one PATCH with all bytes. One process per file."""

    def prepare(self) -> None:
        self._who = [self.authorization() for _ in self.sources]
        self._creates = [
            Curl(self.rig.scratch, f"tus-create-{index}",
                 [Request("POST", self.url, self._create(index))])
            for index in range(len(self.sources))
        ]

    def send(self) -> Timing:
        create_s = run_all(self._creates)
        places = [curl.answers(201)[0].location for curl in self._creates]
        patches = [
            Curl(self.rig.scratch, f"tus-patch-{index}", [self._patch(index, place)])
            for index, place in enumerate(places)
        ]
        patch_s = run_all(patches)
        self._answered(places)
        for curl in patches:
            curl.answers(204)
        return Timing(create_s + patch_s, {"start_s": create_s, "put_s": patch_s})

    def _patch(self, index: int, place: str) -> Request:
        source = self.sources[index]
        headers = {**_BYTES, **self._who[index], "Upload-Offset": "0"}
        return Request("PATCH", urllib.parse.urljoin(self.url, place), headers, upload=source.path,
                       size_bytes=source.size_bytes)


class _Small(_Tus):
    """Sends many small files, each in one POST with its bytes (creation-with-upload)."""

    def prepare(self) -> None:
        self._who = [self.authorization()] * len(self.sources)
        requests = [
            Request("POST", self.url, {**_BYTES, **self._create(index)}, upload=source.path,
                    size_bytes=source.size_bytes)
            for index, source in enumerate(self.sources)
        ]
        self._curl = Curl(self.rig.scratch, "tus-small", requests, self.parallel)

    def send(self) -> Timing:
        wall_s = run_one(self._curl)
        self._answered(answer.location for answer in self._curl.answers(201))
        return Timing(wall_s)


class _Peer(_Tus):
    own_groups = ("tus",)
    bucket = peer.BUCKET

    @property
    def url(self) -> str:
        return self.rig.peer_urls[self.bucket]

    def authorization(self) -> Dict[str, str]:
        return {}

    def check(self) -> None:
        """Checks the number and sizes of the objects. The peers have no digests to compare."""
        stored = self.rig.store.sizes(self.bucket)
        sizes = sorted(size for key, size in stored.items() if not key.endswith(_INFO))
        if sizes != sorted(source.size_bytes for source in self.sources):
            raise StackError(f"the store holds {len(sizes)} objects that are not what was sent")


class _Waybill(ours.Ours, _Tus):
    @property
    def url(self) -> str:
        # Without a trailing slash, after which curl would append a file name.
        return f"{self.rig.url}/tus"

    def check(self) -> None:
        """Checks the digests through the native API, because tus has no digests. Waybill waits only 20 s for the verification
        before it answers; a run with an answer before the verification is an error."""
        outputs = [self._output(index) for index in range(len(self.sources))]
        files = [f"{self.rig.url}/v1/files/{place.rpartition('/')[2]}" for place in self._places]
        requests = [
            Request("GET", file, who, output=output)
            for file, who, output in zip(files, self._who, outputs)
        ]
        curl = Curl(self.rig.scratch, "tus-files", requests)
        run_one(curl)
        curl.answers(200)
        for source, output in zip(self.sources, outputs):
            file = json.loads(output.read_text())
            if file["hash"] != source.sha256 or file["processing_status"] != "COMPLETED":
                raise StackError(f"waybill verified something else than was sent: {file}")
            # The verification is the last change of a file in this scenario.
            verified_at = datetime.datetime.fromisoformat(file["updated_at"].replace("Z", "+00:00"))
            if verified_at > self._answered_at:
                raise StackError(f"waybill answered before a file was verified: {file}")
        self.check_stored()


class PeerWhole(_Peer, _Whole):
    """@tus/server."""


class PeerSmall(_Peer, _Small):
    """@tus/server."""


class _Tusd(_Peer):
    own_groups = (tusd.DEFAULT,)
    bucket = tusd.DEFAULT


class _TusdNoHashes(_Peer):
    own_groups = (tusd.NO_HASHES,)
    bucket = tusd.NO_HASHES


class TusdWhole(_Tusd, _Whole):
    """tusd."""


class TusdSmall(_Tusd, _Small):
    """tusd."""


class TusdNoHashesWhole(_TusdNoHashes, _Whole):
    """tusd with `-s3-disable-content-hashes`."""


class TusdNoHashesSmall(_TusdNoHashes, _Small):
    """tusd with `-s3-disable-content-hashes`."""


class OursWhole(_Waybill, _Whole):
    """Waybill. Each file belongs to its own company, as in `ours.Whole`."""


class OursSmall(_Waybill, _Small):
    """Waybill. All files belong to one company."""
