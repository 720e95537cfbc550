"""Failed events and expired ranges: filters, export, editing, many at once, and what a restart keeps."""
import csv
import io
import json

import harness
from harness import Case, destination, event, eventually, request


class Failed(Case):
    def failing(self, n, central=None, **options):
        central = central or self.central()
        central.fault(mode="poison", ids="^bad", status=400, body="cannot parse price")
        weir = self.weir(destinations=[destination("main", central.port, **options)])
        for start in range(0, n, 500):
            events = [event(id=f"bad-{i}", name="odd" if i % 2 else "even")
                      for i in range(start, min(n, start + 500))]
            self.assertStatus(weir.post(events), 200)
        eventually(lambda: weir.metric("weir_dead_letters") == n,
                   lambda: f"{weir.metric('weir_dead_letters')} of {n} failed", timeout=60)
        return central, weir

    def listed(self, weir, *flags):
        done = weir.cli("failed", "list", "--json", *flags)
        self.assertEqual(done.returncode, 0, done)
        return sorted(row["event_id"] for row in json.loads(done.stdout)["failed"])

    def test_01_filters(self):
        _, weir = self.failing(6)
        self.assertEqual(self.listed(weir, "--name", "odd"), ["bad-1", "bad-3", "bad-5"])
        self.assertEqual(self.listed(weir, "--event", "bad-4"), ["bad-4"])
        self.assertEqual(len(self.listed(weir, "--since", "1h")), 6)
        self.assertEqual(self.listed(weir, "--until", "1h"), [])
        self.assertEqual(len(self.listed(weir, "--since", "2020-01-01T00:00:00Z", "--tenant", "default")), 6)
        self.assertEqual(self.listed(weir, "--tenant", "other"), [])
        refused = weir.cli("failed", "list", "--since", "yesterday")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("2026-11-20T21:00:00Z", refused.stderr)

    def test_02_export_as_csv_is_safe_in_a_spreadsheet(self):
        central = self.central()
        central.fault(mode="status", status=400, body='=cmd|"/c calc"!A1')
        weir = self.weir(destinations=[destination("main", central.port)])
        weir.post([event(id="=1+1", name="@SUM(A1)"), event(id='quote"comma,', name="line\nbreak")])
        eventually(lambda: weir.metric("weir_dead_letters") == 2, "failed")
        done = weir.cli("failed", "export", "--format", "csv")
        self.assertEqual(done.returncode, 0, done)
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        by_id = {row["event_id"]: row for row in rows}
        self.assertEqual(set(by_id), {"'=1+1", 'quote"comma,'})
        self.assertEqual(by_id["'=1+1"]["name"], "'@SUM(A1)")
        self.assertEqual(by_id['quote"comma,']["name"], "line\nbreak")
        for row in rows:
            for cell in row.values():
                self.assertNotIn(cell[:1], "=+-@\t\r" if cell else " ")
        self.assertEqual(json.loads(by_id["'=1+1"]["event"])["id"], "=1+1")
        lines = weir.cli("failed", "export", "--raw").stdout.splitlines()
        self.assertEqual({json.loads(line)["id"] for line in lines}, {"=1+1", 'quote"comma,'})

    def test_03_a_thousand_requeued_at_once(self):
        central, weir = self.failing(1000)
        central.fault()
        done = weir.cli("failed", "requeue", "--all")
        self.assertEqual(json.loads(done.stdout), {"requeued": 1000})
        later = event(id="later")
        self.assertStatus(weir.post(later), 200)
        self.assertArrives(central, [f"bad-{i}" for i in range(1000)] + ["later"], timeout=60)
        eventually(lambda: weir.metric("weir_dead_letters") == 0, "none failed")
        stats = weir.stats()
        self.assertEqual((stats["sent"], stats["failed"], stats["pending"]), (1001, 0, 0))
        self.assertEqual(central.counts()["duplicates"], 0)

    def test_04_requeue_by_filter_leaves_the_others(self):
        central, weir = self.failing(6)
        central.fault()
        done = weir.cli("failed", "requeue", "--all", "--name", "even")
        self.assertEqual(json.loads(done.stdout), {"requeued": 3})
        self.assertArrives(central, ["bad-0", "bad-2", "bad-4"])
        eventually(lambda: self.listed(weir) == ["bad-1", "bad-3", "bad-5"], lambda: self.listed(weir))
        done = weir.cli("failed", "discard", "--all", "--event", "bad-1")
        self.assertEqual(json.loads(done.stdout), {"discarded": 1})
        self.assertEqual(self.listed(weir), ["bad-3", "bad-5"])
        # What was thrown away comes back only for who names it.
        requeue = lambda *more: json.loads(weir.cli("failed", "requeue", "--expired", *more).stdout)  # noqa: E731
        self.assertEqual(requeue(), {"requeued": 0, "gone": 0})
        self.assertEqual(requeue("--reason", "discarded"), {"requeued": 1, "gone": 0})
        self.assertArrives(central, ["bad-1"])

    def test_05_attempts_of_a_requeued_event_survive_a_kill(self):
        central, weir = self.failing(1)
        (row,) = json.loads(weir.cli("failed", "list", "--json").stdout)["failed"]
        central.fault(mode="status", status=503)
        weir.cli("failed", "requeue", str(row["id"]))

        def since():
            shown = json.loads(weir.cli("failed", "show", str(row["id"]), "--json").stdout)
            return shown.get("attempts_since", 0)
        before = eventually(lambda: (n := since()) >= 3 and n, since)
        weir.kill()
        weir.start()
        self.assertGreaterEqual(since(), before)
        eventually(lambda: since() > before, since)
        central.fault()
        self.assertArrives(central, ["bad-0"])


