"""What survives a restart: events, positions, batch ids, attempts, dead letters, identity."""
import json
import time

import harness
from harness import Case, destination, event, eventually, unique


class Restart(Case):
    def waiting(self, n=30, **options):
        """A weir whose destination refuses, with n events waiting and at least two attempts made."""
        central = self.central()
        central.fault(mode="status", status=503)
        weir = self.weir(destinations=[destination("d", central.port, **options)],
                         settings={"server.drain_seconds": "1"})
        ids = [unique() for _ in range(n)]
        self.assertStatus(weir.post([event(id=i) for i in ids]), 200)
        eventually(lambda: len(central.requests) >= 2, "two attempts")
        return central, weir, ids

    def test_01_events_wait_across_a_stop(self):
        central, weir, ids = self.waiting()
        weir.stop()
        central.fault()
        weir.start()
        self.assertArrives(central, ids)

    def test_02_events_wait_across_a_kill(self):
        central, weir, ids = self.waiting()
        weir.kill()
        central.fault()
        weir.start()
        self.assertArrives(central, ids)

    def test_03_batch_ids_and_contents_stay_the_same(self):
        for end in ("stop", "kill"):
            with self.subTest(end):
                central, weir, ids = self.waiting()
                before = {(r[2], r[3]) for r in central.requests}
                getattr(weir, end)()
                central.fault()
                weir.start()
                self.assertArrives(central, ids)
                after = {(b, len(carried[0])) for b, carried in central.batches.items()}
                self.assertEqual(before, after)

    def test_04_attempts_are_counted_on(self):
        central, weir, _ = self.waiting(retry={"max_attempts": 6, "base": "100ms", "cap": "300ms"})
        weir.kill()
        weir.start()

        def failed():
            return weir.stats()["destinations"]["d"]["failed"] == 30
        eventually(failed, "the attempts are used up")
        batches = {r[2] for r in central.requests}
        for batch in batches:
            self.assertLessEqual(sum(r[2] == batch for r in central.requests), 7)

    def test_05_backoff_goes_on(self):
        central, weir, _ = self.waiting(retry={"base": "4s", "cap": "60s"})
        weir.kill()
        count = len(central.requests)
        weir.start()
        time.sleep(0.5)
        self.assertLessEqual(len(central.requests) - count, 2)

    def test_06_dead_letters_and_counts_stay(self):
        central = self.central()
        central.fault(mode="poison", ids="^bad")
        weir = self.weir(destinations=[destination("d", central.port)])
        weir.post([event(id="bad-1"), event(id="fine-1")])
        want = {"pending": 0, "sent": 1, "failed": 1}
        eventually(lambda: {k: weir.stats()[k] for k in want} == want, "counts")
        for end in ("stop", "kill"):
            getattr(weir, end)()
            weir.start()
            eventually(lambda: {k: weir.stats()[k] for k in want} == want, "the same counts")
            self.assertIn("bad-1", weir.cli("failed", "list", "--json").stdout)

    def test_07_store_id_and_positions_go_on(self):
        central = self.central()
        weir = self.weir(destinations=[destination("d", central.port)])
        for _ in range(3):
            ids = [unique() for _ in range(20)]
            weir.post([event(id=i) for i in ids])
            self.assertArrives(central, ids)
            weir.kill()
            weir.start()
        self.assertEqual(len({s for s, _ in central.positions}), 1)
        self.assertEqual(central.gaps(), [])
        self.assertEqual(central.conflicts, [])

    def test_08_a_removed_destination_lets_go_and_a_new_one_gets_what_is_kept(self):
        first, second = self.central(), self.central()
        weir = self.weir(destinations=[destination("one", first.port)])
        ids = [unique() for _ in range(10)]
        weir.post([event(id=i) for i in ids])
        self.assertArrives(first, ids)
        weir.stop()
        weir.destinations = [destination("two", second.port)]
        weir.start()
        self.assertArrives(second, ids)

    def test_09_store_verify_is_clean_after_everything(self):
        central, weir, ids = self.waiting()
        weir.kill()
        central.fault()
        weir.start()
        self.assertArrives(central, ids)
        while_serving = weir.cli("store", "verify", "--data", weir.data, server=False)
        self.assertEqual(while_serving.returncode, 0, while_serving)
        weir.stop()
        done = weir.cli("store", "verify", "--data", weir.data, "--json", server=False)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(json.loads(done.stdout)["problems"], [])
        inspected = weir.cli("store", "inspect", "--data", weir.data, server=False)
        self.assertEqual(inspected.returncode, 0, inspected)
        self.assertIn("seg-", inspected.stdout)


class Retention(Case):
    def test_sent_events_leave_after_the_retention(self):
        central = self.central()
        weir = self.weir(destinations=[destination("d", central.port)],
                         settings={"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB", "store.retention": "1s",
                                   "store.segment_age": "500ms"})
        for _ in range(40):
            self.assertStatus(weir.post([event(p="x" * 1000) for _ in range(100)]), 200)
        eventually(lambda: weir.metric("weir_segments_deleted_total") >= 2, "deleted segments", 40)
        self.assertEqual(harness.eventually(lambda: len(central.received) == 4000 and 4000, "all sent"), 4000)
