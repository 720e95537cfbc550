"""Replaying a part of the log to a destination: what is sent again, what is refused, what a kill leaves."""
import json
import os
import time

from harness import Case, destination, event, eventually, request

# Segments so small that some seconds of events fill several.
SMALL = {"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB", "store.state_bytes": "4MiB"}


class Replay(Case):
    def sent(self, weir, central, n, **fields):
        """Sends and waits until all of it is marked; the ids."""
        before = weir.stats()["destinations"]["main"]["sent"]
        ids = []
        for start in range(0, n, 500):
            events = [event(**fields) for _ in range(min(500, n - start))]
            self.assertStatus(weir.post(events), 200)
            ids += [e["id"] for e in events]
        self.assertArrives(central, ids)
        eventually(lambda: weir.stats()["destinations"]["main"]["sent"] == before + n, lambda: weir.stats())
        return ids

    def replay(self, weir, **places):
        return request(weir.admin, "POST", "/api/v1/destinations/main/replay", places)

    def times(self, central, ids):
        return [central.received[("default", i)] for i in ids]

    def test_01_a_part_of_the_log_is_sent_once_more_and_the_rest_is_not(self):
        central, other = self.central(), self.central()
        weir = self.weir(destinations=[destination("main", central.port), destination("other", other.port)])
        ids = self.sent(weir, central, 20)
        done = weir.cli("replay", "--destination", "main", "--from", "0-6", "--to", "0-11")
        self.assertEqual(json.loads(done.stdout), {"replayed": 5, "failed": 0, "pending": 0}, done)
        eventually(lambda: self.times(central, ids) == [1] * 5 + [2] * 5 + [1] * 10, lambda: self.times(central, ids))
        self.assertEqual(max(self.times(other, ids)), 1)
        stats = eventually(lambda: (s := weir.stats())["destinations"]["main"]["pending"] == 0 and s,
                           lambda: weir.stats())
        self.assertEqual((stats["pending"], stats["sent"], stats["failed"]), (0, 20, 0))
        # The ledger tells of the last time.
        told = json.loads(weir.cli("event", ids[7], "--json").stdout)["events"][0]["destinations"]["main"]
        self.assertEqual((told["state"], told["attempts"]), ("sent", 1))
        self.assertIn(told["batch_id"], central.batches)
        self.assertEqual(len(central.batches[told["batch_id"]][-1]), 5)
        self.assertIn("destination_replays", weir.log())
        # By time: everything of the last hour.
        done = weir.cli("replay", "--destination", "main", "--from", "1h")
        self.assertEqual(json.loads(done.stdout)["replayed"], 20, done)
        eventually(lambda: self.times(central, ids) == [2] * 5 + [3] * 5 + [2] * 10, lambda: self.times(central, ids))

    def test_02_what_failed_is_left_out_and_said(self):
        central = self.central()
        central.fault(mode="poison", ids="^bad", status=400, body="cannot parse price")
        weir = self.weir(destinations=[destination("main", central.port)])
        self.assertStatus(weir.post([event(id="a"), event(id="bad"), event(id="b")]), 200)
        eventually(lambda: weir.metric("weir_dead_letters") == 1, "failed")
        eventually(lambda: weir.stats()["destinations"]["main"]["sent"] == 2, lambda: weir.stats())
        self.assertEqual(self.replay(weir, **{"from": "earliest"}).json, {"replayed": 2, "failed": 1, "pending": 0})
        eventually(lambda: self.times(central, ["a", "b"]) == [2, 2], "sent again")
        self.assertEqual(weir.metric("weir_dead_letters"), 1)
        self.assertEqual(weir.stats()["failed"], 1)

    def test_03_what_is_no_longer_on_disk_is_refused_and_told_from_where(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port, batch={"linger": "10ms"})],
                         settings={**SMALL, "store.retention": "1s"})
        self.sent(weir, central, 3000, p="x" * 1000)

        def first():
            rows = json.loads(weir.cli("store", "inspect", "--data", weir.data, "--json", server=False).stdout)
            return min(row["first"] for row in rows["files"] if row["kind"] == "segment" and row["first"] > 0)
        start = eventually(lambda: (n := first()) > 1 and n, "a deleted segment")
        refused = self.replay(weir, **{"from": "0-1"})
        self.assertError(refused, 409, "not_retained")
        self.assertIn("it can begin at 0-", refused.json["message"])
        self.assertGreaterEqual(int(refused.json["message"].split("it can begin at 0-")[1].split()[0]), start)
        done = weir.cli("replay", "--destination", "main", "--from", "2020-01-01T00:00:00Z")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no longer on disk", done.stderr)
        self.assertStatus(self.replay(weir, **{"from": "earliest"}), 200)

    def test_04_a_kill_in_the_middle_loses_nothing_of_it(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port, batch={"max_events": 10}, concurrency=1)])
        ids = self.sent(weir, central, 300)
        central.fault(mode="slow", seconds=0.1)
        self.assertEqual(self.replay(weir, **{"from": "0-51", "to": "0-251"}).json["replayed"], 200)
        eventually(lambda: sum(self.times(central, ids)) >= 340, "some are sent again")
        weir.kill()
        central.fault()
        weir.start()
        eventually(lambda: min(self.times(central, ids[50:250])) >= 2, lambda: self.times(central, ids))
        self.assertEqual(set(self.times(central, ids[:50] + ids[250:])), {1})
        # At most the batches that were in flight came a third time, under the ids they had.
        self.assertLessEqual(sum(t - 2 for t in self.times(central, ids[50:250])), 20)
        eventually(lambda: weir.stats()["pending"] == 0, lambda: weir.stats())
        self.assertEqual(weir.stats()["sent"], 300)
        self.assertEqual(weir.stop(), 0)
        done = weir.cli("store", "verify", "--data", weir.data, "--json", server=False)
        self.assertEqual(json.loads(done.stdout)["problems"], [])

    def test_05_a_replay_turns_no_new_event_away(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port, max_backlog_age="1s")])
        ids = self.sent(weir, central, 10)
        central.fault(mode="status", status=503)
        old_at = time.monotonic() + 1.2
        eventually(lambda: time.monotonic() > old_at, "events older than the limit")
        self.assertEqual(self.replay(weir, **{"from": "earliest"}).json["replayed"], 10)
        eventually(lambda: weir.stats()["destinations"]["main"]["pending"] == 10, lambda: weir.stats())
        judged_at = time.monotonic() + 1.5
        eventually(lambda: time.monotonic() > judged_at, "retention to look at it")
        self.assertStatus(weir.get_admin("/readyz"), 200)
        self.assertEqual(weir.metric("weir_pressure_percent", cause="lag"), 0)
        central.fault()
        eventually(lambda: min(self.times(central, ids)) == 2, lambda: self.times(central, ids))

    def test_06_wrong_use_is_told(self):
        weir = self.weir(destinations=[destination("main", self.central().port)])
        self.assertError(request(weir.admin, "POST", "/api/v1/destinations/nobody/replay", {"from": "earliest"}),
                         404, "not_found")
        self.assertError(self.replay(weir), 400, "invalid_argument")
        self.assertEqual(weir.cli("replay", "--from", "0-1").returncode, 2)
        self.assertIn("--from earliest", weir.cli("replay", "--destination", "main").stderr)
        both = weir.cli("replay", "--from", "0-1", "--destination", "main", "--consumer", "c")
        self.assertEqual(both.returncode, 2)
        self.assertIn("--destination or a --consumer", both.stderr)


