"""What the application's health endpoint answers, read defensively: it may answer with anything, slowly, or never."""

from __future__ import annotations

import functools
import json
import math
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Optional
from urllib.parse import SplitResult, urlsplit

from ..core.messages import finding, msg
from ..core.types import Finding, HttpState

if TYPE_CHECKING:
    import http.client

MAX_BODY_BYTES = 64 * 1024
MAX_TEXT = 200
KEYS = ("status", "database", "system", "timestamp")
# Not the same as TimeoutError before Python 3.10.
SocketTimeout = socket.timeout


_finding = functools.partial(finding, "http")


# --- pure: the body ------------------------------------------------------------------------------------------------


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def parse_body(body: bytes) -> tuple[Optional[dict[str, Any]], list[Finding]]:
    """Take the four known keys out of a health answer; everything else is dropped, text is cut to 200 characters.

    Returns ``None`` and one finding (``invalid_utf8``, ``not_json``, ``not_object``) when there is no answer in it;
    a known key that is missing or holds no scalar is left out with a finding (``missing_keys``, ``wrong_type``).
    Never raises.
    """
    hint = msg("Look at the health endpoint of the application, or at what stands in front of it.")
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_reject_constant)
    except UnicodeDecodeError:
        return None, [_finding("invalid_utf8", msg("The health answer is not valid UTF-8"), hint)]
    except (ValueError, RecursionError):
        start = body[:200].lstrip().lower()
        if start.startswith((b"<!doctype", b"<html", b"<")):
            return None, [_finding("not_json", msg("The health answer is HTML, not JSON"), hint)]
        return None, [_finding("not_json", msg("The health answer is not JSON"), hint)]
    if not isinstance(value, dict):
        kind = "null" if value is None else type(value).__name__
        return None, [_finding("not_object", msg("The health answer is JSON but no object: {kind}", kind=kind), hint)]
    selected: dict[str, Any] = {}
    wrong = []
    for key in KEYS:
        item = value.get(key)
        if isinstance(item, str):
            # A lone surrogate is valid in JSON and can't be written as UTF-8.
            selected[key] = item[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
        elif isinstance(item, bool) or (isinstance(item, (int, float)) and _reasonable(item)):
            selected[key] = item
        elif key in value:
            wrong.append(key)
    findings = []
    missing = [key for key in ("status", "database") if key not in value]
    if missing:
        text = msg("The health answer lacks {keys}", keys=", ".join(missing))
        findings.append(_finding("missing_keys", text, hint))
    if wrong:
        text = msg("The health answer has a value of the wrong type in {keys}", keys=", ".join(wrong))
        findings.append(_finding("wrong_type", text, hint))
    return selected, findings


def _reasonable(number: float) -> bool:
    """Whether a JSON number survives the way to the controller: finite, and an integer not of thousands of digits."""
    return abs(number) < 2**63 if isinstance(number, int) else math.isfinite(number)


def shown_url(parts: SplitResult) -> str:
    """The URL without user, password and query, which may hold a token."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{host}{port}{parts.path}"[:MAX_TEXT]


def worst(statuses: list[int]) -> Optional[int]:
    """The status to report: the highest that is not 2xx, else the last."""
    bad = [status for status in statuses if not 200 <= status < 300]
    return max(bad) if bad else (statuses[-1] if statuses else None)


def median(values: list[float]) -> float:
    """The median of at least one value; by hand, because importing ``statistics`` takes longer than a request."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else round((ordered[half - 1] + ordered[half]) / 2, 2)


# --- I/O: one request ----------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """A complete answer, or the code of what went wrong in ``error``."""

    status: Optional[int]
    location: Optional[str]
    body: bytes
    too_large: bool
    latency_ms: float
    error: Optional[str]


class _DeadlineSocket(socket.socket):
    """A socket with a deadline in total: a peer that drips bytes never trips a timeout per read."""

    deadline = math.inf

    def _arm(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise SocketTimeout("deadline")
        self.settimeout(left)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._arm()
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._arm()
        super().sendall(*args, **kwargs)


def _open(parts: SplitResult, deadline: float) -> socket.socket:
    """Connect, with TLS for https; what comes back keeps ``deadline`` (monotonic seconds) by itself."""
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    plain = socket.create_connection((host, port), max(deadline - time.monotonic(), 0.001))
    if parts.scheme == "http":
        timed = _DeadlineSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        timed.deadline = deadline
        timed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return timed
    return _open_tls(plain, host, deadline)


def _open_tls(plain: socket.socket, host: str, deadline: float) -> socket.socket:
    import ssl

    class DeadlineTls(ssl.SSLSocket):
        def read(self, *args: Any, **kwargs: Any) -> Any:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SocketTimeout("deadline")
            self.settimeout(left)
            return super().read(*args, **kwargs)

    context = ssl.create_default_context()
    context.sslsocket_class = DeadlineTls
    plain.settimeout(max(deadline - time.monotonic(), 0.001))
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _read_body(response: http.client.HTTPResponse) -> tuple[bytes, bool, bool]:
    """``(body, too_large, complete)``; never more than :data:`MAX_BODY_BYTES`."""
    body = bytearray()
    while len(body) <= MAX_BODY_BYTES:
        chunk = response.read(min(16384, MAX_BODY_BYTES + 1 - len(body)))
        if not chunk:
            # What Content-Length promised and the peer did not send.
            return bytes(body), False, not response.length
        body += chunk
        if response.length == 0:
            return bytes(body), len(body) > MAX_BODY_BYTES, True
    return bytes(body[:MAX_BODY_BYTES]), True, True


_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (SocketTimeout, "timeout"),
    (TimeoutError, "timeout"),
    (ConnectionRefusedError, "refused"),
    (ConnectionError, "closed_early"),  # also http.client's RemoteDisconnected
    (socket.gaierror, "unknown_host"),
)


def error_code(error: BaseException) -> str:
    """A stable code for whatever a request failed with."""
    name = type(error).__name__
    if name.startswith("SSL"):  # by name: importing ssl costs 5 ms
        return "tls"
    if name == "IncompleteRead":
        return "closed_early"
    code = next((code for kind, code in _ERRORS if isinstance(error, kind)), None)
    # What is left of http.client are status lines and headers that are none.
    return code or ("unreachable" if isinstance(error, OSError) else "bad_answer")


def request(parts: SplitResult, deadline: float) -> Reply:
    """One GET, until the body is complete or ``deadline`` (monotonic seconds); redirects are not followed.

    Never raises: ``Reply.error`` names what went wrong.
    """
    import http.client

    began = time.monotonic()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    status, location, body, too_large, error = None, None, b"", False, None
    try:
        connection.sock = _open(parts, deadline)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "orquestrador-ops"}
        connection.request("GET", target, headers=headers)
        with connection.getresponse() as response:
            status, location = response.status, response.getheader("Location")
            body, too_large, complete = _read_body(response)
        if not complete:
            error = "closed_early"
    except (OSError, http.client.HTTPException, ValueError) as caught:
        error = error_code(caught)
    finally:
        connection.close()
    return Reply(status, location, body, too_large, round((time.monotonic() - began) * 1000, 2), error)


