"""ClickHouse: the real server, killed, with a table of its own, with poison."""
import json

from harness import event, eventually
from servers import Clickhouse
from sinks import SinkCase, clickhouse_ids


class Table(SinkCase):
    def pair(self, server, **settings):
        return self.weir(destinations=[self.sink(type="clickhouse", url=server.url(), **settings)])

    def test_01_survives_its_death_and_counts_each_event_once(self):
        server = Clickhouse(self)
        weir = self.pair(server)
        ids = self.survives_death(weir, server, lambda: clickhouse_ids(server), rounds=5)
        self.assertEqual(sorted(clickhouse_ids(server)), sorted(ids))
        self.assertEqual(server.sql("SELECT uniqExact((tenant, id)) FROM weir_events"), [str(len(ids))])

    def test_07_weir_dies_between_insert_and_mark(self):
        server = Clickhouse(self).start()
        ids = self.survives_weirs_death(self.pair(server), lambda: clickhouse_ids(server))
        self.assertEqual(len(clickhouse_ids(server)), len(ids))

    def test_02_columns_hold_what_the_event_said(self):
        server = Clickhouse(self).start()
        weir = self.pair(server)
        raw = ('{"id":"e1","name":"buy","user_id":"u\\u0000\\t2","timestamp":"2024-02-29T12:00:00.5Z",'
               '"lone":"\\ud83d","big":123456789012345678901234567890}')
        self.assertStatus(weir.post(raw), 200)
        self.assertStatus(weir.post(event(id="e2", timestamp="2200-01-01T00:00:00Z")), 200)
        eventually(lambda: sorted(clickhouse_ids(server)) == ["e1", "e2"], "the rows")
        row = json.loads(server.sql("SELECT * FROM weir_events WHERE id = 'e1' FORMAT JSONEachRow")[0])
        self.assertEqual((row["tenant"], row["name"], row["source"], row["user_id"], row["timestamp"], row["timestamp_ms"]),
                         ("default", "buy", "native", "u\0\t2", "2024-02-29 12:00:00", "1709208000500"))
        self.assertEqual(row["raw"], raw)
        self.assertEqual(server.sql("SELECT toUInt32(timestamp), timestamp_ms FROM weir_events WHERE id = 'e2'"),
                         ["4294967295\t7258118400000"])

    def test_03_formats_on_the_wire(self):
        server = Clickhouse(self).start()
        for compression in ("none", "gzip"):
            with self.subTest(compression):
                weir = self.pair(server, compression=compression)
                ids = self.send(weir, 100)
                eventually(lambda: set(ids) <= set(clickhouse_ids(server)), "the events")

    def test_04_poison_for_a_table_of_ones_own_stands_alone(self):
        server = Clickhouse(self).start()
        server.sql("CREATE TABLE weir_events (tenant String, id String, received_at DateTime, user_id UInt32) "
                   "ENGINE = ReplacingMergeTree() PARTITION BY toYYYYMM(received_at) ORDER BY (tenant, id)")
        weir = self.pair(server, create_table=False, batch={"linger": "200ms", "max_events": 1000})
        self.isolates_one_poison_row(
            weir, 777, r"^clickhouse_\d+$",
            lambda: tuple(map(int, server.sql("SELECT count(), sum(user_id) FROM weir_events FINAL")[0].split("\t"))))

    def test_05_a_dropped_table_is_made_again(self):
        server = Clickhouse(self).start()
        weir = self.pair(server)
        self.a_dropped_table_comes_back(weir, server, lambda: clickhouse_ids(server))

    def test_06_a_wrong_user_and_a_hanging_server_fail_nothing(self):
        server = Clickhouse(self).start()
        weir = self.weir(destinations=[self.sink("d", type="clickhouse", url=server.url(), request_timeout="1s"),
                                       self.sink("wrong", type="clickhouse", url=server.url(), user="nobody",
                                                 password="hidden")])
        self.send(weir, 10)
        self.settles(weir, sent=10)
        self.complains(weir, "Unknown user", "wrong")
        self.assertNotIn("hidden", weir.log())
        server.pause()
        ids = self.send(weir, 10)
        eventually(lambda: weir.metric("weir_forward_attempts_total", destination="d", **{"class": "network"}) > 0,
                   lambda: weir.log()[-1500:])
        server.resume()
        self.settles(weir, sent=20, failed=0, pending=0)
        self.assertLessEqual(set(ids), set(clickhouse_ids(server)))
        self.assertEqual(self.destination(weir, "wrong")["failed"], 0)
