"""A central server that pulls: takes events from many edges and keeps each exactly once.

  tools/central/central.py pull --edge http://edge-1:9443 --edge http://edge-2:9443 \\
      --consumer central (--out DIR | --clickhouse http://user:password@host:8123/?database=default)

  --workers N      requests to each edge at once (default 1); any number of processes may share a
                   consumer name, and an --out directory
  --once           end when no edge has anything left
  --check          only print what --out or --clickhouse holds: counts and gaps, as JSON
  WEIR_TOKEN       bearer token for the edges, when they have tokens

What it shows, and what any puller has to do:

  take a lease -> store its events, each once by (tenant, id), and commit -> acknowledge the lease

Whatever dies in between: an event that was committed and not acknowledged comes again and is known;
one that was not committed comes again and is new. (store_id, seq) is the position in the edge's
log: holes in it are events this consumer never got.
"""
import argparse
import fcntl
import gzip
import http.client
import json
import os
import random
import re
import signal
import sqlite3
import sys
import threading
import time
import urllib.parse
import uuid

WAIT_MS = 20_000
REJECT_NOT_JSON = "not_json"


def say(event, **fields):
    print(f"event={event} " + " ".join(f"{k}={json.dumps(v)}" for k, v in fields.items()),
          file=sys.stderr, flush=True)