# --- the collector -------------------------------------------------------------------------------------------------


def _failure(code: str, url: str) -> Finding:
    texts = {
        "timeout": msg("{url} did not answer completely in time", url=url),
        "refused": msg("Nobody accepts connections at {url}", url=url),
        "closed_early": msg("{url} closed the connection before its answer was complete", url=url),
        "tls": msg("The certificate or the TLS connection of {url} is not valid", url=url),
        "unknown_host": msg("The host of {url} can't be resolved", url=url),
        "bad_answer": msg("What answers at {url} does not speak HTTP", url=url),
        "bad_url": msg("{url} is not a URL that can be asked", url=url),
    }
    hints = {
        "timeout": msg("The application hangs or is overloaded: look at its event loop and at the database."),
        "refused": msg("Start the application, or correct app_port and app_health_url."),
        "bad_url": msg("Correct app_health_url: http or https, a host, and a port if it is not the usual one."),
    }
    default = msg("Look at the application's log, and at who listens on its port.")
    return _finding(code, texts.get(code, msg("{url} can't be reached", url=url)), hints.get(code, default))


def _body_findings(reply: Reply, url: str) -> tuple[Optional[dict[str, Any]], list[Finding]]:
    if reply.location is not None and reply.status is not None and 300 <= reply.status < 400:
        try:
            to = shown_url(urlsplit(reply.location.encode("ascii", "replace").decode("ascii")))
        except ValueError:
            to = "?"
        text = msg("{url} redirects to {location}; it was not followed", url=url, location=to)
        hint = msg("Set app_health_url to the address that answers itself.")
        return None, [_finding("redirect", text, hint)]
    if reply.too_large:
        text = msg("The health answer is larger than {limit_bytes}", limit_bytes=MAX_BODY_BYTES)
        hint = msg("Look at the health endpoint of the application, or at what stands in front of it.")
        return None, [_finding("too_large", text, hint)]
    return parse_body(reply.body)


def usable(url: str) -> Optional[SplitResult]:
    """The parts of a URL that can be asked, else ``None``."""
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def collect(
    url: str,
    *,
    requests: int,
    timeout_s: float,
    request_timeout_s: float,
    ask: Callable[[SplitResult, float], Reply] = request,
) -> tuple[HttpState, list[Finding]]:
    """Ask the health endpoint up to ``requests`` times, one after another, within ``timeout_s`` in all.

    Each request has ``request_timeout_s`` until its body is complete. The first that gets no answer is the last, and
    none is begun that could not have its whole time. The body reported is the last answer's. ``failures`` counts
    requests without a complete answer; their status is not reported.
    """
    deadline = time.monotonic() + timeout_s
    state: HttpState = {
        "url": url,
        "requests": 0,
        "failures": 0,
        "status": None,
        "latency_ms": [],
        "latency_median_ms": None,
        "body": None,
        "error": None,
    }
    parts = usable(url)
    if parts is None:
        state.update({"url": url.rpartition("@")[2][:MAX_TEXT], "failures": 1, "error": "bad_url"})
        return state, [_failure("bad_url", state["url"])]
    state["url"] = shown_url(parts)
    statuses: list[int] = []
    findings: list[Finding] = []
    for number in range(max(requests, 1)):
        left = deadline - time.monotonic()
        if number and left < request_timeout_s:
            break
        reply = ask(parts, time.monotonic() + min(request_timeout_s, left))
        state["requests"] += 1
        if reply.error is not None:
            state["failures"] += 1
            state["error"] = reply.error
            findings.append(_failure(reply.error, state["url"]))
            break
        if reply.status is not None:
            statuses.append(reply.status)
        state["latency_ms"].append(reply.latency_ms)
        state["body"], about_body = _body_findings(reply, state["url"])
        findings += [item for item in about_body if item["code"] not in {known["code"] for known in findings}]
    state["status"] = worst(statuses)
    if state["latency_ms"]:
        state["latency_median_ms"] = median(state["latency_ms"])
    return state, findings