class Expired(Case):
    def given_up(self, weir):
        return json.loads(weir.cli("failed", "expired", "--json").stdout)["expired"]

    def test_06_the_retry_window_is_a_range_that_can_be_requeued(self):
        central = self.central()
        central.fault(mode="status", status=500)
        weir = self.weir(destinations=[destination("main", central.port, retry={"max_attempts": 2})])
        sent = [event(id=f"e-{i}") for i in range(50)]
        self.assertStatus(weir.post(sent), 200)
        eventually(lambda: weir.stats()["failed"] == 50, lambda: weir.stats())
        rows = self.given_up(weir)
        self.assertEqual(sum(r["events"] for r in rows), 50)
        self.assertEqual({r["reason"] for r in rows}, {"max_attempts"})
        self.assertTrue(all(r["retained"] for r in rows))
        text = weir.cli("failed", "expired").stdout
        self.assertIn("max_attempts", text)
        central.fault()
        done = weir.cli("failed", "requeue", "--expired", "--destination", "main")
        self.assertEqual(json.loads(done.stdout), {"requeued": 50, "gone": 0})
        self.assertArrives(central, [e["id"] for e in sent])
        eventually(lambda: (s := weir.stats())["sent"] == 50 and s["failed"] == 0, lambda: weir.stats())
        self.assertEqual(self.given_up(weir), [])

    def test_07_a_backlog_limit_expires_many_as_few_ranges(self):
        central = self.central()
        central.fault(mode="status", status=500)
        weir = self.weir(destinations=[destination("main", central.port, max_backlog_bytes="2MiB",
                                                   backlog_policy="drop_oldest")],
                         settings={"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB"})
        for i in range(60):
            self.assertStatus(weir.post([event(id=f"e-{i}-{n}", p="x" * 1000) for n in range(100)]), 200)
        eventually(lambda: weir.metric("weir_events_expired_total") >= 3000, "most are given up")
        rows = self.given_up(weir)
        self.assertLess(len(rows), 20)
        self.assertEqual({r["reason"] for r in rows}, {"max_backlog_bytes"})
        # With the limit gone and the destination back everything is sent after all.
        weir.destinations[0].pop("max_backlog_bytes")
        weir.write_config()
        self.assertStatus(request(weir.admin, "POST", "/api/v1/reload", b""), 200)
        central.fault()
        done = json.loads(weir.cli("failed", "requeue", "--expired").stdout)
        self.assertGreater(done["requeued"], 2000)
        kept = {f"e-{i}-{n}" for i in range(60) for n in range(100)}
        if done["gone"] == 0:
            self.assertArrives(central, kept)
        eventually(lambda: weir.stats()["pending"] == 0, lambda: weir.stats())
        self.assertIsNotNone(harness)

    def test_08_a_requeue_survives_a_kill(self):
        central = self.central()
        central.fault(mode="status", status=500)
        weir = self.weir(destinations=[destination("main", central.port, batch={"max_events": 10},
                                                   retry={"max_attempts": 1})])
        sent = [event(id=f"e-{i}") for i in range(200)]
        self.assertStatus(weir.post(sent), 200)
        eventually(lambda: weir.stats()["failed"] == 200, lambda: weir.stats())
        central.fault(mode="slow", seconds=0.2)
        done = weir.cli("failed", "requeue", "--expired")
        self.assertEqual(json.loads(done.stdout)["requeued"], 200)
        eventually(lambda: len(central.received) >= 20, "some are sent")
        weir.kill()
        central.fault()
        weir.start()
        self.assertArrives(central, [e["id"] for e in sent])
        eventually(lambda: (s := weir.stats())["sent"] == 200 and s["failed"] == 0, lambda: weir.stats())
