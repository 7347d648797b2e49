"""Upload a file with curl in every usual way: python curl_variants.py SCENARIO SETTINGS, see README.md."""

import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from urllib.parse import quote, urlsplit

_PNG = b"\x89PNG\r\n\x1a\n"
_BYTES = "Content-Type: application/octet-stream"
_TUS = "Tus-Resumable: 1.0.0"
_PATIENCE_S = 60
# A name with spaces, quotes, a percent sign, an emoji, and both direction marks.
ODD_NAME = 'My "best" 100% \U0001f3d6 \u200f\u05ea\u05de\u05d5\u05e0\u05d4\u200e 1.png'


class Job:
    """The server, and the files to upload."""

    def __init__(self, settings, folder):
        self.endpoint = settings["endpoint"]
        self._token = settings["token"]
        self._curl = settings.get("curl", "curl")
        self._folder = folder

    def file(self, name, content):
        path = os.path.join(self._folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def png(self, name="a.png", length=300_000):
        return self.file(name, _PNG + os.urandom(length))

    def text(self):
        return self.file("a.txt", b"one\r\ntwo=2&three\n" * 100)

    def files_url(self, **query):
        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"{self.endpoint}/v1/files" + (f"?{pairs}" if pairs else "")

    def curl(self, url, *arguments, stdin=None):
        """Run curl. Return its exit code and the status, and the body."""
        answer = os.path.join(self._folder, "answer")
        command = [
            self._curl, "-q", "-sS", "-o", answer, "-w", "%{http_code}",
            "--max-time", str(_PATIENCE_S), "-H", f"Authorization: Bearer {self._token}", *arguments, url,
        ]
        with open(stdin, "rb") if stdin else open(os.devnull, "rb") as source:
            ran = subprocess.run(command, stdin=source, capture_output=True, check=False)
        told = {"status": int(ran.stdout), "exit_code": ran.returncode}
        if ran.returncode != 0:
            told["curl_says"] = ran.stderr.decode(errors="replace").strip()
        return told, _read(answer)

    def upload(self, path, url, *arguments, **more):
        """Upload with curl, and compare the stored file with the local one."""
        return self.compared(*self.curl(url, *arguments, **more), _read(path))

    def compared(self, told, answer, sent):
        answer = _json(answer)
        told.update({name: answer[name] for name in ("code", "detail") if name in answer})
        file_id = answer.get("file_id")
        if told["status"] not in (201, 202) or file_id is None:
            return told
        file = self._verified(file_id)
        stored = self.request("GET", f"/v1/files/{file_id}/content")[1]
        return {
            **told, "file_id": file_id, "name": file.get("original_name"), "mime_type": file.get("mime_type"),
            "bytes": len(sent), "size_bytes": file.get("size_bytes"), "stored_bytes": len(stored),
            "is_same": _sha256(stored) == _sha256(sent) == file.get("hash"),
        }

    def request(self, method, path, body=None, headers=None):
        """Send a request without curl, for everything except the upload."""
        address = urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=_PATIENCE_S)
        try:
            authorization = {"Authorization": f"Bearer {self._token}"}
            connection.request(method, path, body=body, headers={**authorization, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()

    def start(self, **facts):
        """Start an upload in chunks."""
        body = json.dumps(facts)
        return _json(self.request("POST", "/v1/uploads", body, {"Content-Type": "application/json"})[1])

    def start_tus(self, length):
        """Create a tus upload and return its path."""
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length)}
        location = self.request("POST", "/tus/", b"", headers)[2]["Location"]
        return urlsplit(location).path

    def tus_offset(self, path):
        return self.request("HEAD", path, headers={"Tus-Resumable": "1.0.0"})[2]["Upload-Offset"]

    def _verified(self, file_id):
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            file = _json(self.request("GET", f"/v1/files/{file_id}")[1])
            if file.get("processing_status") == "COMPLETED" or time.monotonic() > deadline:
                return file
            time.sleep(0.1)


