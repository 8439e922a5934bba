"""An S3 server in a process of its own: moto's, which honours conditional puts as Amazon does, one at a time."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

BUCKET = "notes-of-ours"
SECRET = "s3cret+never/printed"
_SERVER = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
# Any signature is good enough to make a bucket: it asks for none at first.
_SIGNED = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any"


@dataclass(frozen=True, slots=True)
class S3:
    """A running server with one bucket; `environment` is what a user would set to reach it."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    @contextmanager
    def knowing_nobody(self) -> Iterator[None]:
        """Meanwhile it refuses whoever comes."""
        path, headers = "/moto-api/reset-auth", {"Content-Type": "text/plain"}
        self._send("POST", path, b"0", headers)
        try:
            yield
        finally:
            self._send("POST", path, b"inf", headers)

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        urllib.request.urlopen(
            urllib.request.Request(self.url + path, body, headers, method=method), timeout=30
        ).close()  # fmt: skip


@contextmanager
def s3() -> Iterator[S3]:
    """A server that ends with this process."""
    command = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            server = S3(f"http://127.0.0.1:{int(process.stdout.readline())}")
            server._send("PUT", f"/{BUCKET}", b"", {"Authorization": _SIGNED})
            yield server
        finally:
            process.kill()
