"""Client of the store's S3 API, with presigned URLs (AWS Signature Version 4). curl uses the URLs too."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse
import xml.etree.ElementTree as ElementTree
from typing import Dict, List, Optional

from stacklib.console import StackError
from stacklib.s3probe import REGION
from stacklib.weed import Keys

_VALID_S = 86_400
_TIMEOUT_S = 120


class Store:
    def __init__(self, endpoint: str, keys: Keys):
        self.endpoint = endpoint
        self.keys = keys
        self._host = urllib.parse.urlsplit(endpoint).netloc

    def presign(self, method: str, path: str, query: Optional[Dict[str, str]] = None) -> str:
        """Returns a presigned URL. The body is not signed, so that the client need not hash it."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        signed = {
            **(query or {}), "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.keys.access_key_id}/{scope}", "X-Amz-Date": now,
            "X-Amz-Expires": str(_VALID_S), "X-Amz-SignedHeaders": "host",
        }
        pairs = sorted((_escaped(name), _escaped(value)) for name, value in signed.items())
        text = "&".join(f"{name}={value}" for name, value in pairs)
        path = urllib.parse.quote(path)
        canonical = f"{method}\n{path}\n{text}\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = b"AWS4" + self.keys.secret_access_key.encode()
        for step in scope.split("/"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        return f"{self.endpoint}{path}?{text}&X-Amz-Signature={signature}"

    def create_bucket(self, bucket: str) -> None:
        with _Connection(self) as connection:
            connection.ask("PUT", f"/{bucket}", expected=(200,))
            # The store creates volumes for the first object of a bucket. This must not happen during a measurement.
            connection.ask("PUT", f"/{bucket}/first", body=b"first", expected=(200,))
            connection.ask("DELETE", f"/{bucket}/first", expected=(200, 204))

    def drop_bucket(self, bucket: str) -> None:
        """Deletes a bucket with its objects. The store frees a bucket's volumes immediately, but an object's space later."""
        keys = list(self.sizes(bucket))
        with _Connection(self) as connection:
            for key in keys:
                connection.ask("DELETE", f"/{bucket}/{key}", expected=(200, 204))
            connection.ask("DELETE", f"/{bucket}", expected=(200, 204))

    def sizes(self, bucket: str) -> Dict[str, int]:
        """Returns the keys and sizes of all objects."""
        found: Dict[str, int] = {}
        query = {"list-type": "2", "max-keys": "1000"}
        with _Connection(self) as connection:
            while True:
                page = connection.ask("GET", f"/{bucket}", query)
                for entry in _all(page, "Contents"):
                    found[_text(entry, "Key")] = int(_text(entry, "Size"))
                if _text(page, "IsTruncated") != "true":
                    return found
                query["continuation-token"] = _text(page, "NextContinuationToken")

    def create_multipart(self, bucket: str, key: str) -> str:
        with _Connection(self) as connection:
            answer = connection.ask("POST", f"/{bucket}/{key}", {"uploads": ""})
        return _text(answer, "UploadId")

    def complete_multipart(self, bucket: str, key: str, upload: str, etags: List[str]) -> None:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        with _Connection(self) as connection:
            connection.ask("POST", f"/{bucket}/{key}", {"uploadId": upload}, body)


class _Connection:
    """One persistent connection for a few requests."""

    def __init__(self, store: Store):
        self._store = store
        self._connection = http.client.HTTPConnection(store._host, timeout=_TIMEOUT_S)

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_exception) -> None:
        self._connection.close()

    def ask(self, method, path, query=None, body=None, expected=(200,)):
        url = urllib.parse.urlsplit(self._store.presign(method, path, query))
        self._connection.request(method, f"{url.path}?{url.query}", body=body)
        response = self._connection.getresponse()
        text = response.read()
        if response.status not in expected:
            raise StackError(f"S3 {method} {path}: {response.status} {text[:300]!r}")
        return ElementTree.fromstring(text) if text.strip().startswith(b"<") else None


def _escaped(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


def _all(element, name: str):
    return [child for child in element if child.tag.rpartition("}")[2] == name]


def _text(element, name: str) -> str:
    found = _all(element, name)
    return (found[0].text or "") if found else ""
