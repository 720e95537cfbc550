"""The same faults at every kind of receiver at once: what each does then, and that the others notice nothing.

docs/testing.md has the whole table of faults and receivers, with the tests of the other files."""
import glob
import os
import re
import threading
import time
import unittest

import harness
from harness import ROOT, destination, eventually
from proxies import KafkaFrames, Proxy, front
from servers import Clickhouse, Kafka, Nginx, Postgresql, Redis, certificate, fill_disk
from sinks import SinkCase, clickhouse_ids, postgresql_ids, redis_ids

# What a repeated batch leaves twice: the receiver dedupes by (tenant, id).
AT_LEAST_ONCE = ("http", "kafka")


class Kind:
    """A receiver of one kind: its port, the entry of a destination at another port, the ids it has."""

    def __init__(self, port, entry, ids):
        self.port, self.entry, self.ids = port, entry, ids


class Receivers(SinkCase):
    def servers(self, **makers):
        """{name: a started server}, all at the same time. What is not installed is left out, and said."""
        made, missing = {}, []

        def make(name, maker):
            try:
                made[name] = maker().start()
            except unittest.SkipTest as why:
                missing.append(str(why))
        threads = [threading.Thread(target=make, args=item) for item in makers.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if missing and not made:
            self.skipTest("; ".join(missing))
        for why in missing:
            print(f"     left out: {why}")
        return made

    def all_kinds(self):
        central = self.central()
        up = self.servers(kafka=lambda: Kafka(self, brokers=1), clickhouse=lambda: Clickhouse(self),
                          redis=lambda: Redis(self), postgresql=lambda: Postgresql(self))
        kinds = {"http": Kind(central.port, lambda port: {"url": f"http://127.0.0.1:{port}/in", "compression": "none"},
                              lambda: [i for (_, i), times in central.received.items() for _ in range(times)])}
        for name, entry, ids in (
                ("clickhouse", lambda port: {"url": f"http://127.0.0.1:{port}/", "compression": "none"}, clickhouse_ids),
                ("redis", lambda port: {"url": f"redis://127.0.0.1:{port}/0"}, redis_ids),
                ("postgresql", lambda port: {"url": f"postgresql://weir@127.0.0.1:{port}/postgres"}, postgresql_ids)):
            if name in up:
                kinds[name] = Kind(up[name].port, entry, lambda ids=ids, server=up[name]: ids(server))
        if "kafka" in up:
            kinds["kafka"] = Kind(
                up["kafka"].broker_port(),
                lambda port: {"url": f"kafka://127.0.0.1:{port}", "compression": "none",
                              "properties": {"reconnect.backoff.max.ms": "100"}},
                lambda: [m["id"] for m in up["kafka"].messages()])
        return kinds

    def failures(self, weir, name):
        return sum(weir.metric("weir_forward_attempts_total", destination=name, **{"class": kind})
                   for kind in ("network", "retry"))


class OnTheWire(Receivers):
    def test_01_slow_stalled_and_reset_connections_lose_nothing_and_hold_back_nobody(self):
        kinds = self.all_kinds()
        proxies = {name: Proxy(self, kind.port, KafkaFrames if name == "kafka" else lambda _: bytes)
                   for name, kind in kinds.items()}
        good = self.central()
        weir = self.weir(destinations=[
            *(self.sink(name, type=name, request_timeout="1s", **kind.entry(proxies[name].port))
              for name, kind in kinds.items()), destination("good", good.port)])
        ids = self.send(weir, 20)
        for name in kinds:
            self.settles(weir, name, sent=20)
        for mode in ("slow", "reset", "stall") if harness.LONG else ("slow", "reset"):
            before = {name: self.failures(weir, name) for name in kinds}
            for proxy in proxies.values():
                proxy.mode = mode
            more = self.send(weir, 300, text="x" * 300)
            self.assertArrives(good, more, timeout=10)
            for name in kinds:
                with self.subTest(mode=mode, receiver=name):
                    eventually(lambda: proxies[name].struck, "the fault")
                    if name != "kafka" or harness.LONG:     # librdkafka takes ten seconds to give a request up
                        eventually(lambda: self.failures(weir, name) > before[name],
                                   lambda: f"no attempt failed: {self.destination(weir, name)}\n{weir.log()[-1500:]}")
                    have = self.destination(weir, name)
                    self.assertEqual((have["pending"], have["failed"]), (300, 0))
            ids += more
            for proxy in proxies.values():
                proxy.mode = "pass"
            for name in kinds:
                with self.subTest(mode=mode, receiver=name):
                    self.settles(weir, name, sent=len(ids), failed=0, pending=0)
        for name, kind in kinds.items():
            with self.subTest(receiver=name):
                self.assertExactly(ids, kind.ids)
                if name not in AT_LEAST_ONCE:
                    self.assertEqual(len(kind.ids()), len(ids), "something is there twice")


class Answers(Receivers):
    """HTTP and ClickHouse behind something that answers for them."""

    def setUp(self):
        super().setUp()
        central = self.central()
        up = self.servers(clickhouse=lambda: Clickhouse(self))
        self.kinds = {"http": Kind(central.port, None, lambda: [i for _, i in central.received])}
        if "clickhouse" in up:
            self.kinds["clickhouse"] = Kind(up["clickhouse"].port, None, lambda: clickhouse_ids(up["clickhouse"]))
        self.fronts = {name: front(self, kind.port) for name, kind in self.kinds.items()}
        self.running = self.weir(destinations=[
            self.sink(name, type=name, url=f"http://127.0.0.1:{self.fronts[name].port}/in", compression="none",
                      batch={"linger": "20ms", "max_events": 100}) for name in self.kinds])
        self.ids = self.send(self.running, 10)
        for name in self.kinds:
            self.settles(self.running, name, sent=10)

    def fail(self, **fault):
        for one in self.fronts.values():
            one.fail(**fault)

    def arrives(self):
        for name, kind in self.kinds.items():
            with self.subTest(receiver=name):
                self.settles(self.running, name, sent=len(self.ids), failed=0, pending=0)
                self.assertExactly(self.ids, kind.ids)

    def test_02_too_many_requests_waits_as_long_as_it_says(self):
        self.fail(status=429, headers={"Retry-After": "2"}, times=1)
        started = time.monotonic()
        self.ids += self.send(self.running, 50)
        self.arrives()
        self.assertGreater(time.monotonic() - started, 1.9)
        for name in self.kinds:
            self.assertEqual(self.fronts[name].refused, 1, name)

    def test_03_a_server_error_and_a_gateway_without_space_are_waited_for(self):
        for status in (500, 507):
            self.fail(status=status)
            more = self.send(self.running, 50)
            for name in self.kinds:
                eventually(lambda: self.fronts[name].refused >= 3, f"{name} to be asked again")
                self.settles(self.running, name, pending=50, failed=0)
            self.fail()
            self.ids += more
            self.arrives()

    def test_04_too_large_is_cut_until_it_fits(self):
        self.fail(status=413, above=20_000)
        self.ids += self.send(self.running, 100, text="x" * 500)
        self.arrives()
        for name in self.kinds:
            self.assertGreaterEqual(self.fronts[name].refused, 3, name)

    def test_05_a_redirect_is_not_followed(self):
        self.fail(status=307, headers={"Location": f"http://127.0.0.1:{self.central().port}/elsewhere"})
        refused = self.send(self.running, 5)
        self.settles(self.running, "http", failed=5, pending=0)     # an answer like any other 4xx
        self.assertEqual({row["reason"] for row in self.failed(self.running, 5)}, {"redirect"})
        self.fail()
        if "clickhouse" in self.kinds:                              # it says nothing about a row: waited for
            self.settles(self.running, "clickhouse", sent=15, failed=0, pending=0)
            self.assertLessEqual(set(refused), set(self.kinds["clickhouse"].ids()))


class Certificates(Receivers):
    def test_06_a_wrong_certificate_is_named_and_waited_for(self):
        other = certificate(self, "elsewhere.example", "192.0.2.1")
        up = self.servers(clickhouse=lambda: Clickhouse(self), postgresql=lambda: Postgresql(self, tls=other))
        good = self.central()
        behind = Nginx(self, up["clickhouse"].port if "clickhouse" in up else good.port, tls=other).start()
        entries = {
            "http": {"url": f"https://127.0.0.1:{behind.port}/in"},
            "clickhouse": {"url": f"https://127.0.0.1:{behind.port}/", "tls": {"ca_file": other[0]}},
            "kafka": {"url": f"kafka://127.0.0.1:{behind.port}", "request_timeout": "2s",
                      "properties": {"security.protocol": "SSL", "reconnect.backoff.max.ms": "100"}}}
        if "postgresql" in up:
            entries["postgresql"] = {"url": f"postgresql://weir@127.0.0.1:{up['postgresql'].port}/postgres"
                                            f"?sslmode=verify-full&sslrootcert={other[0]}"}
        weir = self.weir(destinations=[*(self.sink(name, type=name, **entry) for name, entry in entries.items()),
                                       destination("good", good.port)])
        ids = self.send(weir, 20)
        self.assertArrives(good, ids, timeout=10)
        for name, words in (("http", "certificate"), ("clickhouse", "127.0.0.1"), ("kafka", "certificate"),
                            ("postgresql", "elsewhere.example")):
            if name not in entries:
                continue
            with self.subTest(receiver=name):
                self.complains(weir, words, name)
                have = self.destination(weir, name)
                self.assertEqual((have["pending"], have["failed"]), (20, 0))


class Disks(Receivers):
    def test_07_a_disk_that_is_full_under_the_receiver_is_waited_for(self):
        up = self.servers(clickhouse=lambda: Clickhouse(self, disk="64m"),
                          postgresql=lambda: Postgresql(self, disk="96m"))
        entries = {"clickhouse": lambda server: {"url": server.url()}, "postgresql": lambda server: {"url": server.url()}}
        ids_of = {"clickhouse": clickhouse_ids, "postgresql": postgresql_ids}
        good = self.central()
        weir = self.weir(destinations=[*(self.sink(name, type=name, **entries[name](server)) for name, server in up.items()),
                                       destination("good", good.port)])
        ids = self.send(weir, 20)
        for name in up:
            self.settles(weir, name, sent=20)
        ballast = [fill_disk(server.directory, 300_000) for server in up.values()]
        for _ in range(3):
            ids += self.send(weir, 200, text=os.urandom(4_000).hex())       # 4.8 MB in all
        self.assertArrives(good, ids, timeout=15)
        for name, words in (("clickhouse", "space"), ("postgresql", "No space left on device")):
            if name in up:
                with self.subTest(receiver=name):
                    self.complains(weir, words, name)
                    have = self.destination(weir, name)
                    self.assertGreater(have["pending"], 0)
                    self.assertEqual(have["failed"], 0)
        for path in ballast:
            os.unlink(path)
        for name, server in up.items():
            with self.subTest(receiver=name):
                self.settles(weir, name, sent=len(ids), failed=0, pending=0, timeout=40)
                self.assertExactly(ids, lambda: ids_of[name](server))
                self.assertEqual(len(ids_of[name](server)), len(ids), "something is there twice")


class Table(unittest.TestCase):
    """docs/testing.md: every fault has an answer for every kind of receiver, and the tests it names exist."""

    def test_08_the_table_of_faults_names_tests_that_exist(self):
        with open(os.path.join(ROOT, "docs", "testing.md"), encoding="utf-8") as f:
            rows = re.search(r"\n\| fault \|.*?\n\n", f.read(), re.S).group().strip().splitlines()
        kinds = [cell.strip() for cell in rows[0].strip("| ").split("|")][1:]
        self.assertEqual(kinds, ["http", "kafka", "clickhouse", "redis", "postgresql", "file"])
        self.assertGreaterEqual(len(rows), 2 + 14)
        for row in rows[2:]:
            fault, *cells = (cell.strip() for cell in row.strip("|").split("|"))
            self.assertEqual(len(cells), len(kinds), row)
            for cell in cells:
                named = re.findall(r"\b(\d\d) (test_\d\d)\b", cell)
                self.assertTrue(named or cell.startswith("–"), f"{fault}: {cell!r} names no test and no reason")
                for file, test in named:
                    (path,) = glob.glob(os.path.join(ROOT, "tests", "e2e", f"{file}_*.py"))
                    with open(path, encoding="utf-8") as f:
                        self.assertIn(f"def {test}_", f.read(), f"{fault}: {file} {test}")