def data_binary(job):
    path = job.png()
    url = job.files_url(name="a.png", mime_type="image/png")
    return job.upload(path, url, "--data-binary", f"@{path}", "-H", _BYTES)


def data_binary_without_type(job):
    """Upload without mime_type and with a meaningless Content-Type."""
    path = job.png()
    return job.upload(path, job.files_url(name="a.png"), "--data-binary", f"@{path}", "-H", _BYTES)


def data_binary_with_content_type(job):
    """Declare the type only in Content-Type."""
    path = job.png()
    return job.upload(path, job.files_url(name="a"), "--data-binary", f"@{path}", "-H", "Content-Type: image/png")


def data_binary_as_curl_has_it(job):
    """Let curl send its default, application/x-www-form-urlencoded, as with -d."""
    path = job.png()
    return job.upload(path, job.files_url(name="a.png", mime_type="image/png"), "--data-binary", f"@{path}")


def text_with_charset(job):
    path = job.text()
    content_type = "Content-Type: text/plain; charset=utf-8"
    return job.upload(path, job.files_url(name="a.txt"), "--data-binary", f"@{path}", "-H", content_type)


def urlencoded(job):
    """Upload with -d, which removes the line ends of the file."""
    path = job.text()
    return job.upload(path, job.files_url(name="a.txt", mime_type="text/plain"), "-d", f"@{path}")


def form(job):
    path = job.png()
    return job.upload(path, job.files_url(), "-F", f"file=@{path}")


def form_with_type_and_name(job):
    path = job.png()
    return job.upload(path, job.files_url(), "-F", f"file=@{path};type=image/png;filename=b.png")


def form_with_query(job):
    """Send a name in the query and in the form. The query has priority."""
    path = job.png()
    return job.upload(path, job.files_url(name="c.png", mime_type="image/png"), "-F", f"file=@{path}")


def form_with_fields(job):
    path = job.png()
    return job.upload(path, job.files_url(), "-F", "name=x.png", "-F", "album=Summer", "-F", f"file=@{path}")


def form_of_20_mib(job):
    path = job.png(length=20 * 1024 * 1024)
    return job.upload(path, job.files_url(), "-F", f"file=@{path}")


def form_with_two_files(job):
    first, second = job.png(), job.png("b.png")
    return job.upload(first, job.files_url(), "-F", f"file=@{first}", "-F", f"file=@{second}")


def form_without_file(job):
    return job.upload(job.text(), job.files_url(), "-F", "name=x.png")


def form_with_odd_name(job):
    path = job.png(ODD_NAME)
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return job.upload(path, job.files_url(), "-F", f'file=@"{escaped}"')


def query_with_odd_name(job):
    path = job.png()
    url = job.files_url(name=ODD_NAME, mime_type="image/png")
    return job.upload(path, url, "--data-binary", f"@{path}", "-H", _BYTES)


def form_of_a_browser(job):
    """Send a form like Chromium: fields first, and only quotes and line ends escaped in the file name."""
    content = _PNG + os.urandom(300_000)
    boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW1"
    lines = [
        f"--{boundary}", 'Content-Disposition: form-data; name="album"', "", "Summer",
        f"--{boundary}", 'Content-Disposition: form-data; name="empty"', "", "",
        f"--{boundary}",
        f'Content-Disposition: form-data; name="file"; filename="{ODD_NAME.replace(chr(34), "%22")}"',
        "Content-Type: image/png", "", "",
    ]
    body = "\r\n".join(lines).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, answer, _ = job.request("POST", "/v1/files", body, headers)
    return job.compared({"status": status}, answer, content)


def form_to_chunk(job):
    path = job.png()
    upload_id = job.start(name="a.png", size_bytes=os.path.getsize(path), mime_type="image/png")["upload_id"]
    url = f"{job.endpoint}/v1/uploads/{upload_id}/chunks/0"
    told = job.upload(path, url, "-X", "PUT", "-F", f"file=@{path}")
    told["offset_bytes"] = _json(job.request("GET", f"/v1/uploads/{upload_id}")[1]).get("offset_bytes")
    return told


