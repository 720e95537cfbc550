"""Runs the real weir binary for tests: start, stop, kill, talk to it, read its metrics.

Each Case gets its own directory under /tmp and everything it started is stopped by its process id.
WEIR_BIN names the binary (default build/release/weir).
"""
import ctypes
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "central"))
import central as central_server  # noqa: E402

BINARY = os.path.join(ROOT, os.environ.get("WEIR_BIN", "build/release/weir"))
LONG = os.environ.get("WEIR_LONG") == "1"
PATIENCE = 20.0         # seconds any "eventually" may take on a busy machine
SANITIZER = re.compile(r"(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|WEIR_CHECK|"
                       r"check failed)", re.I)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(condition, what, timeout=PATIENCE):
    """Waits until condition() is truthy and returns it."""
    deadline = time.monotonic() + timeout
    pause = 0.01
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name, default=None):
        return self.headers.get(name.lower(), default)

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:600]!r}"


def request(port, method, path, body=None, headers=None, timeout=30, host="127.0.0.1"):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        return request_on(connection, method, path, body, headers)
    finally:
        connection.close()


def request_on(connection, method, path, body=None, headers=None):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


class Raw:
    """A plain socket: bytes out, bytes in, and whether the server closed."""

    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.closed = False
        self.was_reset = False

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.was_reset = True
        return self

    def read(self, seconds, until=None):
        """Collects until the server closes, `until` is in the answer, or the time is over."""
        deadline = time.monotonic() + seconds
        while not self.closed and (left := deadline - time.monotonic()) > 0:
            if until is not None and until in self.received:
                break
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                break
            except ConnectionResetError:
                self.closed = self.was_reset = True
                break
            self.closed = not data
            self.received += data
        return self.received

    def statuses(self):
        """The final status of each answer received, in order."""
        return [int(s) for s in re.findall(rb"HTTP/1\.[01] (\d{3}) ", self.received)
                if s != b"100"]

    def close(self):
        self.socket.close()


def parse_metrics(text):
    """{(name, frozenset of (label, value))} -> number"""
    values = {}
    for line in text.splitlines():
        found = re.match(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if line.startswith("#") or not found:
            continue
        labels = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found.group(2) or ""))
        values[(found.group(1), labels)] = float(found.group(3))
    return values


