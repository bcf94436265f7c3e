"""A registry for npm to talk to, on the host's loopback: ``python3 registry.py PORT``.

The first part of a path is how it behaves:

``critical``, ``low``  the package ``frail`` has an advisory of that severity, repaired in its next version
``clean``              there is no advisory
``refused``            packages are served, audits are not
``gone``               it knows no package
``torn``, ``stuck``    as ``critical``, but the repaired package can't be had, or never comes
``mirror``             it knows the packages that are installed in the application, as the latest, without an advisory
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import sys
import tarfile
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

INSTALLED = Path("/home/flavio/webapp/node_modules")
VERSIONS = {"frail": ("1.0.0", "1.0.1", "2.0.0"), "sound": ("1.0.0",)}
REPAIRED = "1.0.1"


def versions_of(mode: str, name: str) -> tuple[str, ...]:
    """What the registry has of a package, the latest version last."""
    described = INSTALLED / name / "package.json"
    if mode == "mirror" and described.is_file():
        return (json.loads(described.read_text())["version"],)
    return () if mode == "gone" else VERSIONS.get(name, ())


def tarball(name: str, version: str) -> bytes:
    content = json.dumps({"name": name, "version": version, "license": "MIT"}).encode()
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        member = tarfile.TarInfo("package/package.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        _, mode, quoted, *rest = self.path.split("/")
        name = urllib.parse.unquote(quoted)
        if not versions_of(mode, name):
            self.answer(404, {"error": "Not found"})
        elif not rest:
            self.answer(200, self.packument(mode, name))
        elif mode == "torn" and REPAIRED in rest[-1]:
            self.answer(500, {"error": "torn"})
        else:
            if mode == "stuck" and REPAIRED in rest[-1]:
                time.sleep(60)
            self.answer(200, tarball(name, rest[-1][:-4]))

    def packument(self, mode: str, name: str) -> dict[str, Any]:
        base = f"http://{self.headers['Host']}/{mode}/{name}/-"
        versions = {}
        for version in versions_of(mode, name):
            digest = base64.b64encode(hashlib.sha512(tarball(name, version)).digest()).decode()
            dist = {"tarball": f"{base}/{version}.tgz", "integrity": f"sha512-{digest}"}
            versions[version] = {"name": name, "version": version, "dist": dist}
        return {"name": name, "dist-tags": {"latest": versions_of(mode, name)[-1]}, "versions": versions}

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mode = self.path.split("/")[1]
        if mode in ("refused", "gone") or not self.path.endswith("/advisories/bulk"):
            self.answer(405, {})
            return
        severity = {"low": "low", "clean": "clean", "mirror": "clean"}.get(mode, "critical")
        advisory = {
            "id": 1,
            "url": "https://example.org/advisories/1",
            "title": "frail breaks",
            "severity": severity,
            "vulnerable_versions": f"<{REPAIRED}",
            "cwe": [],
            "cvss": {"score": 9, "vectorString": None},
        }
        self.answer(200, {} if severity == "clean" else {"frail": [advisory]})


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
