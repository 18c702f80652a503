"""What passes between browsers and the proxy, and how."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse, parse_headers

import httpx
import pytest
from channel import Channel
from stack import until

from tests.nginx.conftest import TRUSTING, Edge, Kit, Proxy

pytestmark = pytest.mark.nginx

GIGABYTE = 2**30


class _Connection(socketserver.StreamRequestHandler):
    """Answers requests, and notes for how long the connection was idle when either end closed it."""

    server: "_Server"

    def handle(self) -> None:
        self.connection.settimeout(self.server.seconds)
        while True:
            begin = time.monotonic()
            try:
                line = self.rfile.readline()
            except TimeoutError:
                line = b""
            if not line:
                self.server.idle.append(time.monotonic() - begin)
                return
            self.rfile.read(int(parse_headers(self.rfile)["Content-Length"]))
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.seconds = seconds
        self.idle: list[float] = []


@contextmanager
def keeping(kit: Kit, seconds: float) -> Iterator[tuple[Edge, list[float]]]:
    """Run nginx before a server that closes connections after some idle seconds; give how long each was idle."""
    with _Server(seconds) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield kit.run(NGINX_UPSTREAM=f"127.0.0.1:{server.server_address[1]}"), server.idle
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", autouse=True)
def idle(shared: Kit) -> Iterator[list[float]]:
    """Leave connections to a proxy idle that closes them after 5 s; that takes as long as the other tests here."""
    with keeping(shared, 5) as (edge, idle):
        for _ in range(2):
            assert edge.http.post("/", content=b"once").status_code == 200
        yield idle


def raw(edge: Edge, *lines: str) -> httpx.Response:
    """Send a request as it is, and give the answer."""
    with edge.connect() as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = HTTPResponse(connection)
        answer.begin()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def test_websocket(edge: Edge) -> None:
    """A websocket passes both ways."""
    with Channel(f"wss://127.0.0.1:{edge.port}/socket", {}, TRUSTING) as socket_:
        socket_.send("print(1)")
        assert socket_.receive(5) == "print(1)"


def test_address_as_it_is(edge: Edge) -> None:
    """The proxy gets path and query as the browser sent them, and the Host with its port."""
    shown = edge.http.get("/user/alice/a%2Fb%20c//d?x=%26&y=1").json()
    assert shown["target"] == "/user/alice/a%2Fb%20c//d?x=%26&y=1"
    assert shown["headers"]["host"] == [f"127.0.0.1:{edge.port}"]


def test_headers_are_overwritten(edge: Edge) -> None:
    """What a client says about where it comes from is replaced by what is known."""
    names = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP", "X-Scheme")
    lies = dict.fromkeys(names, "lie") | {"Forwarded": "for=lie;proto=http", "X_Forwarded_For": "lie"}
    headers = edge.http.get("/", headers=lies).json()["headers"]
    assert "lie" not in str(headers)
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == ["127.0.0.1"]
    assert headers["x-forwarded-proto"] == headers["x-scheme"] == ["https"]
    assert headers["x-forwarded-host"] == [f"127.0.0.1:{edge.port}"]
    assert headers["x-forwarded-port"] == [str(edge.port)]
    assert "forwarded" not in headers


def test_public_port(edge: Edge) -> None:
    """The port that is told is the one that the browser used, which may not be nginx's own."""
    for host, port in (("hub.example", "443"), ("hub.example:444", "444"), ("[::1]", "443"), ("[::1]:8443", "8443")):
        headers = edge.http.get("/", headers={"Host": host}).json()["headers"]
        assert (headers["host"], headers["x-forwarded-port"]) == ([host], [port])


@pytest.mark.parametrize(
    ("name", "value"),
    [("Connection", "X-Forwarded-For, X-Real-IP"), ("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Upgrade", "foo")],
)
def test_hop_by_hop(edge: Edge, name: str, value: str) -> None:
    """What is meant for nginx alone goes no further, whatever else it names."""
    headers = edge.http.get("/", headers={name: value}).json()["headers"]
    assert "connection" not in headers
    assert "upgrade" not in headers
    assert headers["x-forwarded-for"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Content-Length: 4", "Content-Length: 5"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding : chunked"],
        ["Host: other.example"],
    ],
)
def test_two_readings(edge: Edge, lines: list[str]) -> None:
    """A request that two servers could read differently is refused."""
    answer = raw(edge, "POST / HTTP/1.1", "Host: hub.example", "Connection: close", *lines)
    assert answer.status_code in (400, 501)


