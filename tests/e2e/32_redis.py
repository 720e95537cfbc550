"""Redis Streams: the real redis-server, killed, full, read-only, without a password."""
import json
import time

import harness
from harness import event, eventually
from servers import Redis
from sinks import SinkCase, redis_ids


class RedisStreams(SinkCase):
    def pair(self, server, **settings):
        return self.weir(destinations=[self.sink(type="redis", url=f"redis://127.0.0.1:{server.port}/0", **settings)])

    def test_01_survives_its_death_and_adds_nothing_twice(self):
        server = Redis(self)
        weir = self.pair(server)
        ids = self.survives_death(weir, server, lambda: redis_ids(server))
        self.assertEqual(sorted(redis_ids(server)), sorted(ids))  # not even a repeated entry

    def test_02_an_entry_is_tenant_id_and_event(self):
        server = Redis(self).start()
        weir = self.pair(server, stream="mine")
        weir.post(event(id="e1", user_id="u", text="tab\t nul\u0000 emoji 😀"))
        entry, = eventually(lambda: server.entries("mine"), "an entry")
        self.assertEqual((entry["id"], entry["tenant"]), ("e1", "default"))
        body = json.loads(entry["event"])
        self.assertEqual((body["id"], body["user_id"], body["raw"]["text"]), ("e1", "u", "tab\t nul\u0000 emoji 😀"))
        self.assertRegex(body["store_id"], r"^[0-9a-f-]{36}$")

    def test_03_a_lost_answer_adds_nothing(self):
        server = Redis(self).start()
        ids = self.survives_weirs_death(self.pair(server), lambda: redis_ids(server))
        self.assertEqual(len(redis_ids(server)), len(ids))

    def test_04_out_of_memory_and_read_only_are_waited_for(self):
        server = Redis(self).start()
        weir = self.pair(server)
        for setting, bad, good, word in (("maxmemory", "1", "0", "OOM"),
                                         ("min-replicas-to-write", "1", "0", "NOREPLICAS")):
            with self.subTest(word):
                server.run("CONFIG", "SET", setting, bad)
                ids = self.send(weir, 50)
                self.complains(weir, word)
                self.settles(weir, pending=50, failed=0)
                server.run("CONFIG", "SET", setting, good)
                eventually(lambda: set(ids) <= set(redis_ids(server)), "the events")

    def test_05_a_key_of_another_type_fails_nothing(self):
        server = Redis(self).start()
        server.run("SET", "weir:events", "a string")
        weir = self.pair(server)
        ids = self.send(weir, 20)
        self.complains(weir, "WRONGTYPE")
        self.settles(weir, pending=20, failed=0)
        server.run("DEL", "weir:events")
        self.assertExactly(ids, lambda: redis_ids(server))

    def test_06_password_and_database(self):
        server = Redis(self, requirepass="s3cret")
        server.answers = lambda: super(Redis, server).answers()
        server.start()
        weir = self.weir(destinations=[
            self.sink("d", type="redis", url=f"redis://127.0.0.1:{server.port}/3", password="s3cret"),
            self.sink("wrong", type="redis", url=f"redis://127.0.0.1:{server.port}/3", password="nope", stream="w")])
        self.send(weir, 10)
        self.settles(weir, sent=10)
        self.complains(weir, "WRONGPASS", "wrong")
        self.assertNotIn("s3cret", weir.log())
        self.assertEqual(self.destination(weir, "wrong")["pending"], 10)

    def test_07_the_stream_is_trimmed_when_asked(self):
        server = Redis(self, **{"stream-node-max-entries": "10"}).start()
        weir = self.pair(server, max_length=100)
        for _ in range(5):
            self.send(weir, 200)
        self.settles(weir, sent=1000)
        self.assertLess(server.run("XLEN", "weir:events"), 400)

    def test_08_a_hanging_server_holds_back_nobody(self):
        server = Redis(self).start()
        central = self.central()
        weir = self.weir(destinations=[
            self.sink("d", type="redis", url=f"redis://127.0.0.1:{server.port}", request_timeout="500ms"),
            harness.destination("good", central.port)])
        self.send(weir, 10)
        self.settles(weir, sent=10)
        server.pause()
        ids = self.send(weir, 50)
        self.assertArrives(central, ids, timeout=10)
        self.complains(weir, "within request_timeout")
        started = time.monotonic()
        self.assertEqual(weir.stop(), 0)
        self.assertLess(time.monotonic() - started, 15)
        server.resume()
        weir.start()
        self.settles(weir, sent=60, failed=0, pending=0)
        self.assertLessEqual(set(ids), set(redis_ids(server)))

    def test_09_an_event_larger_than_redis_takes_stands_alone(self):
        server = Redis(self, **{"proto-max-bulk-len": "1mb"}).start()
        weir = self.weir(destinations=[self.sink(type="redis", url=f"redis://127.0.0.1:{server.port}/0",
                                                 batch={"linger": "100ms", "max_bytes": "8MiB"})],
                         settings={"limits.event_bytes": "2MiB"})
        events = [event(id=f"e{i}", text="x" * (1_200_000 if i == 30 else 10)) for i in range(60)]
        self.assertStatus(weir.post(events), 200)
        self.settles(weir, sent=59, failed=1, pending=0)
        letter, = self.failed(weir, 1)
        self.assertEqual((letter["event_id"], letter["reason"]), ("e30", "too_large"))
        self.assertEqual(sorted(redis_ids(server)), sorted(e["id"] for e in events if e["id"] != "e30"))
