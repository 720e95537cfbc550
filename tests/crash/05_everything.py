"""Everything dies in turn while weir-bench sends: the edge, Redis, PostgreSQL, the central server that pulls.

In the end the edge, Redis, PostgreSQL and the central server hold the same events, each once, and all that
was acknowledged. 20,000 events in the suite; a million with --long, or as many as WEIR_EVENTS says.
"""
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import harness  # noqa: E402
from harness import LONG, eventually  # noqa: E402
from servers import Postgresql, Redis  # noqa: E402
from sinks import SinkCase  # noqa: E402

CENTRAL = os.path.join(harness.ROOT, "tools", "central", "central.py")
BENCH = os.path.join(os.path.dirname(os.path.join(harness.ROOT, harness.BINARY)), "weir-bench")
EVENTS = int(os.environ.get("WEIR_EVENTS", 1_000_000 if LONG else 20_000))
PER_REQUEST = 20
PATIENCE = 600 if LONG else 60


class Everything(SinkCase):
    def start_puller(self):
        self.puller = subprocess.Popen(
            [sys.executable, "-B", CENTRAL, "pull", "--edge", f"http://127.0.0.1:{self.edge.admin}",
             "--consumer", "central", "--out", self.out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end_puller(self):
        if self.puller.poll() is None:
            self.puller.kill()
        self.puller.wait()

    def kill_edge(self):
        self.edge.kill()
        self.edge.start()

    def kill_server(self, server):
        server.kill()
        time.sleep(0.3)
        server.start()

    def kill_puller(self):
        self.end_puller()
        self.start_puller()

    def begin(self):
        self.redis, self.postgresql = Redis(self).start(), Postgresql(self).start()
        self.out = os.path.join(self.directory, "central")
        self.edge = self.weir(
            destinations=[
                self.sink("redis", type="redis", url=f"redis://127.0.0.1:{self.redis.port}/0"),
                self.sink("postgresql", type="postgresql", url=self.postgresql.url())],
            sections={"consumers": [{"name": "central", "from": "earliest", "lease_seconds": 5}]},
            settings={"store.segment_bytes": "8MiB"})
        self.start_puller()
        self.addCleanup(self.end_puller)

    def load(self):
        """One weir-bench run in the background; its result when it has ended."""
        self.result = os.path.join(self.directory, "bench.json")
        return subprocess.Popen(
            [BENCH, f"http://127.0.0.1:{self.edge.ingest}/v1/events", "-c", "16", "-m", str(PER_REQUEST),
             "-n", str(EVENTS // PER_REQUEST), "-r", str(max(EVENTS // PER_REQUEST // (240 if LONG else 8), 1)),
             "-d", "1h", "--warmup", "0", "--no-live", "--json", self.result],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def kill_in_turn(self, bench):
        """Until the load has ended: how often what was killed."""
        rounds = 0
        turn = [self.kill_edge, lambda: self.kill_server(self.redis), self.kill_puller,
                lambda: self.kill_server(self.postgresql)]
        while bench.poll() is None:
            time.sleep(0.5)
            turn[rounds % len(turn)]()
            rounds += 1
        return rounds

    def left(self):
        stats = self.edge.stats()
        lanes = {**stats["destinations"], **stats["consumers"]}
        return {name: lanes[name]["pending"] for name in ("redis", "postgresql", "central")}

    def counts(self):
        stored = self.redis.run("XRANGE", "weir:events", "-", "+") if EVENTS <= 100_000 else None
        redis = len({dict(zip(f[::2], f[1::2]))["id"] for _, f in stored}) if stored is not None else \
            self.redis.run("XLEN", "weir:events")
        checked = subprocess.run([sys.executable, "-B", CENTRAL, "pull", "--out", self.out, "--check"],
                                 capture_output=True, text=True, timeout=300, check=True)
        central = json.loads(checked.stdout)
        self.assertEqual(central["gaps"], [])
        rows, distinct = self.postgresql.sql(
            "SELECT count(*), count(DISTINCT (tenant, id)) FROM weir_events")[0].split("\t")
        self.assertEqual(rows, distinct, "PostgreSQL holds an event twice")
        return {"edge": self.edge.stats()["accepted"], "redis": redis, "postgresql": int(rows),
                "central": central["events"]}

    def test_all_hold_the_same_events_whoever_died(self):
        self.begin()
        bench = self.load()
        self.addCleanup(lambda: bench.poll() is None and bench.kill())
        kills = self.kill_in_turn(bench)
        output, _ = bench.communicate()
        self.assertTrue(os.path.exists(self.result), output)
        with open(self.result, encoding="utf-8") as f:
            result = json.load(f)
        eventually(lambda: not any(self.left().values()), lambda: f"{self.left()} are left\n{self.edge.log()[-1500:]}",
                   PATIENCE)
        counts = self.counts()
        print(f"     {kills} kills; weir-bench: {result['events']} acknowledged; {counts}")
        self.assertEqual(len(set(counts.values())), 1, counts)
        self.assertGreaterEqual(counts["edge"], result["events"])
        self.assertGreater(result["events"], EVENTS // 2, output)
        for name in ("redis", "postgresql"):
            self.assertEqual(self.destination(self.edge, name)["failed"], 0)