class Removed(Case):
    def test_07_a_removed_destination_is_shown_as_long_as_it_left_something_behind(self):
        gone, done = self.central(), self.central()
        weir = self.weir(destinations=[destination("done", done.port), destination("gone", gone.port)])
        self.assertStatus(weir.post([event(id="a")]), 200)
        eventually(lambda: all(d["sent"] == 1 for d in weir.stats()["destinations"].values()), lambda: weir.stats())
        gone.fault(mode="status", status=503)
        self.assertStatus(weir.post([event(id="b"), event(id="c")]), 200)
        eventually(lambda: weir.stats()["destinations"]["done"]["sent"] == 3, lambda: weir.stats())
        weir.destinations = []
        weir.write_config()
        self.assertStatus(request(weir.admin, "POST", "/api/v1/reload", b""), 200)
        self.assertStatus(weir.post([event(id="later")]), 200)
        for _ in range(2):
            (name, gone_now), = weir.stats()["destinations"].items()
            self.assertEqual((name, gone_now["pending"], gone_now["sent"], gone_now["state"]), ("gone", 2, 1, "removed"))
            self.assertRegex(weir.cli("status").stdout, r"gone +removed +2")
            told = json.loads(weir.cli("event", "b", "--json").stdout)["events"][0]["destinations"]
            self.assertIn(told["gone"]["state"], ("in_flight", "pending"))
            later = json.loads(weir.cli("event", "later", "--json").stdout)["events"][0]["destinations"]
            self.assertEqual(later, {})
            weir.kill()
            weir.start()
        self.assertTrue(os.path.isdir(weir.data))
