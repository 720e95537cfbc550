"""Starts Weir and its peers, pinned to the server's core, each in a directory of its own."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request

from machine import LOAD_CPU, ROOT, SERVER_CPU, children, cpu_seconds, rss_anon


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.005)
    raise SystemExit(f"nothing listens on port {port} after {seconds} s: {process.args}")


def http_get(port, path, timeout=5):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
        return answer.read().decode()


def fill(config, path, **values):
    """Writes a configuration of this folder with its @NAMES@ filled in; every one of them must be given."""
    with open(os.path.join(ROOT, "bench/compare", config), encoding="utf-8") as template:
        text = re.sub("@([A-Z_]+)@", lambda found: str(values[found[1]]), template.read())
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


class Server:
    """One process under test."""

    metrics_url = None
    durability = ""

    def __init__(self, name, command, port, directory, cpu=SERVER_CPU, environment=None):
        self.name, self.port, self.directory = name, port, directory
        self.command = ["taskset", "-c", cpu] + command
        self.environment = {**os.environ, **(environment or {})}
        self.process = None

    def start(self):
        with open(os.path.join(self.directory, "stderr"), "ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.directory, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=self.environment)
        wait_for(self.port, self.process)
        return self

    def pids(self):
        return children(self.process.pid)

    def cpu_seconds(self):
        return cpu_seconds(self.pids())

    def rss_anon(self):
        return rss_anon(self.pids())

    def send_signal(self, number):
        for pid in self.pids():
            os.kill(pid, number)

    def pause(self):
        self.send_signal(signal.SIGSTOP)

    def resume(self):
        self.send_signal(signal.SIGCONT)

    def settle(self, _seconds):
        """Waits until what was received is worked off; true when it is known to be."""
        return False

    def events(self):
        """How many it has stored; 0 when it does not say."""
        return 0

    def errors_logged(self):
        """What it complained of so far."""
        return []

    def stop(self, number=signal.SIGTERM):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process = None


class Weir(Server):
    """In its default configuration: unique ids, dedupe on, metrics on, a key with a rule. With a destination
    when there is one to send to."""

    durability = "every event committed and synced before its answer"

    def __init__(self, build, directory, sink_url=None, shards=1, extra="", destination="", wrap=(),
                 environment=None):
        os.makedirs(directory, exist_ok=True)
        self.data = os.path.join(directory, "data")
        port, self.admin = free_port(), free_port()
        config = os.path.join(directory, "weir.toml")
        with open(config, "w", encoding="ascii") as out:
            out.write(f'''[server]
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:{self.admin}"
shards = {shards}
[store]
directory = "{self.data}"
{extra}
[[keys]]
key = "bench"
tenant = "bench"
require = ["campaign_id", "tracking_id"]
''')
            if sink_url:
                out.write(f'[[destinations]]\nname = "sink"\ntype = "http"\nurl = "{sink_url}"\n{destination}\n')
        super().__init__("weir", [*wrap, os.path.join(build, "weir"), "serve", "--config", config], port,
                         directory, environment=environment)
        self.metrics_url = f"http://127.0.0.1:{self.admin}/metrics"

    def start(self, ready_seconds=120):
        super().start()
        self.ready_after(ready_seconds)
        return self

    def ready_after(self, seconds=120):
        """Polls /readyz; how long it took."""
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            try:
                http_get(self.port, "/readyz")
                return time.monotonic() - begun
            except OSError:
                time.sleep(0.005)
        raise SystemExit(f"weir was not ready within {seconds} s; see {self.directory}/stderr")

    def metrics(self):
        values = {}
        for line in http_get(self.admin, "/metrics").splitlines():
            name, _, value = line.rpartition(" ")
            if not line.startswith("#") and name:
                values[name] = float(value)
        return values

    def metric(self, prefix):
        """The sum over the series that begin so."""
        return sum(v for name, v in self.metrics().items() if name.startswith(prefix))

    def events(self):
        return self.metric("weir_events_total")

    def settle(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.metric("weir_forward_pending_events") == 0:
                return True
            time.sleep(0.1)
        return False


def find_nginx():
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


LUA_MODULES = ("/usr/lib/nginx/modules/ndk_http_module.so", "/usr/lib/nginx/modules/ngx_http_lua_module.so")


def start_nginx(directory, config, name, cpu=SERVER_CPU, port=None, answer="204"):
    os.makedirs(directory, exist_ok=True)
    port = port or free_port()
    path = os.path.join(directory, "nginx.conf")
    fill(config, path, PORT=port, ANSWER=answer)
    return Server(name, [find_nginx(), "-p", directory, "-c", path], port, directory, cpu).start()


def start_sink(directory, port=None):
    """A destination that reads batches and answers 200, on the load's core: nginx discarding bodies."""
    return start_nginx(directory, "nginx.conf", "sink", LOAD_CPU, port, "200")


