"""Checks with a signed ListBuckets (AWS Signature Version 4) that an S3 server is up and accepts the keys."""

import datetime
import hashlib
import hmac
import urllib.error
import urllib.parse
import urllib.request

REGION = "us-east-1"


def answers(endpoint: str, keys) -> bool:
    """Returns True if the server accepts the keys. The server of another run would reject them."""
    request = urllib.request.Request(endpoint + "/", headers=_signed_headers(endpoint, keys))
    # Requests to loopback must not use a proxy from the environment.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=5) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def _signed_headers(endpoint: str, keys) -> dict:
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    host = urllib.parse.urlsplit(endpoint).netloc
    empty = hashlib.sha256(b"").hexdigest()
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    names = "host;x-amz-content-sha256;x-amz-date"
    headers = f"host:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{now}\n"
    canonical = f"GET\n/\n\n{headers}\n{names}\n{empty}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + keys.secret_access_key.encode()
    for step in scope.split("/"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{scope}, "
                         f"SignedHeaders={names}, Signature={signature}",
        "x-amz-content-sha256": empty,
        "x-amz-date": now,
    }
