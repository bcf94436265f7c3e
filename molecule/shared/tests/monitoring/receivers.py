"""Where messages go in these tests: a real SMTP server and a real web server, on loopback."""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
import threading
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Mailbox:
    """Takes mail as SMTP has it (RFC 5321, without extensions), and keeps it."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        mails = self.mails

        class Session(socketserver.StreamRequestHandler):
            timeout = 20

            def say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

            def handle(self) -> None:
                self.say("220 test")
                while line := self.rfile.readline().decode().strip():
                    word = line.split(" ")[0].upper()
                    if word == "QUIT":
                        return self.say("221 bye")
                    if word == "DATA":
                        self.say("354 go on")
                        self.take()
                    self.say("250 fine")
                return None

            def take(self) -> None:
                content = b""
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    content += line[1:] if line.startswith(b".") else line
                mails.append(email.message_from_bytes(content, policy=email.policy.default))  # type: ignore[arg-type]

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def address(self, who: str) -> str:
        """For ``escalation_channels``."""
        return f"mailto://127.0.0.1:{self.port}/?smtp=127.0.0.1&mode=insecure&from=ops@example.org&to={who}@example.org"

    def to(self, who: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if f"{who}@example.org" in str(mail["To"])]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Webhook:
    """Takes JSON, and keeps it with the path it came to; refuses it as long as ``down``."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refused = 0
        self.down = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.down:
                    outer.refused += 1
                    return self.send_error(503)
                outer.calls.append((self.path.strip("/"), json.loads(body)))
                self.send_response(204)
                return self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def address(self, token: str) -> str:
        return f"json://127.0.0.1:{self.port}/{token}"

    def at(self, token: str) -> list[dict[str, Any]]:
        return [call for path, call in self.calls if path == token]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
