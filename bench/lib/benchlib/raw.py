"""The bare store: curl sends to presigned URLs, without a backend."""

from stacklib.console import StackError

from . import rig as rigs
from .attempt import Attempt, Timing
from .curl import Curl, Request, run_all


class _Raw(Attempt):
    bucket = rigs.RAW

    def check(self) -> None:
        stored = self.rig.store.sizes(self.bucket)
        for index, source in enumerate(self.sources):
            if stored.pop(f"file{index}", None) != source.size_bytes:
                raise StackError(f"the store does not hold file{index} with the size that was sent")
        if stored:
            raise StackError(f"the store holds {len(stored)} objects that were not sent")


class Parts(_Raw):
    """Sends each file by part PUTs from one process. Timed from the first PUT to the last answer.

    The time does not include creating and completing the multipart upload: usually a backend does this for the client, and the
    comparison is with the throughput of the store itself.
    """

    def __init__(self, rig, sources, chunks, parallel: int = 1):
        super().__init__(rig, sources, parallel)
        # All files have the same bytes, which makes no difference to the store.
        self._chunks = chunks

    def prepare(self) -> None:
        store = self.rig.store
        self._uploads = [
            store.create_multipart(self.bucket, f"file{index}")
            for index in range(len(self.sources))
        ]
        self._curls = [
            Curl(self.rig.scratch, f"raw-{index}", list(self._requests(index, upload)),
                 self.parallel)
            for index, upload in enumerate(self._uploads)
        ]

    def send(self) -> Timing:
        put_s = run_all(self._curls)
        for curl in self._curls:
            curl.answers(200)
        return Timing(put_s, {"put_s": put_s})

    def check(self) -> None:
        for index, (upload, curl) in enumerate(zip(self._uploads, self._curls)):
            etags = [answer.etag for answer in curl.answers(200)]
            self.rig.store.complete_multipart(self.bucket, f"file{index}", upload, etags)
        super().check()

    def _requests(self, index: int, upload: str):
        for number, path in enumerate(self._chunks, 1):
            query = {"partNumber": str(number), "uploadId": upload}
            url = self.rig.far_store.presign("PUT", f"/{self.bucket}/file{index}", query)
            yield Request("PUT", url, upload=path, size_bytes=path.stat().st_size)


class Objects(_Raw):
    """Sends many small files, one PutObject each, from one process."""

    def prepare(self) -> None:
        self._curl = Curl(
            self.rig.scratch, "raw-small",
            [self._request(index, source) for index, source in enumerate(self.sources)],
            self.parallel,
        )

    def send(self) -> Timing:
        wall_s = run_all([self._curl])
        self._curl.answers(200)
        return Timing(wall_s)

    def _request(self, index: int, source) -> Request:
        url = self.rig.far_store.presign("PUT", f"/{self.bucket}/file{index}")
        return Request("PUT", url, upload=source.path, size_bytes=source.size_bytes)
