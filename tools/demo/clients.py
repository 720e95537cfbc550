"""Runs the demo's real clients and knows, byte for byte, what they sent.

The Recorder is a small reverse proxy between a client and Weir: it keeps each request as it passed,
so that what arrived at the destination can be compared with what left the client.
"""
import gzip
import http.client
import http.server
import json
import os
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "central"))
import central as central_server  # noqa: E402

HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"}


class QuietServer(http.server.ThreadingHTTPServer):
    """Clients that go away are nothing to talk about."""
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Recorder:
    """A proxy to 127.0.0.1:port; .port is its own, .bodies what POSTs carried, decoded."""

    def __init__(self, port):
        recorder = self
        self.bodies = []
        self._lock = threading.Lock()

        class Pass(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
                upstream.request(self.command, self.path, body or None, headers)
                answer = upstream.getresponse()
                data = answer.read()
                upstream.close()
                if self.command == "POST":
                    plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
                    with recorder._lock:
                        recorder.bodies.append(plain.decode("utf-8"))
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP | {"content-length"}:
                        self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_OPTIONS = pass_on

        self._server = QuietServer(("127.0.0.1", 0), Pass)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def sent(self):
        """{event id: its exact text} over everything that passed."""
        found = {}
        with self._lock:
            bodies = list(self.bodies)
        for body in bodies:
            for text in event_texts(body):
                parsed = json.loads(text)
                found[parsed.get("messageId") or parsed.get("id")] = text
        return found


def event_texts(body):
    """The exact text of each event of a body: an object, an array, or {"batch":[…]}."""
    start = len(body) - len(body.lstrip())
    if body[start] == "{":
        for key, at, _ in central_server.object_spans(body, start):
            if key == "batch":
                start = at
    if body[start] == "{":
        return [body[start:].strip()]
    # events_of() finds the elements of an "events" array; an array is one with that name.
    return [text for _, text in central_server.events_of('{"events":' + body[start:] + "}")]


def page_server(port=0):
    """Serves page.html on an origin of its own: (server, port)."""
    with open(os.path.join(HERE, "page.html"), "rb") as f:
        page = f.read()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path.split("?")[0] == "/"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(page)

        def log_message(self, *_):
            pass

    server = QuietServer(("127.0.0.1", port), Page)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server, server.server_address[1]


def install():
    """Installs what package-lock.json names, when it is not there yet; the error text, or None.

    npm ci refuses a lock file that was written where the registry offers no packages for other
    platforms (optional dependencies), so this is npm install that saves nothing.
    """
    stamp = os.path.join(HERE, "node_modules", ".package-lock.json")
    lock = os.path.join(HERE, "package-lock.json")
    if os.path.exists(stamp) and os.path.getmtime(stamp) >= os.path.getmtime(lock):
        return None
    done = subprocess.run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        return (done.stdout + done.stderr)[-2000:]
    os.utime(stamp)
    return None


def run_client(script, *arguments, timeout=120):
    """The ids the client says it sent. Raises RuntimeError with what it printed when it failed."""
    done = subprocess.run(["node", os.path.join(HERE, script), *map(str, arguments)], cwd=HERE,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{script}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def differences(recorder, central, ids, tenant=None):
    """What is wrong with the delivery of these ids, as lines; empty when all is well."""
    arrived = {}
    for text in central.events():
        event = json.loads(text)
        if tenant is None or event["tenant"] == tenant:
            arrived[event["id"]] = text
    sent = recorder.sent()
    problems = []
    for event_id in ids:
        if event_id not in arrived:
            problems.append(f"{event_id}: did not arrive")
        elif event_id not in sent:
            problems.append(f"{event_id}: was not seen on the wire")
        elif central_server.raw_text(arrived[event_id]) != sent[event_id]:
            problems.append(f"{event_id}: raw is {central_server.raw_text(arrived[event_id])!r}, sent was {sent[event_id]!r}")
    return problems