def test_answers_of_the_hub(edge: Edge) -> None:
    """An error that the hub answers with is passed on as it is, without what could steer nginx or browsers."""
    for status in (404, 413, 502, 503, 504):
        answer = edge.http.get(f"/status/{status}", headers={"Accept": "text/html"})
        assert (answer.status_code, answer.text) == (status, "the hub's own words")
        assert answer.headers.get_list("Strict-Transport-Security") == ["max-age=63072000"]
        assert "Retry-After" not in answer.headers


def test_version_is_not_told(edge: Edge) -> None:
    """The Server header has no version."""
    assert edge.http.get("/").headers["Server"] == "nginx"


def test_plain_http(edge: Edge) -> None:
    """Who comes by plain HTTP is sent to the same address by HTTPS, with the same method, and without HSTS."""
    answer = httpx.put(f"http://127.0.0.1:{edge.port}/a%20b?c=d", content=b"x", timeout=5)
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://127.0.0.1:{edge.port}/a%20b?c=d"
    assert "Strict-Transport-Security" not in answer.headers


def chosen_protocol(edge: Edge) -> str | None:
    """Return what is chosen for a browser that can speak HTTP/2."""
    context = TRUSTING.__class__(TRUSTING.protocol)
    context.check_hostname = False
    context.verify_mode = TRUSTING.verify_mode
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", edge.port), timeout=5) as plain,
        context.wrap_socket(plain) as connection,
    ):
        return connection.selected_alpn_protocol()


def test_http2(edge: Edge, own: Kit) -> None:
    """Browsers that can are served by HTTP/2, unless it is switched off."""
    assert chosen_protocol(edge) == "h2"
    assert chosen_protocol(own.run(NGINX_HTTP2="false")) == "http/1.1"


def test_upload_streams(edge: Edge, proxy: Proxy) -> None:
    """The proxy gets the first bytes of an upload before the last are sent, and nothing is kept on disk."""
    proxy.arrived.clear()
    with edge.connect() as connection:
        head = "PUT /upload HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\nContent-Length: 20\r\n\r\n"
        connection.sendall(head.encode() + b"0123456789")
        assert proxy.arrived.wait(5)
        connection.sendall(b"0123456789")
        assert b'{"bytes": 20}' in connection.recv(2**16)


