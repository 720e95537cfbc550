"""The live stream of the admin listener on the real binary: /api/v1/live as server-sent events."""
import hashlib
import http.client
import json
import time

from harness import Case, destination, event, eventually, request


class Reader:
    """Reads server-sent events; (id, type, data) each."""

    def __init__(self, port, path="/api/v1/live", headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.connection.request("GET", path, headers=headers or {})
        self.answer = self.connection.getresponse()

    def frame(self):
        fields = {"data": ""}
        while line := self.answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if line == "\n" and "event" in fields:
                return int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields[name] = value
        return None     # the stream has ended

    def until(self, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.frame()
            if found and condition(found[2]):
                return found
        raise AssertionError("no such frame")

    def close(self):
        self.answer.close()
        self.connection.close()


class Live(Case):
    def reader(self, weir, **options):
        reader = Reader(weir.admin, **options)
        self.addCleanup(reader.close)
        return reader

    def test_counters_follow_what_happens(self):
        central = self.central()
        weir = self.weir(destinations=[destination("saas", central.port)],
                         keys=[{"key": "k", "tenant": "t", "require": ["campaign_id"]}])
        reader = self.reader(weir)
        self.assertEqual(reader.answer.status, 200)
        self.assertEqual(reader.answer.getheader("Content-Type"), "text/event-stream")
        self.assertEqual(reader.answer.getheader("Cache-Control"), "no-store")
        first_id, kind, first = reader.frame()
        self.assertEqual((kind, first["accepted"]), ("counters", 0))
        self.assertTrue(first["store"]["ready"])
        headers = {"X-Write-Key": "k"}
        good = event(campaign_id="c")
        weir.post([good, good, event()], headers=headers)
        number, _, live = reader.until(lambda c: c["sent"] == 1)
        self.assertGreater(number, first_id)
        self.assertEqual((live["accepted"], live["duplicates"]), (1, 1))
        self.assertEqual(live["rejected"], {"missing_campaign_id": 1})
        lane = live["destinations"]["saas"]
        self.assertEqual((lane["pending"], lane["sent"], lane["failed"]), (0, 1, 0))
        self.assertEqual(lane["state"], "idle")
        self.assertGreater(live["latency"]["commit"]["count"], 0)
        self.assertGreater(live["latency"]["sync"]["p99_ms"], 0)
        self.assertEqual(live["connections"]["admin"], 1)
        self.assertGreater(live["process"]["resident_bytes"], 0)
        self.assertGreater(live["store"]["disk_free_bytes"], 0)

    def test_who_leaves_is_forgotten_and_one_too_many_is_refused(self):
        weir = self.weir(settings={"server.admin_streams": 1})
        first = self.reader(weir)
        first.frame()
        self.assertError(weir.get_admin("/api/v1/live"), 503, "busy")
        self.assertEqual(weir.metric("weir_stream_subscribers", topic="live"), 1)
        self.assertEqual(weir.metric("weir_http_limit_hits_total", limit="admin_streams"), 1)
        first.close()
        eventually(lambda: weir.metric("weir_stream_subscribers", topic="live") == 0, "the reader's end is noticed")
        self.assertIsNotNone(self.reader(weir).frame())

    def test_a_stopping_server_ends_its_streams(self):
        weir = self.weir()
        reader = self.reader(weir)
        reader.frame()
        started = time.monotonic()
        self.assertEqual(weir.stop(), 0)
        self.assertLess(time.monotonic() - started, 8)
        while reader.frame() is not None:       # ends with the last chunk, not with a reset
            pass

    def test_only_with_an_admin_token_and_a_reload_asks_again(self):
        tokens = [{"name": name, "hash": hashlib.sha256(name.encode()).hexdigest(), "role": role}
                  for name, role in (("boss", "admin"), ("scraper", "metrics"))]
        weir = self.weir(sections={"tokens": tokens})
        self.assertStatus(weir.get_admin("/api/v1/live"), 401)
        self.assertStatus(weir.get_admin("/api/v1/live", headers={"Authorization": "Bearer scraper"}), 403)
        headers = {"Authorization": "Bearer boss"}
        reader = self.reader(weir, headers=headers)
        reader.frame()
        tokens[0]["hash"] = hashlib.sha256(b"other").hexdigest()
        weir.write_config()
        self.assertStatus(request(weir.admin, "POST", "/api/v1/reload", b"", headers), 200)
        while reader.frame() is not None:
            pass
        self.assertStatus(weir.get_admin("/api/v1/live", headers=headers), 401)
