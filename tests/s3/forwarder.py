"""An HTTP forwarder in front of an S3 server: it counts requests and injects faults.

    with Forwarder(server.endpoint) as front:
        ...                      # clients use front.endpoint
        front.requests           # every request that arrived, in order
        front.fault = lose_answers(1)

The signature of a request covers its `Host` header, which is passed on as it came.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client."""

    method: str
    path: str
    """Path and query as they were sent."""

    @property
    def key(self) -> str:
        """Key of the object, or the prefix of a listing, without the bucket."""
        parts = urlsplit(self.path)
        prefix = parse_qs(parts.query).get("prefix", [""])[0]
        return prefix or unquote(parts.path).strip("/").partition("/")[2]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Drop(Exception):
    """Ends the client's connection without an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that the forwarder gives by itself."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Fault = Callable[[Request, Callable[[], None]], Answer | None]
"""Gets a request and a function that passes it on and throws the answer away. An `Answer` is sent
in place of the server's, `Drop` ends the connection, None passes the request on."""

SLOW_DOWN = Answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>")


def _times(count: int, applies: Callable[[Request], bool]) -> Callable[[Request], bool]:
    left, lock = [count], threading.Lock()

    def next_one(request: Request) -> bool:
        with lock:
            if left[0] <= 0 or not applies(request):
                return False
            left[0] -= 1
            return True

    return next_one


def _any(request: Request) -> bool:
    return True


def answers(count: int, answer: Answer, applies: Callable[[Request], bool] = _any) -> Fault:
    """Give `answer` to the next `count` requests that apply."""
    chosen = _times(count, applies)
    return lambda request, forward: answer if chosen(request) else None


def drops(count: int, applies: Callable[[Request], bool] = _any) -> Fault:
    """End the connection of the next `count` requests that apply; the server sees none of them."""
    chosen = _times(count, applies)

    def fault(request: Request, forward: Callable[[], None]) -> Answer | None:
        if chosen(request):
            raise Drop
        return None

    return fault


def loses_answers(count: int, applies: Callable[[Request], bool] = _any) -> Fault:
    """Pass the next `count` requests that apply on to the server, but never its answer."""
    chosen = _times(count, applies)

    def fault(request: Request, forward: Callable[[], None]) -> Answer | None:
        if chosen(request):
            forward()
            raise Drop
        return None

    return fault


class Forwarder:
    """Listens on loopback in threads of this process until its `with` block ends."""

    def __init__(self, target: str, host: str = "127.0.0.1", port: int = 0) -> None:
        """`target`: endpoint of the server; `port` 0 takes a free one."""
        self.target = urlsplit(target).netloc
        self.requests: list[Request] = []
        self.fault: Fault = lambda request, forward: None
        self._address = (host, port)
        self._server: _Server | None = None

    def __enter__(self) -> Forwarder:
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()

    @property
    def endpoint(self) -> str:
        return "http://{}:{}".format(*self._address)

    def listen(self) -> None:
        """Accept connections, on the same port as before."""
        if self._server is None:
            self._server = _Server(self._address, self)
            self._address = self._server.server_address[:2]  # type: ignore[assignment]
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections until `listen`, and end those that are open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()
            self._server = None

    def taken(self) -> list[Request]:
        """The requests since the last call."""
        found, self.requests = self.requests, []
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 200

    def __init__(self, address: tuple[str, int], front: Forwarder) -> None:
        super().__init__(address, _Handler)
        self.front = front
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its client was first

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that are killed leave broken connections behind."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    HOP_BY_HOP: ClassVar = {"connection", "keep-alive", "transfer-encoding", "content-length"}

    def _forward(self) -> None:
        front = self.server.front
        body = self._body()
        request = Request(self.command, self.path)
        front.requests.append(request)
        try:
            answer = front.fault(request, lambda: (self._ask(body), None)[1])
            if answer is not None:
                self._send(answer.status, dict(answer.headers), answer.body)
            else:
                self._send(*self._ask(body))
        except (Drop, OSError, http.client.HTTPException):
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.server.front.target, timeout=120)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":
                upstream.putheader(name, value)
        upstream.endheaders(body or None)
        with closing(upstream):
            response = upstream.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        length = headers.get("Content-Length", str(len(body)))
        for name, value in headers.items():
            if name.lower() not in self.HOP_BY_HOP:
                self.send_header(name, value)
        if status not in (204, 304):
            sent = length if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", sent)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing on the terminal; `Forwarder.requests` has it all."""
