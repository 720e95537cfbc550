"""Real receivers for the tests of destinations: each on a free loopback port, in a directory of its own,
killed and started again at will. What is not installed skips its tests with a reason."""
import glob
import http.client
import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
import urllib.parse

from harness import ROOT, eventually, free_port


def program(*names):
    """The first of these that exists; skips the test when none does."""
    for name in names:
        found = shutil.which(name) or next(iter(sorted(glob.glob(name), reverse=True)), None)
        if found:
            return found
    raise unittest.SkipTest(f"{names[0]} is not installed (tools/install-packages test)")


def small_disk(case, directory, size):
    """Mounts a file system of that size there until the test's end; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("mounting a small file system needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise unittest.SkipTest(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    case.addCleanup(subprocess.run, ["umount", "-l", directory], check=True)


def fill_disk(directory, leave):
    """Takes all but so many bytes; the name of the file that holds them."""
    path = os.path.join(directory, "ballast")
    room = os.statvfs(directory)
    with open(path, "wb", buffering=0) as f:
        os.posix_fallocate(f.fileno(), 0, max(room.f_bavail * room.f_frsize - leave, 1))
    return path


class Server:
    """One process in a session of its own, so that a kill takes its children with it.

    disk: its directory is a file system of its own, of that size ("80m"), so that it can be full."""

    def __init__(self, case, disk=None):
        self.directory = tempfile.mkdtemp(prefix="weir-server-")
        self.port = free_port()
        self.process = None
        case.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        if disk:
            small_disk(case, self.directory, disk)
        case.addCleanup(self.kill)

    def command(self):
        raise NotImplementedError

    def answers(self):
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def path(self, name):
        return os.path.join(self.directory, name)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def start(self, timeout=30):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.directory, start_new_session=True)

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"{type(self).__name__} ended: {self.log()}")
            try:
                return self.answers()
            except OSError:
                return False
        eventually(ready, lambda: f"{type(self).__name__} does not answer: {self.log()}", timeout)
        return self

    def kill(self, number=signal.SIGKILL):
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass
        self.process.wait(30)
        self.process = None

    def pause(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.process.pid, signal.SIGCONT)


class Redis(Server):
    def __init__(self, case, **settings):
        super().__init__(case)
        self.binary = program("redis-server")
        self.settings = {"appendonly": "yes", "appendfsync": "always", **settings}

    def command(self):
        return [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory,
                *(word for name, value in self.settings.items() for word in (f"--{name}", value))]

    def answers(self):
        return self.run("PING") == "PONG"

    def run(self, *words):
        """One command; its answer as str, int, list, or None. An error raises OSError."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            s.sendall(b"*%d\r\n" % len(words) + b"".join(
                b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(word).encode() for word in words)))
            with s.makefile("rb") as answer:
                return self._read(answer)

    def _read(self, answer):
        line = answer.readline()
        kind, rest = line[:1], line[1:].strip()
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else answer.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if rest == b"-1" else [self._read(answer) for _ in range(int(rest))]
        raise OSError(line.decode(errors="replace"))

    def entries(self, stream="weir:events"):
        """What is in the stream, as dictionaries."""
        return [dict(zip(fields[::2], fields[1::2])) for _, fields in self.run("XRANGE", stream, "-", "+")]


