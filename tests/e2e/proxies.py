"""What stands between Weir and a real receiver in tests of faults: bytes that come slowly, stop or break off, and
answers of the HTTP kind that the receiver itself would not give."""
import contextlib
import http.client
import http.server
import select
import socket
import struct
import threading


def listening():
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # a peer that is not read from notices soon
    return listener


class Flow:
    """One direction of a connection."""

    def __init__(self, source, target, transform):
        self.source, self.target, self.transform = source, target, transform
        self.pending = b""


class Proxy:
    """A TCP proxy with a port of its own, before a server that may be on another one after its next start.

    pass    hands everything on
    slow    one byte a second in each direction
    reset   hands on half of the next piece of a body, then resets both connections
    stall   keeps the connection and hands nothing on
    `struck` counts the connections that met a fault.
    """
    BODY = 1_000        # what the client sends at once and is larger is no greeting

    def __init__(self, case, port, transform=lambda proxy: bytes):
        self.upstream = port
        self.transform = transform
        self.struck = 0
        self._mode = "pass"
        self._changed = threading.Condition()
        self._listener = listening()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        case.addCleanup(self.close)

    @property
    def mode(self):
        return self._mode

    @mode.setter
    def mode(self, mode):
        with self._changed:
            self._mode = mode
            self.struck = 0
            self._changed.notify_all()

    def close(self):
        self.mode = "closed"
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            with socket.create_connection(("127.0.0.1", self.upstream), 5) as server:
                server.settimeout(None)
                # As they come, not as large as the system would gather them.
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pump(Flow(client, server, bytes), Flow(server, client, self.transform(self)))

    def _pump(self, up, down):
        struck = None
        while self._mode != "closed":
            mode = self._mode
            if mode == "stall":
                struck = self._strike(mode, struck)
                with self._changed:
                    self._changed.wait_for(lambda: self._mode != "stall", 1)
                continue
            idle = [flow for flow in (up, down) if not flow.pending]
            for flow in idle:
                if select.select([flow.source], [], [], 0.005)[0]:
                    data = flow.source.recv(65536)
                    if not data:
                        return
                    flow.pending = flow.transform(data)
            if mode == "slow" and (up.pending or down.pending):
                struck = self._strike(mode, struck)
                for flow in (up, down):
                    flow.target.sendall(flow.pending[:1])
                    flow.pending = flow.pending[1:]
                with self._changed:
                    self._changed.wait_for(lambda: self._mode != "slow", 1)
                continue
            if mode == "reset" and len(up.pending) > self.BODY:
                self._strike(mode, struck)
                up.target.sendall(up.pending[:len(up.pending) // 2])
                for one in (up.source, up.target):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            for flow in (up, down):
                flow.target.sendall(flow.pending)
                flow.pending = b""

    def _strike(self, mode, before):
        if before != mode:
            with self._changed:
                self.struck += 1
        return mode


class KafkaFrames:
    """Puts the proxy's port where a broker tells its own, whole frames at a time."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.rest = b""

    def __call__(self, data):
        self.rest += data
        done = b""
        while len(self.rest) >= 4 and len(self.rest) >= 4 + (size := int.from_bytes(self.rest[:4], "big")):
            done += self.rest[:4 + size]
            self.rest = self.rest[4 + size:]
        host = b"127.0.0.1"
        return done.replace(host + struct.pack(">i", self.proxy.upstream), host + struct.pack(">i", self.proxy.port))


class Front(http.server.BaseHTTPRequestHandler):
    """What stands before an HTTP receiver: hands a request on, or answers it itself as server.fault says:
    {"status": 429, "headers": {…}, "above": bytes of a body that are too many, "times": how often}."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault
        if fault and len(body) > fault.get("above", -1) and self.server.left != 0:
            self.server.left -= 1
            self.server.refused += 1
            return self.answer(fault["status"], fault.get("headers", {}), b"said by what stands before it\n")
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=30)
        try:
            connection.request("POST", self.path, body, dict(self.headers))
            got = connection.getresponse()
            return self.answer(got.status, {}, got.read())
        finally:
            connection.close()

    do_GET = do_POST

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def front(case, upstream):
    """A running Front; fail(**fault) sets what it answers, fail() ends it. Its port is .port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
    server.upstream, server.fault, server.left, server.refused = upstream, None, -1, 0
    server.daemon_threads = True
    server.port = server.server_address[1]

    def fail(**fault):
        server.left, server.refused = fault.get("times", -1), 0
        server.fault = fault or None
    server.fail = fail
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    case.addCleanup(server.server_close)
    case.addCleanup(server.shutdown)
    return server