class FluentBit(Server):
    """Its http input with chunks in files, its http output to the sink. One thread takes requests, writes chunks and
    hands them to the output's threads, once a second; requests go first, so that a full core sends nothing."""

    durability = "in a mapped file: survives a kill; synced when a chunk is full or sent, before that gone after a power cut"

    def __init__(self, program, directory, sink_url):
        self.chunks = os.path.join(directory, "chunks")
        os.makedirs(self.chunks, exist_ok=True)
        port, self.admin = free_port(), free_port()
        config = os.path.join(directory, "fluent-bit.conf")
        fill("fluent-bit.conf", config, PORT=port, ADMIN_PORT=self.admin, CHUNKS=self.chunks,
             SINK_PORT=urllib.parse.urlsplit(sink_url).port)
        super().__init__("fluent-bit", [program, "-c", config], port, directory)

    def start(self):
        super().start()
        until = time.monotonic() + 10
        while True:
            try:
                self.counts()
                return self
            except (OSError, ValueError, KeyError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def counts(self):
        """Records received, delivered, and given up, as it had them a second ago at most, unless it is busy."""
        page = json.loads(http_get(self.admin, "/api/v1/metrics"))
        output = page["output"]["http.0"]
        return page["input"]["http.0"]["records"], output["proc_records"], output["dropped_records"]

    def events(self):
        return self.counts()[0]

    def settle(self, seconds):
        """A chunk's file is gone when it was delivered."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not any(files for _, _, files in os.walk(self.chunks)):
                time.sleep(2)
                received, delivered, dropped = self.counts()
                if delivered != received:
                    raise SystemExit(f"fluent-bit received {received} records, delivered {delivered} and dropped "
                                     f"{dropped}, and holds none; see {self.directory}/stderr")
                return True
            time.sleep(0.1)
        return False

    def errors_logged(self):
        with open(os.path.join(self.directory, "stderr"), encoding="utf-8", errors="replace") as log:
            return [line.strip() for line in log if "[error]" in line]


def start_peers(directory, fluent_bit, sink_url):
    """Every peer that is installed; a sentence for each that is not."""
    peers, absent = [start_nginx(os.path.join(directory, "nginx"), "nginx.conf", "nginx")], []
    peers[0].durability = "nothing is kept: reads the body and throws it away"
    if all(os.path.exists(path) for path in LUA_MODULES):
        peers.append(start_nginx(os.path.join(directory, "nginx-log"), "nginx-log.conf", "nginx-log"))
        peers[1].durability = "each body written to a file, in the page cache: gone after a power cut"
    else:
        absent.append("nginx-log: apt-get install libnginx-mod-http-lua")
    if fluent_bit:
        peers.append(FluentBit(fluent_bit, os.path.join(directory, "fluent-bit"), sink_url).start())
    else:
        absent.append("fluent-bit: give its program with --fluent-bit or FLUENT_BIT")
    return peers, absent