class Refused(Exception):
    """The edge answered with something other than 2xx."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status


class Lease:
    """What one answer held."""

    def __init__(self, headers, lines):
        self.id = headers["Weir-Lease"]
        self.store_id = headers["Weir-Store"]
        self.delivery = int(headers["Weir-Delivery"])
        self.events, self.rejects = [], []      # (event, its text), seqs of what is no JSON
        for line in lines:
            try:
                self.events.append((json.loads(line), line))
            except ValueError:
                found = re.search(r'"seq":"(\d+-\d+)"', line)
                self.rejects.append(found.group(1))


class Edge:
    """One edge, over one connection that is made again when it breaks."""

    def __init__(self, url, consumer, token):
        parts = urllib.parse.urlsplit(url)
        self.url, self.host, self.tls = url, parts.netloc, parts.scheme == "https"
        self.path = f"{parts.path.rstrip('/')}/pull/v1/{urllib.parse.quote(consumer, safe='')}/"
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.connection = None

    def post(self, operation, body, headers=None, timeout=60):
        if self.connection is None:
            kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
            self.connection = kind(self.host, timeout=timeout)
        try:
            self.connection.request("POST", self.path + operation, json.dumps(body),
                                    {**self.headers, **(headers or {})})
            answer = self.connection.getresponse()
            data = answer.read()
        except BaseException:
            self.close()
            raise
        if answer.status >= 300:
            raise Refused(answer.status, data)
        return answer, data

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def lease(self, max_events, wait_ms):
        """A Lease, or None when there was nothing within the wait."""
        answer, data = self.post("lease", {"max_events": max_events, "wait_ms": wait_ms},
                                 {"Accept": "application/x-ndjson", "Accept-Encoding": "gzip"},
                                 wait_ms / 1000 + 30)
        if answer.status == 204:
            return None
        if answer.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        return Lease(answer.headers, data.decode("utf-8").splitlines())

    def ack(self, lease):
        body = {"lease": lease.id}
        if lease.rejects:
            body["reject"] = [{"seq": s, "reason": REJECT_NOT_JSON} for s in lease.rejects]
        try:
            self.post("ack", body)
        except (OSError, http.client.HTTPException):
            self.post("ack", body)      # the answer was lost; a repeated ack is the same ack


# ---- where events are kept

class Files:
    """NDJSON files in a directory, with an index that makes them exactly once.

    The index (SQLite) says how many bytes of each file count. Lines are appended and synced first,
    then index and length commit together: what a crash leaves behind that length is cut off by
    whoever opens the directory next. So a line is in a file exactly when its id is in the index.
    """

    ROTATE_BYTES = 256 << 20

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.directory = directory
        self.lock = threading.Lock()
        self.db = sqlite3.connect(os.path.join(directory, "index.sqlite"), timeout=60,
                                  isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript("""
            CREATE TABLE IF NOT EXISTS seen (tenant TEXT, id TEXT, PRIMARY KEY (tenant, id)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, bytes INTEGER, events INTEGER);
            CREATE TABLE IF NOT EXISTS places (store_id TEXT, shard INTEGER, first INTEGER, last INTEGER,
                                               PRIMARY KEY (store_id, shard, first)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, value INTEGER);
            INSERT OR IGNORE INTO totals VALUES ('received', 0);""")
        self.file, self.name, self.size = None, None, 0
        self.recover()

    def recover(self):
        """Cuts what was never committed off the files of processes that are gone."""
        for name, size in self.db.execute("SELECT name, bytes FROM files").fetchall():
            path = os.path.join(self.directory, name)
            try:
                with open(path, "r+b") as f:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # Its owner may have gone on between the look and the lock.
                    (size,) = self.db.execute("SELECT bytes FROM files WHERE name = ?", (name,)).fetchone()
                    if os.fstat(f.fileno()).st_size > size:
                        f.truncate(size)
            except (BlockingIOError, FileNotFoundError):
                continue        # somebody is writing it; somebody took it away

    def open_file(self):
        self.name = time.strftime("events-%Y%m%d-%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:8] + ".ndjson"
        self.file = open(os.path.join(self.directory, self.name), "ab")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.size = 0
        folder = os.open(self.directory, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self.db.execute("INSERT INTO files VALUES (?, 0, 0)", (self.name,))

    def store(self, lease):
        """Takes what is new, durably. Returns how many events were new."""
        with self.lock:
            if self.file is None or self.size >= self.ROTATE_BYTES:
                if self.file:
                    self.file.close()
                self.open_file()
            self.db.execute("BEGIN IMMEDIATE")
            try:
                new = [text for event, text in lease.events
                       if self.db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)",
                                          (event["tenant"], event["id"])).rowcount]
                lines = "".join(text + "\n" for text in new).encode()
                self.file.truncate(self.size)       # an earlier try may have left something
                self.file.write(lines)
                self.file.flush()
                os.fdatasync(self.file.fileno())
                self.db.execute("UPDATE files SET bytes = bytes + ?, events = events + ? WHERE name = ?",
                                (len(lines), len(new), self.name))
                self.db.execute("UPDATE totals SET value = value + ? WHERE name = 'received'",
                                (len(lease.events),))
                self.note_places(lease)
                self.db.execute("COMMIT")
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.size += len(lines)
            return len(new)

    def note_places(self, lease):
        """Adds the lease's positions to the ranges of what came from its store."""
        runs = []
        for shard, number in sorted(tuple(map(int, event["seq"].split("-"))) for event, _ in lease.events):
            if runs and runs[-1][0] == shard and number <= runs[-1][2] + 1:
                runs[-1][2] = max(runs[-1][2], number)
            else:
                runs.append([shard, number, number])
        for shard, first, last in runs:
            touching = self.db.execute(
                "SELECT first, last FROM places WHERE store_id = ? AND shard = ? AND first <= ? AND last >= ?",
                (lease.store_id, shard, last + 1, first - 1)).fetchall()
            for old_first, old_last in touching:
                self.db.execute("DELETE FROM places WHERE store_id = ? AND shard = ? AND first = ?",
                                (lease.store_id, shard, old_first))
                first, last = min(first, old_first), max(last, old_last)
            self.db.execute("INSERT INTO places VALUES (?, ?, ?, ?)", (lease.store_id, shard, first, last))

    def check(self):
        gaps, expected = [], {}
        for store, shard, first, last in self.db.execute("SELECT * FROM places ORDER BY store_id, shard, first"):
            wanted = expected.get((store, shard), first)    # where a consumer begins is no gap
            if first > wanted:
                gaps.append([store, shard, wanted, first - 1])
            expected[(store, shard)] = last + 1
        (events,) = self.db.execute("SELECT count(*) FROM seen").fetchone()
        (received,) = self.db.execute("SELECT value FROM totals WHERE name = 'received'").fetchone()
        return {"events": events, "duplicates": received - events, "stores": len({s for s, _ in expected}),
                "gaps": gaps}