def toml(value):
    """A value as TOML text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(toml(v) for v in value) + "]"


FAST_RETRY = {"base": "20ms", "cap": "200ms"}


def destination(name, port, path="/in", **more):
    """One [[destinations]] entry for a central server of these tests: quick to retry."""
    entry = {"name": name, "url": f"http://127.0.0.1:{port}{path}",
             "batch": {"linger": "20ms", **more.pop("batch", {})},
             "retry": {**FAST_RETRY, **more.pop("retry", {})}, **more}
    return entry


class Weir:
    """One weir process and its data directory."""

    def __init__(self, directory, destinations=(), keys=(), settings=None, sections=None, data=None,
                 arguments=(), config=True, shards=2):
        self.directory = directory
        self.data = data or os.path.join(directory, "data")
        self.destinations, self.keys = list(destinations), list(keys)
        self.settings = {"store.reserve_bytes": "1MiB", **(settings or {})}
        self.sections = sections or {}
        self.arguments = list(arguments)
        self.use_config, self.shards = config, shards
        self.config = os.path.join(directory, "weir.toml")
        self.log_path = os.path.join(directory, "weir.log")
        self.ingest, self.admin = free_port(), free_port()
        self.admin_host = "127.0.0.1"
        self.process = None
        self.exit_codes = []
        self.killed = False

    # ---- the process

    def write_config(self):
        lines = []
        for name, entries in (("destinations", self.destinations), ("keys", self.keys),
                              *self.sections.items()):
            for entry in entries:
                lines.append(f"[[{name}]]")
                lines += [f"{k} = {toml(v)}" for k, v in entry.items()]
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")

    def command(self):
        command = [BINARY, "serve", "--listen", f"127.0.0.1:{self.ingest}",
                   "--admin", f"{self.admin_host}:{self.admin}", "--data", self.data,
                   "--shards", str(self.shards)]
        if self.use_config:
            self.write_config()
            command += ["--config", self.config]
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        return command + self.arguments

    def launch(self, prepare=None, env=None, wrap=()):
        """Starts without waiting."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*wrap, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, preexec_fn=prepare, env={**os.environ, **(env or {})})
        return self

    def start(self, prepare=None, env=None, timeout=PATIENCE, wrap=()):
        self.launch(prepare, env, wrap)

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"weir ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            try:
                socket.create_connection(("127.0.0.1", self.ingest), 5).close()
                return request(self.admin, "GET", "/livez", timeout=5).status == 200
            except OSError:
                return False

        eventually(ready, lambda: f"weir is not listening:\n{self.log()[-3000:]}", timeout)
        return self

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE):
        code = self.process.wait(timeout)
        self.exit_codes.append(code)
        self.process = None
        return code

    def stop(self, timeout=30):
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        self.killed = True
        self.signal(signal.SIGKILL)
        self.wait()

    def restart(self, **options):
        self.stop()
        return self.start(**options)

    # ---- talking to it

    def request(self, method, path, body=None, headers=None, timeout=30):
        return request(self.ingest, method, path, body, headers, timeout)

    def post(self, body, path="/v1/events", headers=None, timeout=30):
        return self.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})},
                            timeout)

    def get_admin(self, path, timeout=30, headers=None):
        return request(self.admin, "GET", path, None, headers, timeout)

    def raw(self, data=b"", seconds=None, until=None):
        connection = Raw(self.ingest)
        if data:
            connection.send(data)
        if seconds is not None:
            connection.read(seconds, until)
            connection.close()
        return connection

    def connection(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.ingest, timeout=timeout)

    def cli(self, *arguments, timeout=60, server=True, env=None):
        """Runs a verb of the command line; a CompletedProcess."""
        command = [BINARY, *arguments] + (["--server", f"http://127.0.0.1:{self.admin}"] if server else [])
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                              cwd=self.directory, stdin=subprocess.DEVNULL,
                              env={**os.environ, **(env or {})})

    def metrics(self):
        return parse_metrics(self.get_admin("/metrics").body.decode())

    def metric(self, name, **labels):
        """The sum over every series of that name with these labels."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.metrics().items() if n == name and wanted <= have)

    def stats(self, fresh=True):
        return self.get_admin("/api/v1/stats" + ("?fresh=1" if fresh else "")).json


class Case(unittest.TestCase):
    """A test with a directory, a weir and central servers that go away with it."""

    maxDiff = None

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="weir-e2e-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self._weirs = []
        self.addCleanup(self._end_all)

    def central(self, **options):
        central, server = central_server.start(**options)
        central.port = server.server_address[1]
        central.server = server
        self.addCleanup(central_server.stop, server)
        return central

    def weir(self, *, start=True, directory=None, **options):
        number = len(self._weirs)
        where = directory or os.path.join(self.directory, f"weir{number}")
        os.makedirs(where, exist_ok=True)
        weir = Weir(where, **options)
        self._weirs.append(weir)
        return weir.start() if start else weir

    def _end_all(self):
        problems = []
        for weir in self._weirs:
            if weir.running():
                weir.signal(signal.SIGTERM)
                try:
                    code = weir.wait(30)
                    if code != 0:
                        problems.append(f"exit code {code} on SIGTERM")
                except subprocess.TimeoutExpired:
                    weir.kill()
                    problems.append("did not end within 30 s of SIGTERM")
            found = SANITIZER.search(weir.log())
            if found:
                at = max(0, found.start() - 200)
                problems.append(weir.log()[at:at + 4000])
            problems += [f"ended by signal {-c}" for c in weir.exit_codes
                         if c < 0 and not (weir.killed and c == -signal.SIGKILL)]
        if problems:
            self.fail("\n".join(problems))

    # ---- shared assertions

    def assertStatus(self, response, status):
        self.assertEqual(response.status, status, response)
        return response

    def assertError(self, response, status, code):
        """api.md's shape of a whole-request error."""
        self.assertEqual(response.status, status, response)
        body = response.json
        self.assertIs(body["success"], False)
        self.assertEqual(body["code"], code, body)
        self.assertEqual(body["error"], code, body)
        self.assertTrue(body["message"], body)
        return body

    def assertArrives(self, central, ids, tenant="default", timeout=PATIENCE):
        wanted = {(tenant, i) for i in ids}
        eventually(lambda: wanted <= central.received.keys(),
                   lambda: f"{len(wanted - central.received.keys())} of {len(wanted)} events missing, "
                           f"e.g. {sorted(wanted - central.received.keys())[:3]}", timeout)


def unique(prefix="e"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def event(**fields):
    return {"id": unique(), "name": "test", **fields}


def arrived_events(central):
    """{id: event as parsed} of everything the central server took."""
    return {e["id"]: e for e in map(json.loads, central.events())}


def raw_of(central, event_id):
    """The exact text of the event's raw at the destination."""
    for text in central.events():
        if json.loads(text)["id"] == event_id:
            return central_server.raw_text(text)
    return None


# ---- what a test does to the process before it runs (preexec_fn)

def limit(kind, soft, hard=None):
    def prepare():
        resource.setrlimit(kind, (soft, soft if hard is None else hard))
    return prepare


def without_io_uring(errno_value=1):
    """A seccomp filter that answers io_uring_setup/enter/register with EPERM, as Docker's does."""
    def instruction(code, jt, jf, k):
        return struct.pack("HBBI", code, jt, jf, k)
    filter_bytes = b"".join([
        instruction(0x20, 0, 0, 0),                      # load the system call's number
        instruction(0x35, 0, 2, 425),                    # below io_uring_setup: allow
        instruction(0x25, 1, 0, 427),                    # above io_uring_register: allow
        instruction(0x06, 0, 0, 0x00050000 | errno_value),
        instruction(0x06, 0, 0, 0x7FFF0000)])

    def prepare():
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(filter_bytes, len(filter_bytes))

        class Program(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
        program = Program(len(filter_bytes) // 8, ctypes.addressof(buffer))
        if libc.prctl(38, 1, 0, 0, 0) != 0 or \
                libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0:
            os._exit(99)
    return prepare


def need_root():
    return unittest.skipUnless(os.geteuid() == 0, "needs root")


def need_program(*names):
    missing = [n for n in names if not shutil.which(n, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")]
    return unittest.skipIf(missing, f"needs {', '.join(missing)}")
