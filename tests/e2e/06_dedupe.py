"""Once in the store: across requests, connections, reactors and restarts."""
import threading

import harness
from harness import Case, event, eventually, unique


class Dedupe(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[harness.destination("d", self.upstream.port)], shards=2)

    def outcome(self, response):
        self.assertStatus(response, 200)
        return response.json["accepted"], response.json["duplicates"]

    def test_01_in_one_request(self):
        one = event()
        self.assertEqual(self.outcome(self.w.post([one, one, one])), (1, 2))

    def test_02_across_requests_and_forms(self):
        one = event()
        self.assertEqual(self.outcome(self.w.post(one)), (1, 0))
        self.assertEqual(self.outcome(self.w.post([one])), (0, 1))
        self.assertEqual(self.outcome(self.w.post({"id": one["id"], "name": "other", "x": 1})), (0, 1))

    def test_03_across_restarts(self):
        events = [event() for _ in range(300)]
        self.assertEqual(self.outcome(self.w.post(events)), (300, 0))
        self.w.restart()
        self.assertEqual(self.outcome(self.w.post(events)), (0, 300))
        self.w.kill()
        self.w.start()
        self.assertEqual(self.outcome(self.w.post(events)), (0, 300))

    def test_04_the_same_event_at_once_on_many_connections(self):
        rounds, width = 30, 12
        totals = [0, 0]
        lock = threading.Lock()
        for _ in range(rounds):
            one = event()
            barrier = threading.Barrier(width)

            def send():
                barrier.wait()
                accepted, duplicates = self.outcome(self.w.post(one))
                with lock:
                    totals[0] += accepted
                    totals[1] += duplicates
            threads = [threading.Thread(target=send) for _ in range(width)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(totals, [rounds, rounds * (width - 1)])
        eventually(lambda: len(self.upstream.received) == rounds, "all")
        self.assertEqual(self.upstream.counts()["duplicates"], 0)

    def test_05_past_the_entry_cap_the_oldest_are_forgotten(self):
        weir = self.weir(settings={"dedupe.max_entries": 1000})
        first = [event() for _ in range(500)]
        self.outcome(weir.post(first))
        for _ in range(6):
            self.outcome(weir.post([event() for _ in range(500)]))
        last = [event() for _ in range(10)]
        self.outcome(weir.post(last))
        self.assertEqual(self.outcome(weir.post(last)), (0, 10))
        self.assertLessEqual(weir.metric("weir_dedupe_entries"), 1000 * 1.1)

    def test_06_across_sealed_segments(self):
        weir = self.weir(settings={"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB"})
        first = [event() for _ in range(200)]
        self.outcome(weir.post(first))
        for _ in range(30):
            self.outcome(weir.post([event(p="x" * 900) for _ in range(100)]))
        self.assertGreater(weir.metric("weir_store_segments"), 2)
        self.assertEqual(self.outcome(weir.post(first)), (0, 200))
        weir.restart()
        self.assertEqual(self.outcome(weir.post(first)), (0, 200))

    def test_07_ids_of_every_shape(self):
        for i in ("x" * 200, "ümlaut-村-🚀", " spaces ", "a\"b\\c", "0", "\u0000nul"):
            one = event(id=i + unique())
            self.assertEqual(self.outcome(self.w.post(one)), (1, 0), i)
            self.assertEqual(self.outcome(self.w.post(one)), (0, 1), i)
