"""Kills at the two moments that matter on the way out, and millions of events that wait or expire."""
import json
import random
import time

import harness
from harness import Case, destination, event, eventually, request


class Kills(Case):
    def test_01_between_send_and_mark_the_same_batch_comes_again(self):
        central = self.central()
        central.fault(mode="slow", seconds=30)      # takes the batch, and has not answered
        weir = self.weir(destinations=[destination("main", central.port, batch={"max_events": 50})])
        ids = [f"e-{i}" for i in range(200)]
        self.assertStatus(weir.post([event(id=i) for i in ids]), 200)
        eventually(lambda: central.received, "a batch that was taken")
        time.sleep(0.2)
        weir.kill()
        taken = {batch: events[0] for batch, events in central.batches.items()}
        central.fault()
        weir.start()
        self.assertArrives(central, ids)
        for batch, events in taken.items():
            self.assertEqual(central.batches[batch][1:], [events], "the same id with the same events, once more")
        self.assertFalse(central.stored_twice())
        eventually(lambda: (s := weir.stats())["sent"] == 200 and s["pending"] == 0, lambda: weir.stats())

    def test_02_between_mark_and_deletion_nothing_is_lost_and_nothing_stays(self):
        central = self.central()
        # Everything that is finished may go at once: segments are deleted all the time.
        weir = self.weir(destinations=[destination("main", central.port, batch={"max_events": 100})],
                         settings={"store.segment_bytes": "512KiB", "limits.event_bytes": "64KiB",
                                   "store.retention": "0ms", "dedupe.window": "1m"})
        dice = random.Random(1)
        ids = []
        for step in range(5):
            for n in range(12):
                part = [f"e-{step}-{n}-{i}" for i in range(100)]
                self.assertStatus(weir.post([event(id=i, p="x" * 500) for i in part]), 200)
                ids += part
            time.sleep(dice.uniform(0.05, 0.4))
            weir.kill()
            weir.start()
        self.assertArrives(central, ids, timeout=60)
        self.assertFalse(central.stored_twice())
        eventually(lambda: (s := weir.stats())["sent"] == len(ids) and s["pending"] == 0, lambda: weir.stats())
        eventually(lambda: weir.metric("weir_store_segments") <= 3, "finished segments are gone")
        self.assertEqual(weir.stop(), 0)
        done = weir.cli("store", "verify", "--data", weir.data, "--json", server=False)
        self.assertEqual(json.loads(done.stdout)["problems"], [])


class Millions(Case):
    """Short: 50,000 events; --long: five million."""
    EVENTS = 5_000_000 if harness.LONG else 50_000

    def test_03_millions_wait_then_expire_at_once(self):
        weir = self.weir(destinations=[destination("away", harness.free_port())],
                         settings={"store.max_bytes": "20GiB", "store.reserve_bytes": "1MiB",
                                   "store.segment_bytes": "64MiB" if harness.LONG else "1MiB",
                                   "limits.event_bytes": "64KiB", "limits.request_events": "20000"})
        # Without ids: one body may be sent as often as one likes.
        body = json.dumps([{"name": "n"}] * 5000)
        for _ in range(self.EVENTS // 5000):
            self.assertStatus(weir.post(body), 200)
        self.assertEqual(weir.stats()["pending"], self.EVENTS)
        started = time.monotonic()
        weir.restart(timeout=120)
        self.assertLess(time.monotonic() - started, 30 if harness.LONG else 15)
        self.assertEqual(weir.stats()["pending"], self.EVENTS)
        # A limit comes by reload; everything above it goes in one step, as ranges.
        weir.destinations[0].update({"max_backlog_bytes": "1MiB", "backlog_policy": "drop_oldest"})
        weir.write_config()
        self.assertStatus(request(weir.admin, "POST", "/api/v1/reload", b""), 200)
        started = time.monotonic()
        eventually(lambda: weir.metric("weir_events_expired_total") > self.EVENTS * 0.6, "most are given up")
        self.assertLess(time.monotonic() - started, 15)
        rows = weir.get_admin("/api/v1/failed/expired").json["expired"]
        self.assertLess(len(rows), 50)
        self.assertStatus(weir.post(event()), 200)
        stats = weir.stats()
        self.assertEqual(stats["pending"] + stats["failed"], self.EVENTS + 1)
