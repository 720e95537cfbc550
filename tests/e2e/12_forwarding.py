"""Destinations in every state: events wait, nothing else notices, each arrives, poison stands alone."""
import gzip
import hashlib
import hmac
import http.server
import json
import threading
import time

import harness
from harness import Case, destination, event, eventually, free_port, unique


class Forwarding(Case):
    def send(self, weir, n, prefix="e", **fields):
        ids = [unique(prefix) for _ in range(n)]
        response = weir.post([event(id=i, **fields) for i in ids])
        self.assertStatus(response, 200)
        self.assertEqual(response.json["accepted"], n)
        return ids

    def pair(self, **options):
        central = self.central()
        return central, self.weir(destinations=[destination("d", central.port, **options)])

    def settles(self, weir, name="d", **want):
        """The destination's exact counts become these."""
        def same():
            have = weir.stats()["destinations"][name]
            return all(have[k] == v for k, v in want.items())
        eventually(same, lambda: f"{weir.stats()['destinations'][name]}, not {want}")

    def test_01_each_event_once_when_nothing_fails(self):
        central, weir = self.pair()
        ids = [i for _ in range(20) for i in self.send(weir, 100)]
        self.assertArrives(central, ids)
        time.sleep(0.3)
        self.assertEqual(central.counts()["duplicates"], 0)
        self.assertEqual(central.gaps(), [])
        self.settles(weir, sent=2000, pending=0, failed=0)

    def test_02_formats_and_compressions(self):
        for body_format in ("json", "ndjson"):
            for compression in ("none", "gzip", "zstd"):
                with self.subTest(body_format=body_format, compression=compression):
                    central, weir = self.pair(format=body_format, compression=compression)
                    ids = self.send(weir, 30)
                    self.assertArrives(central, ids)
                    headers = central.requests[-1][4]
                    self.assertEqual(headers.get("Content-Encoding", "none"), compression)
                    self.assertIn("ndjson" if body_format == "ndjson" else "application/json",
                                  headers["Content-Type"])

    def test_03_headers_and_signature(self):
        bodies = []

        class Keep(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keep)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        weir = self.weir(destinations=[destination("d", server.server_address[1], hmac_key="s3cret",
                                                   headers={"X-Mine": "yes"}, authorization="Bearer tok")])
        self.send(weir, 5)
        eventually(lambda: bodies, "a batch")
        headers, body = bodies[0]
        self.assertEqual((headers["X-Mine"], headers["Authorization"]), ("yes", "Bearer tok"))
        parts = dict(p.split("=", 1) for p in headers["Weir-Signature"].split(","))
        signed = [hmac.new(b"s3cret", parts["t"].encode() + b"." + b, hashlib.sha256).hexdigest()
                  for b in (body, gzip.decompress(body))]
        self.assertIn(parts["v1"], signed)
        self.assertEqual(json.loads(gzip.decompress(body))["batch_id"], headers["Idempotency-Key"])

    def test_04_a_dead_destination_holds_its_events(self):
        port = free_port()
        weir = self.weir(destinations=[destination("d", port)])
        ids = self.send(weir, 200)
        time.sleep(0.5)
        self.assertStatus(weir.request("GET", "/readyz"), 200)
        self.settles(weir, pending=200, sent=0)
        from harness import central_server
        central, server = central_server.start(port=port)
        self.addCleanup(central_server.stop, server)
        self.assertArrives(central, ids)

    def faulty(self, fault, n=40, ends_with=None):
        """Events wait while the fault lasts, a healthy destination beside gets them, all arrive after."""
        bad, good = self.central(), self.central()
        weir = self.weir(destinations=[destination("bad", bad.port, request_timeout="1s"),
                                       destination("good", good.port)])
        bad.fault(**fault)
        ids = self.send(weir, n)
        self.assertArrives(good, ids, timeout=10)
        eventually(lambda: bad.requests, "an attempt")
        started = time.monotonic()
        self.assertStatus(weir.post(event()), 200)
        self.assertLess(time.monotonic() - started, 2)
        bad.fault()
        self.assertArrives(bad, ids)
        return bad, weir

    def test_05_status_500_502_503_408_425(self):
        for status in (500, 502, 503, 408, 425):
            with self.subTest(status):
                self.faulty({"mode": "status", "status": status})

    def test_06_resets(self):
        self.faulty({"mode": "reset"})

    def test_07_reset_after_taking_sends_again_under_the_same_batch_id(self):
        bad, _ = self.faulty({"mode": "take_reset", "times": 3})
        ids = [b for b, carried in bad.batches.items() if len(carried) > 1]
        self.assertTrue(ids, bad.batches.keys())
        for batch in ids:
            first, *others = bad.batches[batch]
            for other in others:
                self.assertEqual(first, other)

    def test_08_garbage(self):
        self.faulty({"mode": "garbage"})

    def test_09_never_answering(self):
        bad, good = self.central(), self.central()
        bad.fault(mode="hang")
        weir = self.weir(destinations=[destination("bad", bad.port, request_timeout="500ms"),
                                       destination("good", good.port)])
        ids = self.send(weir, 40)
        self.assertArrives(good, ids, timeout=10)
        eventually(lambda: len(bad.requests) >= 2, "a second attempt after the timeout")
        bad.fault()
        self.assertArrives(bad, ids)

    def test_10_slow_answers_lose_nothing(self):
        central, weir = self.pair(batch={"max_events": 50})
        central.fault(mode="slow", seconds=0.3)
        ids = [i for _ in range(10) for i in self.send(weir, 50)]
        self.assertArrives(central, ids)
        self.assertEqual(central.counts()["duplicates"], 0)

    def test_11_retry_after_is_honoured(self):
        for status in (429, 503):
            with self.subTest(status):
                central, weir = self.pair()
                central.fault(mode="status", status=status, retry_after=2, times=1)
                ids = self.send(weir, 5)
                self.assertArrives(central, ids)
                first, second = central.requests[0][0], central.requests[1][0]
                self.assertGreater(second - first, 1.8)

    def test_12_attempts_back_off(self):
        central, weir = self.pair(retry={"base": "100ms", "cap": "10s"})
        central.fault(mode="status", status=500)
        self.send(weir, 5)
        time.sleep(3)
        self.assertLess(len(central.requests), 15)
        self.assertGreaterEqual(len(central.requests), 2)

    def test_13_poison_is_isolated(self):
        central, weir = self.pair(batch={"max_events": 64})
        central.fault(mode="poison", ids="^poison", status=400, body="cannot parse price")
        events = [event(id=f"poison-{i}" if i % 61 == 30 else f"fine-{i}") for i in range(300)]
        self.assertEqual(weir.post(events).json["accepted"], 300)
        fine = [e["id"] for e in events if e["id"].startswith("fine")]
        self.assertArrives(central, fine)
        poison = {e["id"] for e in events} - set(fine)
        self.settles(weir, failed=len(poison), sent=len(fine), pending=0)
        listed = weir.cli("failed", "list", "--json")
        self.assertEqual(listed.returncode, 0, listed)
        for i in poison:
            self.assertIn(i, listed.stdout)
        self.assertIn("http_400", listed.stdout)
        self.assertIn("cannot parse price", listed.stdout)
        self.assertEqual(weir.metric("weir_dead_letters", reason="http_400"), len(poison))

    def test_14_too_large_batches_are_split_and_all_arrives(self):
        central, weir = self.pair(batch={"max_events": 100})
        central.fault(mode="too_large", events=7)
        ids = self.send(weir, 100)
        self.assertArrives(central, ids)
        self.settles(weir, failed=0, sent=100)
        self.assertGreater(len(central.batches), 100 // 7)

    def test_15_parts_of_a_split_get_new_ids(self):
        central, weir = self.pair(batch={"max_events": 100})
        central.fault(mode="too_large", events=10)
        self.assertArrives(central, self.send(weir, 100))
        sizes = {}
        for _, _, batch, events, _ in central.requests:
            self.assertEqual(sizes.setdefault(batch, events), events)

    def dead(self, weir, n):
        def listed():
            done = weir.cli("failed", "list", "--json")
            self.assertEqual(done.returncode, 0, done)
            rows = json.loads(done.stdout)
            rows = rows if isinstance(rows, list) else rows.get("failed", rows.get("events", []))
            return (rows,) if len(rows) == n else None
        return eventually(listed, f"{n} dead letters")[0]

    def test_16_failed_events_are_shown_requeued_and_discarded(self):
        central, weir = self.pair()
        central.fault(mode="poison", ids="^bad", status=422, body="no such product")
        weir.post([event(id="bad-1"), event(id="bad-2"), event(id="ok-1")])
        rows = self.dead(weir, 2)
        by_id = {r["event_id"]: r for r in rows}
        self.assertEqual(set(by_id), {"bad-1", "bad-2"})
        one = by_id["bad-1"]
        self.assertEqual((one["status"], one["reason"]), (422, "http_422"))
        self.assertGreaterEqual(one["attempts"], 1)
        shown = weir.cli("failed", "show", str(one["id"]), "--json")
        self.assertIn("no such product", shown.stdout)
        self.assertIn("bad-1", shown.stdout)
        central.fault()
        done = weir.cli("failed", "requeue", str(one["id"]))
        self.assertEqual(done.returncode, 0, done)
        self.assertArrives(central, ["bad-1"])
        self.dead(weir, 1)
        done = weir.cli("failed", "discard", str(by_id["bad-2"]["id"]))
        self.assertEqual(done.returncode, 0, done)
        self.dead(weir, 0)
        self.assertNotIn(("default", "bad-2"), central.received)

    def test_17_failed_events_can_be_edited_and_exported(self):
        central, weir = self.pair()
        central.fault(mode="poison", ids="^bad", status=400)
        weir.post(event(id="bad-3", price="one"))
        (row,) = self.dead(weir, 1)
        exported = weir.cli("failed", "export")
        self.assertEqual(exported.returncode, 0, exported)
        self.assertIn("bad-3", exported.stdout)
        path = f"{self.directory}/edited.json"
        with open(path, "w", encoding="utf-8") as f:
            f.write('{"id":"bad-3","name":"test","price":1}')
        done = weir.cli("failed", "edit", str(row["id"]), "--file", path)
        self.assertEqual(done.returncode, 0, done)
        central.fault()
        self.assertEqual(weir.cli("failed", "requeue", str(row["id"])).returncode, 0)
        self.assertArrives(central, ["bad-3"])
        self.assertEqual(harness.arrived_events(central)["bad-3"]["raw"]["price"], 1)

    def test_18_an_exhausted_retry_window_fails_the_events(self):
        central, weir = self.pair(retry={"window": "1s", "base": "20ms", "cap": "100ms"})
        central.fault(mode="status", status=500, body="still broken")
        self.send(weir, 8)
        self.settles(weir, failed=8, pending=0)
        central.fault()
        self.assertArrives(central, self.send(weir, 3))

    def test_19_filters(self):
        one, two = self.central(), self.central()
        weir = self.weir(destinations=[destination("names", one.port, filter={"names": ["keep"]}),
                                       destination("all", two.port)])
        keep, skip = event(name="keep"), event(name="skip")
        weir.post([keep, skip])
        self.assertArrives(two, [keep["id"], skip["id"]])
        self.assertArrives(one, [keep["id"]])
        time.sleep(0.3)
        self.assertEqual(len(one.received), 1)

    def test_20_backlog_limit_refuses_new_events_and_recovers(self):
        central = self.central()
        weir = self.weir(destinations=[destination("d", central.port, max_backlog_bytes="1MiB")],
                         settings={"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB"})
        central.fault(mode="status", status=500)
        sent = []

        def refused():
            events = [event(p="x" * 1000) for _ in range(100)]
            answer = weir.post(events)
            if answer.status == 200:
                sent.extend(e["id"] for e in events)
                return None
            return answer
        answer = eventually(refused, "refusal")
        self.assertStatus(answer, 503)
        self.assertGreater(int(answer.header("retry-after")), 0)
        self.assertEqual(weir.request("GET", "/readyz").status, 503)
        central.fault()
        self.assertArrives(central, sent)
        eventually(lambda: weir.post(event()).status == 200, "accepted again")

    def test_21_backlog_limit_can_drop_the_oldest_counted(self):
        central = self.central()
        weir = self.weir(destinations=[destination("d", central.port, max_backlog_bytes="1MiB",
                                                   backlog_policy="drop_oldest")],
                         settings={"store.segment_bytes": "1MiB", "limits.event_bytes": "64KiB"})
        central.fault(mode="status", status=500)
        for _ in range(60):
            self.assertStatus(weir.post([event(p="x" * 1000) for _ in range(100)]), 200)
        eventually(lambda: weir.metric("weir_events_expired_total") > 0, "expired")
        central.fault()
        last = self.send(weir, 5)
        self.assertArrives(central, last)

    def test_22_a_dead_destination_does_not_slow_ingest(self):
        weir = self.weir(destinations=[destination(f"d{i}", free_port()) for i in range(8)])
        started = time.monotonic()
        for _ in range(100):
            self.assertStatus(weir.post(event()), 200)
        self.assertLess(time.monotonic() - started, 15)
