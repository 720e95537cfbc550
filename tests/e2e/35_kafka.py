"""Kafka: librdkafka's mock cluster in a process of its own, down, slow, refusing, hanging."""
import json

import harness
from harness import event, eventually
from proxies import KafkaFrames, Proxy
from servers import Kafka
from sinks import SinkCase

# rd_kafka_resp_err_t
NOT_LEADER, NOT_ENOUGH_REPLICAS, STORAGE_ERROR = 6, 19, 56


class Cluster(SinkCase):
    def pair(self, cluster, **settings):
        settings = {"request_timeout": "3s", **settings}
        settings["properties"] = {"reconnect.backoff.max.ms": "200", **settings.get("properties", {})}
        return self.weir(destinations=[self.sink(type="kafka", url=cluster.url(), **settings)])

    def ids(self, cluster):
        return [m["id"] for m in cluster.messages()]

    def test_01_survives_the_clusters_absence(self):
        cluster = Kafka(self).start()
        cluster.tell("down")
        weir = self.pair(cluster)
        ids = self.send(weir, 200)
        eventually(lambda: weir.metric("weir_forward_attempts_total", destination="d", **{"class": "network"}) > 0,
                   lambda: weir.log()[-1500:])
        cluster.tell("up")
        for number in range(6):
            ids += self.send(weir, 200)
            if number in (1, 3):
                eventually(lambda: self.destination(weir)["sent"] > 0, "something is sent")
                cluster.tell("down")
                ids += self.send(weir, 200)
                cluster.tell("up")
        self.assertExactly(ids, lambda: self.ids(cluster))
        self.settles(weir, sent=len(ids), failed=0, pending=0)

    def test_10_killed_brokers_that_come_back_on_the_same_port_lose_nothing_they_had_not_reported(self):
        """kill -9 of the brokers' process with batches in its hands. The mock keeps its log in memory: another begins
        empty. What the first had reported its reader has seen, so in the end each event is with one or the other."""
        first = Kafka(self, brokers=1).start()
        proxy = Proxy(self, first.broker_port(), KafkaFrames)
        weir = self.weir(destinations=[self.sink(
            type="kafka", url=f"kafka://127.0.0.1:{proxy.port}", request_timeout="2s", batch={"max_events": 100},
            properties={"reconnect.backoff.max.ms": "100"})])
        ids = [i for _ in range(4) for i in self.send(weir, 200)]
        eventually(lambda: self.destination(weir)["sent"] > 0, "something is sent")
        proxy.mode = "stall"                    # wherever it is just now
        ids += self.send(weir, 400)
        eventually(lambda: weir.metric("weir_forward_in_flight_batches", destination="d") > 0, "a batch in flight")
        sent = self.destination(weir)["sent"]
        eventually(lambda: len(set(self.ids(first))) >= sent, "its reader has what it reported")
        first.kill()
        second = Kafka(self, brokers=1).start()
        proxy.upstream = second.broker_port()
        proxy.mode = "pass"
        ids += self.send(weir, 200)
        self.settles(weir, sent=len(ids), failed=0, pending=0)
        before = set(self.ids(first))
        self.assertLess(sent, len(ids) - 500)   # it died with work in its hands
        self.assertExactly([i for i in ids if i not in before], lambda: set(self.ids(second)) - before)

    def test_09_weir_dies_between_report_and_mark(self):
        cluster = Kafka(self).start()
        self.survives_weirs_death(self.pair(cluster), lambda: self.ids(cluster))

    def test_02_a_message_is_key_headers_and_event(self):
        cluster = Kafka(self).start()
        weir = self.pair(cluster)
        self.assertStatus(weir.post([event(id="e1", user_id="u1", price=5), event(id="e2", session_id="s2"),
                                     event(id="e3")]), 200)
        eventually(lambda: len(cluster.messages()) == 3, "three messages")
        by_id = {m["id"]: m for m in cluster.messages()}
        self.assertEqual({i: m["key"] for i, m in by_id.items()}, {"e1": "u1", "e2": "s2", "e3": "e3"})
        self.assertEqual(by_id["e1"]["tenant"], "default")
        body = json.loads(by_id["e1"]["value"])
        self.assertEqual((body["id"], body["raw"]["price"]), ("e1", 5))
        self.assertTrue(by_id["e1"]["batch_id"].startswith(body["store_id"]))

    def test_03_refusals_that_pass_are_retried(self):
        cluster = Kafka(self).start()
        weir = self.pair(cluster)
        for code in (NOT_LEADER, NOT_ENOUGH_REPLICAS, STORAGE_ERROR):
            with self.subTest(code):
                cluster.tell("fail", code, 5)
                ids = self.send(weir, 50)
                eventually(lambda: set(ids) <= set(self.ids(cluster)), "the events")
        self.settles(weir, sent=150, failed=0, pending=0)

    def test_04_one_message_that_is_too_large_stands_alone(self):
        cluster = Kafka(self).start()
        weir = self.pair(cluster, properties={"message.max.bytes": "20000"})
        events = [event(id=f"e{i}", text="x" * (30_000 if i == 150 else 10)) for i in range(300)]
        self.assertStatus(weir.post(events), 200)
        self.settles(weir, sent=299, failed=1, pending=0)
        letter, = self.failed(weir, 1)
        self.assertEqual((letter["event_id"], letter["reason"]), ("e150", "too_large"))
        self.assertExactly([e["id"] for e in events if e["id"] != "e150"], lambda: self.ids(cluster))

    def test_05_a_slow_cluster_is_no_failure(self):
        cluster = Kafka(self).start()
        weir = self.pair(cluster)
        cluster.tell("slow", 300)
        ids = self.send(weir, 500)
        self.assertExactly(ids, lambda: self.ids(cluster))
        self.settles(weir, sent=500, failed=0, pending=0)

    def test_06_a_hanging_cluster_holds_back_nobody_and_not_the_end(self):
        cluster = Kafka(self).start()
        central = self.central()
        weir = self.weir(destinations=[
            self.sink(type="kafka", url=cluster.url(), request_timeout="2s"),
            harness.destination("good", central.port)], settings={"server.drain_seconds": "2"})
        ids = self.send(weir, 100)
        self.settles(weir, sent=100)
        cluster.pause()
        more = self.send(weir, 100)
        self.assertArrives(central, more, timeout=10)
        self.assertEqual(weir.stop(), 0)
        cluster.resume()
        weir.start()
        self.assertExactly(ids + more, lambda: self.ids(cluster))
        self.settles(weir, sent=200, failed=0, pending=0)

    def test_07_formats_on_the_wire(self):
        cluster = Kafka(self).start()
        for compression in ("none", "gzip", "zstd"):
            with self.subTest(compression):
                weir = self.pair(cluster, compression=compression)
                ids = self.send(weir, 100)
                eventually(lambda: set(ids) <= set(self.ids(cluster)), "the events")

    def test_08_a_property_that_librdkafka_refuses_is_said_at_the_start(self):
        weir = self.weir(start=False, destinations=[self.sink(type="kafka", url="kafka://127.0.0.1:1",
                                                              properties={"no.such.thing": "1"})])
        weir.launch()
        self.assertNotEqual(weir.wait(), 0)
        self.assertIn("no.such.thing", weir.log())