def form_to_tus(job):
    path = job.png()
    upload = job.start_tus(os.path.getsize(path))
    arguments = ["-X", "PATCH", "-H", _TUS, "-H", "Upload-Offset: 0", "-F", f"file=@{path}"]
    told = job.upload(path, job.endpoint + upload, *arguments)
    return {**told, "upload_offset": job.tus_offset(upload)}


def stdin_in_chunks(job):
    """Upload from stdin with Transfer-Encoding: chunked, because curl does not know the length."""
    path = job.png()
    return job.upload(path, job.files_url(name="a.png", mime_type="image/png"), "-T", "-", "-X", "POST", stdin=path)


def upload_file_by_post(job):
    """Upload with -T, which sends no Content-Type."""
    path = job.png()
    return job.upload(path, job.files_url(name="a.png", mime_type="image/png"), "-T", path, "-X", "POST")


def upload_file_by_put(job):
    path = job.png()
    return job.upload(path, job.files_url(name="a.png", mime_type="image/png"), "-T", path)


def slow(job):
    """Upload 400 KB at 40 KB/s."""
    path = job.png(length=400_000)
    url = job.files_url(name="a.png", mime_type="image/png")
    return job.upload(path, url, "--limit-rate", "40K", "--data-binary", f"@{path}", "-H", _BYTES)


def slow_form(job):
    path = job.png(length=400_000)
    return job.upload(path, job.files_url(), "--limit-rate", "40K", "-F", f"file=@{path}")


def expect_100(job):
    path = job.png()
    url = job.files_url(name="a.png", mime_type="image/png")
    return job.upload(path, url, "-H", "Expect: 100-continue", "--data-binary", f"@{path}", "-H", _BYTES)


def http_1_0(job):
    path = job.png()
    url = job.files_url(name="a.png", mime_type="image/png")
    return job.upload(path, url, "--http1.0", "--data-binary", f"@{path}", "-H", _BYTES)


def http_1_0_form(job):
    path = job.png()
    return job.upload(path, job.files_url(), "--http1.0", "-F", f"file=@{path}")


def compressed(job):
    """Ask for compressed answers with --compressed. A download must not change."""
    path = job.text()
    url = job.files_url(name="a.txt", mime_type="text/plain")
    told = job.upload(path, url, "--compressed", "--data-binary", f"@{path}", "-H", _BYTES)
    if "file_id" in told:
        url = f"{job.endpoint}/v1/files/{told['file_id']}/content"
        told["download_is_same"] = job.curl(url, "--compressed")[1] == _read(path)
    return told


_VARIANTS = {
    variant.__name__: variant for variant in (
        data_binary, data_binary_without_type, data_binary_with_content_type, data_binary_as_curl_has_it,
        text_with_charset, urlencoded, form, form_with_type_and_name, form_with_query, form_with_fields,
        form_of_20_mib, form_with_two_files, form_without_file, form_with_odd_name, query_with_odd_name,
        form_of_a_browser, form_to_chunk, form_to_tus, stdin_in_chunks, upload_file_by_post, upload_file_by_put,
        slow, slow_form, expect_100, http_1_0, http_1_0_form, compressed,
    )
}


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _json(body):
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def main():
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    chosen = _VARIANTS if name == "all" else {name: _VARIANTS[name]}
    try:
        answer = {"ok": True, "odd_name": ODD_NAME, "variants": {}}
        for variant, run in chosen.items():
            with tempfile.TemporaryDirectory() as folder:
                answer["variants"][variant] = run(Job(settings, folder))
    except Exception as error:
        answer = {**answer, "ok": False, "error": f"{variant}: {type(error).__name__}: {error}"}
    print(json.dumps(answer))
    return 0 if answer["ok"] else 1


sys.exit(main())
