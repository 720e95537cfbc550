"""The ledger: one event's life as the API and `weir event` tell it."""
import json

import harness
from harness import Case, destination, event, eventually


class Ledger(Case):
    def ask(self, weir, event_id, status=200, **query):
        path = f"/api/v1/events/{event_id}" + "".join(f"?{k}={v}" for k, v in query.items())
        answer = weir.get_admin(path)
        self.assertStatus(answer, status)
        return answer.json

    def fate(self, weir, event_id, lane):
        (found,) = self.ask(weir, event_id)["events"]
        return found["destinations"][lane]

    def test_01_from_pending_over_in_flight_to_sent(self):
        central = self.central()
        central.fault(mode="status", status=503, body="not yet")
        weir = self.weir(destinations=[destination("main", central.port)])
        weir.post(event(id="e-1", name="bought", price=7))
        fate = eventually(lambda: (f := self.fate(weir, "e-1", "main"))["attempts"] >= 2 and f,
                          lambda: self.fate(weir, "e-1", "main"))
        self.assertEqual(fate["state"], "in_flight")
        self.assertIn("503", fate["last_error"])
        self.assertTrue(fate["next_attempt_at"])
        central.fault()
        fate = eventually(lambda: (f := self.fate(weir, "e-1", "main"))["state"] == "sent" and f,
                          lambda: self.fate(weir, "e-1", "main"))
        self.assertEqual(fate["status"], 200)
        self.assertIn(fate["batch_id"], central.batches)
        (told,) = self.ask(weir, "e-1")["events"]
        self.assertEqual((told["id"], told["tenant"], told["name"]), ("e-1", "default", "bought"))
        self.assertEqual(told["event"]["raw"]["price"], 7)
        self.assertLessEqual(told["received_at"], told["committed_at"])
        self.assertTrue(told["segment"]["file"].endswith(".weir"))
        self.assertEqual(self.ask(weir, told["seq"])["events"][0]["id"], "e-1")

    def test_02_failed_requeued_and_sent(self):
        central = self.central()
        central.fault(mode="poison", ids="^bad", status=422, body="no such product")
        weir = self.weir(destinations=[destination("main", central.port)])
        weir.post([event(id="bad-1"), event(id="ok-1")])
        eventually(lambda: self.fate(weir, "bad-1", "main")["state"] == "failed", "failed")
        fate = self.fate(weir, "bad-1", "main")
        self.assertEqual((fate["reason"], fate["status"]), ("http_422", 422))
        self.assertIn("no such product", fate["last_error"])
        central.fault()
        self.assertEqual(weir.cli("failed", "requeue", str(fate["failed_id"])).returncode, 0)
        eventually(lambda: self.fate(weir, "bad-1", "main")["state"] == "sent", "sent")
        self.assertEqual(self.fate(weir, "bad-1", "main")["reason"], "requeued after it had failed")

    def test_03_filtered_and_sandboxed_events_are_skipped(self):
        central = self.central()
        weir = self.weir(destinations=[destination("some", central.port, filter={"names": ["keep"]})],
                         keys=[{"key": "k"}, {"key": "sand", "sandbox": True}])
        weir.post([event(id="no", name="other"), event(id="yes", name="keep")], headers={"X-Write-Key": "k"})
        weir.post(event(id="box", name="keep"), headers={"X-Write-Key": "sand"})
        for event_id, state in (("no", "skipped"), ("yes", "sent"), ("box", "skipped")):
            eventually(lambda: self.fate(weir, event_id, "some")["state"] == state,
                       lambda: self.fate(weir, event_id, "some"))

    def test_04_after_restarts_and_over_segments(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port)],
                         settings={"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB"})
        for i in range(30):
            self.assertStatus(weir.post([event(id=f"e-{i}-{n}", p="x" * 1000) for n in range(100)]), 200)
        eventually(lambda: len(central.received) == 3000, "all sent")
        weir.restart()
        first, last = self.ask(weir, "e-0-0")["events"][0], self.ask(weir, "e-29-99")["events"][0]
        self.assertNotEqual(first["segment"]["file"], last["segment"]["file"])
        self.assertTrue(first["segment"]["sealed"])
        self.assertEqual(first["destinations"]["main"]["state"], "sent")

    def test_05_tenants_do_not_see_each_other(self):
        weir = self.weir(keys=[{"key": "a", "tenant": "ta"}, {"key": "b", "tenant": "tb"}])
        for key in "ab":
            weir.post(event(id="same"), headers={"X-Write-Key": key})
        self.assertEqual({e["tenant"] for e in self.ask(weir, "same")["events"]}, {"ta", "tb"})
        (one,) = self.ask(weir, "same", tenant="tb")["events"]
        self.assertEqual(one["tenant"], "tb")
        self.ask(weir, "same", tenant="tc", status=404)
        self.ask(weir, "nobody", status=404)

    def test_06_the_command_is_safe_on_a_terminal(self):
        weir = self.weir()
        hostile = "\u001b]0;owned\u0007\u202e"
        weir.post(event(id="odd/id?x=1 ä", name=hostile, text=hostile))
        done = weir.cli("event", "odd/id?x=1 ä")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("odd/id?x=1 ä", done.stdout)
        self.assertIn("none: it waits", done.stdout)
        for c in "\u001b\u0007\u202e":
            self.assertNotIn(c, done.stdout)
        shown = json.loads(weir.cli("event", "odd/id?x=1 ä", "--json", "--tenant", "default").stdout)
        self.assertEqual(shown["events"][0]["event"]["name"], hostile)
        self.assertEqual(weir.cli("event", "nobody").returncode, 1)
        self.assertIsNotNone(harness)