class ClickHouse:
    """A table that keeps one row per (tenant, id): read it with FINAL, or group by them."""

    TABLE = "weir_pulled"

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host = parts.hostname + f":{parts.port or 8123}"
        self.tls = parts.scheme == "https"
        self.headers = {}
        if parts.username:
            self.headers = {"X-ClickHouse-User": urllib.parse.unquote(parts.username),
                            "X-ClickHouse-Key": urllib.parse.unquote(parts.password or "")}
        self.query_string = parts.query
        self.local = threading.local()
        self.query(f"""CREATE TABLE IF NOT EXISTS {self.TABLE} (
            tenant String, id String, store_id String, shard UInt16, number UInt64, name String,
            source String, received_at DateTime, event String, stored Date DEFAULT today()
            ) ENGINE = ReplacingMergeTree() PARTITION BY tuple() ORDER BY (tenant, id)""")

    def query(self, sql, body=b""):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
            connection = self.local.connection = kind(self.host, timeout=120)
        path = "/?" + "&".join(x for x in (self.query_string, urllib.parse.urlencode({"query": sql})) if x)
        try:
            connection.request("POST", path, body, self.headers)
            answer = connection.getresponse()
            data = answer.read()
        except BaseException:
            self.local.connection = None
            connection.close()
            raise
        if answer.status != 200:
            raise OSError(f"ClickHouse answers {answer.status}: {data[:300]!r}")
        return data.decode()

    def store(self, lease):
        rows = []
        for event, text in lease.events:
            shard, number = map(int, event["seq"].split("-"))
            rows.append(json.dumps({
                "tenant": event["tenant"], "id": event["id"], "store_id": lease.store_id, "shard": shard,
                "number": number, "name": event["name"], "source": event["source"],
                "received_at": event["received_at"][:19].replace("T", " "), "event": text}))
        self.query(f"INSERT INTO {self.TABLE} (tenant, id, store_id, shard, number, name, source, received_at, event) "
                   "FORMAT JSONEachRow", "\n".join(rows).encode())
        return len(rows)

    def check(self):
        rows, events = map(int, self.query(f"SELECT count(), uniqExact(tenant, id) FROM {self.TABLE}").split())
        gaps = []
        places = self.query(f"SELECT DISTINCT store_id, shard, number FROM {self.TABLE} ORDER BY store_id, shard, number")
        expected = {}
        for line in places.splitlines():
            store, shard, number = line.split("\t")
            wanted = expected.get((store, shard), int(number))
            if int(number) > wanted:
                gaps.append([store, int(shard), wanted, int(number) - 1])
            expected[(store, shard)] = int(number) + 1
        return {"events": events, "duplicates": rows - events, "stores": len({s for s, _ in expected}), "gaps": gaps}


# ---- the loop

class Worker(threading.Thread):
    """One request at a time to one edge."""

    def __init__(self, edge, sink, options, stop):
        super().__init__(daemon=True)
        self.edge, self.sink, self.options, self.stop = edge, sink, options, stop
        self.taken = self.new = 0
        self.holds = False          # a lease that is not acknowledged yet
        self.refused = None         # why it ended

    def run(self):
        failures = 0
        while not self.stop.is_set():
            try:
                lease = self.edge.lease(self.options.max_events, 0 if self.options.once else WAIT_MS)
                if lease is None and self.options.once:
                    return
                if lease is not None:
                    self.take(lease)
                failures = 0
            except Refused as refused:
                if refused.status == 409:       # too late: the events come again and are known
                    say("lease_expired", edge=self.edge.url)
                    continue
                if refused.status in (401, 403, 404):
                    self.refused = str(refused)
                    say("refused", edge=self.edge.url, answer=str(refused))
                    return
                failures = self.pause(failures, refused)
            except (OSError, http.client.HTTPException, sqlite3.Error) as error:
                failures = self.pause(failures, error)
        self.edge.close()

    def take(self, lease):
        self.holds = True
        try:
            new = self.sink.store(lease)
            self.edge.ack(lease)
        finally:
            self.holds = False
        self.taken += len(lease.events)
        self.new += new

    def pause(self, failures, error):
        """Full jitter, from half a second to half a minute."""
        seconds = random.uniform(0, min(30, 0.5 * 2 ** failures))
        say("edge_failing", edge=self.edge.url, error=str(error), pause_seconds=round(seconds, 2))
        self.stop.wait(seconds)
        return failures + 1


def main(arguments):
    parser = argparse.ArgumentParser(prog="central.py pull", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--edge", action="append", default=[], metavar="URL")
    parser.add_argument("--consumer", default="central", metavar="NAME")
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument("--clickhouse", metavar="URL")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--max-events", type=int, default=1000, metavar="N")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    if bool(options.out) == bool(options.clickhouse):
        parser.error("give --out or --clickhouse")
    if not options.edge and not options.check:
        parser.error("give at least one --edge")
    sink = Files(options.out) if options.out else ClickHouse(options.clickhouse)
    if options.check:
        print(json.dumps(sink.check()))
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    token = os.environ.get("WEIR_TOKEN")
    workers = [Worker(Edge(url, options.consumer, token), sink, options, stop)
               for url in options.edge for _ in range(options.workers)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers) and not stop.is_set():
        stop.wait(0.2)
    deadline = time.monotonic() + 10
    while any(worker.holds for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)        # who only waits for events leaves: the edge notices
    say("done", taken=sum(w.taken for w in workers), new=sum(w.new for w in workers))
    return 1 if any(worker.refused for worker in workers) else 0
