"""Pull consumers over time: requeued and replayed events, retention, idle consumers, crashes around deletion."""
import importlib.util
import json
import os
import time

from harness import eventually, request

_spec = importlib.util.spec_from_file_location("pull", os.path.join(os.path.dirname(__file__), "20_pull.py"))
_pull = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_pull)
Puller, PullCase = _pull.Puller, _pull.PullCase

# Segments so small that some seconds of events fill several.
SMALL = {"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB", "store.state_bytes": "4MiB"}


def segments(weir):
    return [f for f in os.listdir(weir.data) if f.startswith("seg-") and f.endswith(".weir")]


class Again(PullCase):
    def failed(self, weir):
        return json.loads(weir.cli("failed", "list", "--json").stdout)["failed"]

    def test_01_a_rejected_event_is_repaired_and_pulled_again(self):
        weir, puller = self.pair()
        self.send(weir, 1)
        self.assertStatus(weir.post({"id": "bad", "name": "test", "price": "one"}), 200)
        lease = puller.lease()
        held = weir.stats()["consumers"]["central"]
        self.assertEqual((held["leases"], held["leased"], held["delayed"], held["redelivered"]), (1, 2, 0, 0))
        self.assertIn("2 in 1 leases", weir.cli("status").stdout)
        bad = lease["events"][1]
        puller.ack(lease["lease"], reject=[{"seq": bad["seq"], "reason": "price"}])
        (failed,) = self.failed(weir)
        path = os.path.join(self.directory, "edited.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write('{"id":"bad","name":"test","price":1}')
        self.assertEqual(weir.cli("failed", "edit", str(failed["id"]), "--file", path).returncode, 0)
        self.assertEqual(weir.cli("failed", "requeue", str(failed["id"])).returncode, 0)
        again = eventually(lambda: puller.lease(wait_ms=500), "the event")
        self.assertEqual([(e["id"], e["raw"]["price"]) for e in again["events"]], [("bad", 1)])
        self.assertEqual(puller.ack(again["lease"]).json["acked"], 1)
        self.assertEqual(self.failed(weir), [])
        central = weir.stats()["consumers"]["central"]
        self.assertEqual((central["pending"], central["sent"], central["failed"]), (0, 2, 0))

    def test_02_max_deliveries_ends_in_a_failed_event(self):
        weir = self.weir(sections={"consumers": [{"name": "central", "max_deliveries": 2}]})
        puller = Puller(weir.admin, "central")
        (event_id,) = self.send(weir, 1)
        for delivery in (1, 2):
            self.assertEqual(puller.lease(lease_seconds=1, wait_ms=5000)["delivery"], delivery)
        (failed,) = eventually(lambda: self.failed(weir), "the failed event")
        self.assertEqual((failed["event_id"], failed["reason"], failed["attempts"]), (event_id, "max_deliveries", 2))
        self.assertIsNone(puller.lease())

    def test_03_a_part_of_the_log_is_replayed(self):
        weir, puller = self.pair()
        ids = self.send(weir, 6)
        self.assertEqual(puller.drain(), ids)
        answer = request(weir.admin, "POST", "/api/v1/consumers/central/replay", {"from": "0-2", "to": "0-4"})
        self.assertEqual(answer.json, {"replayed": 2})
        self.assertEqual(puller.drain(), ids[1:3])
        self.assertError(request(weir.admin, "POST", "/api/v1/consumers/central/replay", {}), 400, "invalid_argument")


class Retention(PullCase):
    def fill(self, weir, count):
        """Sends until the log has that many segments."""
        ids = []

        def filled():
            ids.extend(self.send(weir, 500, p="x" * 1000))
            return len(segments(weir)) >= count
        eventually(filled, f"{count} segments")
        return ids

    def test_01_what_is_not_acknowledged_is_held_and_then_goes(self):
        weir, puller = self.pair(settings={**SMALL, "store.retention": "1s"})
        puller.lease()
        ids = self.fill(weir, 4)
        time.sleep(2.5)
        self.assertGreaterEqual(len(segments(weir)), 4)
        self.assertEqual(puller.drain(), ids)
        eventually(lambda: len(segments(weir)) <= 2, "the segments to go")

    def test_02_an_idle_consumer_no_longer_holds_and_says_so(self):
        weir = self.weir(settings={**SMALL, "store.retention": "1s"},
                         sections={"consumers": [{"name": "gone", "max_idle": "2s"}]})
        puller = Puller(weir.admin, "gone")
        puller.lease()
        ids = [i for _ in range(8) for i in self.send(weir, 500, p="x" * 1000)]      # some segments
        eventually(lambda: weir.metric("weir_events_expired_total", lane="gone", reason="max_idle") > 0, "expired")
        eventually(lambda: len(segments(weir)) <= 2, "the segments to go")
        self.assertIn("events_expired", weir.log())
        rest = puller.drain()       # what is given up, but still on disk, is not handed out
        expired = weir.metric("weir_events_expired_total", lane="gone", reason="max_idle")
        self.assertEqual(rest, ids[int(expired):])
        stats = weir.stats()["consumers"]["gone"]
        self.assertEqual((stats["pending"], stats["sent"], stats["failed"]), (0, len(rest), expired))


class Crash(PullCase):
    def test_01_kill_between_the_acks_mark_and_the_deletion_of_its_segment(self):
        weir, puller = self.pair(settings={**SMALL, "store.retention": "1ms"})
        puller.lease()
        sent, taken = [], []
        for _ in range(4):
            for _ in range(12):
                sent += self.send(weir, 100, p="x" * 1000)
            while lease := puller.lease(max_events=500):
                taken += [e["id"] for e in lease["events"]]
                self.assertStatus(puller.ack(lease["lease"]), 200)
            weir.kill()             # retention is about to delete what was just acknowledged
            weir.start()
        self.assertEqual(taken, sent)
        eventually(lambda: len(segments(weir)) <= 2, "the segments to go")
        central = weir.stats()["consumers"]["central"]
        self.assertEqual((central["pending"], central["sent"], central["failed"]), (0, len(sent), 0))
        self.assertEqual(weir.stop(), 0)
        done = weir.cli("store", "verify", "--data", weir.data, "--json", server=False)
        self.assertEqual(json.loads(done.stdout)["problems"], [])


class CommandLine(PullCase):
    def test_consumers_from_the_command_line(self):
        weir = self.weir()
        made = weir.cli("consumer", "create", "bench", "--max-idle", "10m", "--sandbox", "--event", "test", "--json")
        self.assertEqual(made.returncode, 0, made)
        self.assertEqual(json.loads(made.stdout)["max_idle_seconds"], 600)
        ids = self.send(weir, 3)
        puller = Puller(weir.admin, "bench")
        self.assertEqual(puller.drain(), ids)
        listed = weir.cli("consumer", "list")
        self.assertIn("bench", listed.stdout)
        self.assertEqual(weir.cli("consumer", "seek", "bench", "0-2").returncode, 0)
        self.assertEqual(puller.drain(), ids[1:])
        self.assertEqual(weir.cli("replay", "--consumer", "bench", "--to", "0-2").returncode, 0)
        held = puller.lease()
        self.assertEqual([e["id"] for e in held["events"]], ids[:1])
        self.assertIn(held["lease"], weir.cli("consumer", "show", "bench").stdout)
        self.assertEqual(weir.cli("consumer", "delete", "bench").returncode, 0)
        gone = weir.cli("consumer", "show", "bench")
        self.assertEqual(gone.returncode, 1)
        self.assertIn("there is no consumer bench", gone.stderr)
        self.assertEqual(weir.cli("consumer", "create", "x", "--max-idle", "soon").returncode, 2)