class Postgresql(Server):
    def __init__(self, case, disk=None, tls=None):
        super().__init__(case, disk)
        self.tls = []
        self.bin = os.path.dirname(program("/usr/lib/postgresql/*/bin/postgres"))
        self.as_owner = []
        if os.geteuid() == 0:  # postgres refuses to run as root
            try:
                owner = pwd.getpwnam("postgres")
            except KeyError:
                raise unittest.SkipTest("there is no user postgres") from None
            self.as_owner = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
        if tls:
            for word, source in zip(("cert", "key"), tls):
                path = shutil.copy(source, self.path(f"{word}.pem"))
                os.chmod(path, 0o600)
                if self.as_owner:
                    os.chown(path, owner.pw_uid, owner.pw_gid)
                self.tls += ["-c", f"ssl_{word}_file={path}"]
            self.tls += ["-c", "ssl=on"]
        made = subprocess.run([*self.as_owner, f"{self.bin}/initdb", "-D", self.path("data"), "-U", "weir", "-A",
                               "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], capture_output=True, text=True,
                              cwd=self.directory)
        if made.returncode != 0:
            raise AssertionError(made.stderr)

    def command(self):
        return [*self.as_owner, f"{self.bin}/postgres", "-D", self.path("data"), "-p", str(self.port), "-h", "127.0.0.1",
                "-k", self.directory, "-c", "shared_buffers=16MB", "-c", "max_connections=20",
                "-c", "autovacuum=off", "-c", "restart_after_crash=on", *self.tls]

    def start(self, timeout=30):
        try:
            return super().start(timeout)
        except AssertionError as error:  # the killed one's shared memory goes with its last child
            if "shared memory" not in str(error):
                raise
            return super().start(timeout)

    def answers(self):
        return self.sql("SELECT 1") == ["1"]

    def sql(self, text, database="postgres"):
        """The rows of a query, columns joined by a tab."""
        done = subprocess.run([f"{self.bin}/psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "weir", "-d", database,
                               "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", text],
                              capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise OSError(done.stderr)
        return done.stdout.splitlines()

    def url(self):
        return f"postgresql://weir@127.0.0.1:{self.port}/postgres"


class Clickhouse(Server):
    CONFIG = """<yandex><logger><level>warning</level><console>1</console></logger>
<http_port>{port}</http_port><tcp_port>{tcp}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>{dir}/data/</path><tmp_path>{dir}/tmp/</tmp_path><user_files_path>{dir}/files/</user_files_path>
<format_schema_path>{dir}/schemas/</format_schema_path><users_config>users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>5368709</mark_cache_size></yandex>"""
    USERS = """<yandex><profiles><default><max_memory_usage>1000000000</max_memory_usage></default></profiles>
<users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
<quota>default</quota></default></users><quotas><default/></quotas></yandex>"""

    def __init__(self, case, disk=None):
        super().__init__(case, disk)
        self.binary = program("clickhouse-server", "/usr/sbin/clickhouse-server")
        with open(self.path("config.xml"), "w", encoding="utf-8") as f:
            f.write(self.CONFIG.format(port=self.port, tcp=free_port(), dir=self.directory))
        with open(self.path("users.xml"), "w", encoding="utf-8") as f:
            f.write(self.USERS)

    def command(self):
        return [self.binary, f"--config-file={self.path('config.xml')}"]

    def answers(self):
        return self.sql("SELECT 1") == ["1"]

    def sql(self, text):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/", text.encode())
            answer = connection.getresponse()
            body = answer.read().decode()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from None
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(body)
        return body.splitlines()

    def url(self):
        return f"http://127.0.0.1:{self.port}/"


class Nginx(Server):
    """A proxy in front of a central server: what stands before most receivers."""

    def __init__(self, case, upstream, tls=None, extra=""):
        super().__init__(case)
        self.binary = program("nginx", "/usr/sbin/nginx")
        listen = f"{self.port} ssl" if tls else str(self.port)
        certificate = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
        with open(self.path("nginx.conf"), "w", encoding="utf-8") as f:
            f.write(f"""daemon off; master_process off; pid {self.directory}/pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {self.directory}; proxy_temp_path {self.directory};
  fastcgi_temp_path {self.directory}; uwsgi_temp_path {self.directory}; scgi_temp_path {self.directory};
  client_max_body_size 64m;
  server {{ listen 127.0.0.1:{listen}; {certificate} {extra}
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_next_upstream off; }} }} }}""")

    def command(self):
        return [self.binary, "-p", self.directory, "-c", self.path("nginx.conf"), "-e", "stderr"]


class Kafka(Server):
    """librdkafka's mock cluster in a process of its own; tests/e2e/kafka_broker.cc says what it knows."""

    def __init__(self, case, topic="weir-events", brokers=3, partitions=4):
        super().__init__(case)
        build = os.path.dirname(os.path.join(ROOT, os.environ.get("WEIR_BIN", "build/release/weir")))
        self.binary = program(os.path.join(build, "kafka_broker"))
        self.arguments = [self.path("messages"), topic, str(brokers), str(partitions)]

    def start(self, timeout=30):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([self.binary, *self.arguments], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        select.select([self.process.stdout], [], [], timeout)
        os.set_blocking(self.process.stdout.fileno(), False)
        word, _, self.addresses = self.process.stdout.readline().strip().partition(" ")
        os.set_blocking(self.process.stdout.fileno(), True)
        if word != "ready":
            raise AssertionError(f"kafka_broker: {self.log()}")
        return self

    def kill(self, number=signal.SIGKILL):
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
        super().kill(number)

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline().strip() != "ok":
            raise AssertionError(f"kafka_broker: {self.log()}")

    def url(self):
        return f"kafka://{self.addresses}"

    def broker_port(self):
        """Of the only broker."""
        return int(self.addresses.rpartition(":")[2])

    def messages(self):
        """What was consumed so far, as dictionaries."""
        rows = []
        with open(self.path("messages"), encoding="utf-8") as f:
            for line in f:
                if line.endswith("\n"):
                    rows.append(dict(zip(("id", "tenant", "key", "batch_id", "value"), line[:-1].split("\t", 4))))
        return rows


def certificate(case, name="localhost", address="127.0.0.1"):
    """(certificate, key) of a self-signed certificate for that name and address."""
    directory = tempfile.mkdtemp(prefix="weir-cert-")
    case.addCleanup(shutil.rmtree, directory, ignore_errors=True)
    cert, key = f"{directory}/cert.pem", f"{directory}/key.pem"
    subprocess.run([program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:{address}"],
                   check=True, capture_output=True)
    return cert, key
