"""Runs moto with one correction: the root element of GetBucketVersioning, which boto3 ignores and other clients check."""

import sys

from moto.s3.responses import S3Response
from moto.server import main

_answer = S3Response.get_bucket_versioning


def _get_bucket_versioning(self):
    status, headers, body = _answer(self)
    text = body if isinstance(body, str) else body.decode()
    return status, headers, text.replace("GetBucketVersioningResponse", "VersioningConfiguration")


S3Response.get_bucket_versioning = _get_bucket_versioning
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