@pytest.mark.parametrize(("length", "status"), [(GIGABYTE, b" 200 "), (GIGABYTE + 1, b" 413 ")], ids=["1 GB", "more"])
def test_large_upload(edge: Edge, length: int, status: bytes) -> None:
    """An upload of 1 GB passes, and a larger one is refused before its body is sent."""
    body = memoryview(bytes(2**20))
    with edge.connect() as connection:
        head = f"PUT /upload HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        if length == GIGABYTE:
            for _ in range(length // len(body)):
                connection.sendall(body)
        assert status in connection.recv(2**16)
    assert not [file for file in edge.folder.rglob("*/*") if file.is_file()]


@pytest.mark.parametrize(
    ("accept", "kind"), [("text/html,*/*", "text/html; charset=utf-8"), ("application/json", "application/json")]
)
def test_page_about_size(edge: Edge, accept: str, kind: str) -> None:
    """Who sends too much is told how much is right, people by a page and programs by JSON."""
    answer = raw(edge, "PUT /x HTTP/1.1", "Host: h", f"Accept: {accept}", f"Content-Length: {GIGABYTE + 1}")
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == kind
    assert "At most 1 GB" in answer.text
    assert answer.headers["Strict-Transport-Security"]


def test_pages_are_internal(edge: Edge) -> None:
    """The pages have no address of their own."""
    assert edge.http.get("/.jld-nginx/unavailable/browser").status_code == 404


def test_proxy_closes_first(own: Kit) -> None:
    """Connections that the proxy closes are not used again: no request that must not be repeated fails."""
    with keeping(own, 0.05) as (edge, idle):
        for _ in range(4):
            idle.clear()
            assert edge.http.post("/", content=b"once").status_code == 200
            until("the proxy closes the connection", lambda: idle)


def test_access_log(edge: Edge) -> None:
    """Each request is one line of JSON, with its path but without its query, cookies and the page it came from."""
    secrets = {
        "Cookie": "session=geheim",
        "Referer": "https://github.com/?code=geheim",
        "Authorization": "token geheim",
    }
    edge.http.get("/hub/oauth_callback?code=geheim&state=geheim", headers=secrets)
    raw(edge, 'GET /quote"d\\path\x7f?geheim HTTP/1.1', "Host: hub.example", "Connection: close")
    raw(edge, "GET /\xff\xfe HTTP/1.1", "Host: hub.example", "Connection: close")
    until("the requests are logged", lambda: edge.logged("oauth_callback") and edge.logged("�"))
    (event,) = edge.logged("oauth_callback")
    assert event["message"] == "GET /hub/oauth_callback: 200"
    expected = {"service": "nginx", "status": 200, "method": "GET", "path": "/hub/oauth_callback", "level": "INFO"}
    assert expected.items() <= event.items()
    assert isinstance(event["request_time"], float)
    assert len(event["@timestamp"]) == len("2026-11-23T07:31:00.000Z")
    assert "geheim" not in edge.text()


def test_long_paths(edge: Edge) -> None:
    """A long path is cut in the log, so that lines of two workers cannot mix."""
    edge.http.get("/long" + "/x" * 4000 + "?geheim")
    until("the request is logged", lambda: edge.logged("/long"))
    assert len(edge.logged("/long")[0]["path"]) == 500
    assert max(len(line) for line in edge.text().splitlines()) < 4096


def test_nobody_breaks_the_log(own: Kit, proxy: Proxy) -> None:
    """However long or odd requests of several connections at once are, each is one line of JSON, and nginx goes on."""
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}")
    odd = [
        b"GET /" + b'"' * 990 + b" HTTP/1.1\r\n",
        b"A" * 15200 + b" /" + b'"' * 900 + b" HTTP/1.1\r\n",
        b"GET /" + b"\\" * 990 + b" HTTP/1." + b"0" * 12000 + b"1\r\n",
        b"GET /" + b"\xff" * 990 + b" HTTP/1.1\r\n",
    ]

    def send(line: bytes) -> None:
        for _ in range(15):
            with edge.connect() as connection:
                connection.sendall((line + b"Host: hub.example\r\n\r\n") * 3)
                connection.sendall(line + b"Host: hub.example\r\nConnection: close\r\n\r\n")
                while connection.recv(2**16):
                    pass

    threads = [threading.Thread(target=send, args=(line,)) for line in odd * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert edge.http.get("/marker").status_code == 200
    until("the last request is logged", lambda: edge.logged("/marker"))
    assert edge.process.poll() is None
    assert max(len(line) for line in edge.text().encode().splitlines()) < 4096
    events = [event for event in edge.events() if "status" in event]
    assert len(events) > 15 * len(threads)
    assert {event["method"] for event in events} == {"GET", "-"}
    assert {event["protocol"] for event in events} >= {"HTTP/1.1", "-"}


def test_probes_are_not_logged(edge: Edge) -> None:
    """Neither the health port's requests nor what they ask of nginx are in the log."""
    before = json.dumps(edge.events())
    for path in ("/healthz", "/readyz", "/metrics"):
        assert edge.get(path).status_code == 200
    assert edge.http.get("/marker").status_code == 200
    until("the next request is logged", lambda: edge.logged("/marker"))
    assert len(edge.events()) == len(json.loads(before)) + 1


def test_nginx_closes_first(idle: list[float]) -> None:
    """Connections to the proxy are kept, and ended before the proxy's 5 s are over."""
    until("nginx closes the connection", lambda: idle)
    # Two workers may have served the two requests, each over a connection of its own.
    assert all(3.5 < seconds < 4.9 for seconds in idle)
