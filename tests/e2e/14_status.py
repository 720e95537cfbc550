"""Statistics, the command line, metrics: cached and fresh, and the totals agree with one another."""
import json
import time

import harness
from harness import Case, destination, event, eventually


class Statistics(Case):
    def test_01_counts_by_state_destination_and_tenant(self):
        good, bad = self.central(), self.central()
        weir = self.weir(destinations=[destination("good", good.port), destination("bad", bad.port)],
                         keys=[{"key": "a", "tenant": "ta"}, {"key": "b", "tenant": "tb"}])
        bad.fault(mode="poison", ids="^x")
        send = lambda key, n, p: weir.post([event(id=f"{p}{key}{i}") for i in range(n)], headers={"X-Write-Key": key})  # noqa: E731
        send("a", 10, "n")
        send("b", 5, "n")
        send("b", 2, "x")
        send("b", 2, "x")
        want = {"pending": 0, "sent": 15, "failed": 2, "accepted": 17, "duplicates": 2}
        eventually(lambda: {k: weir.stats()[k] for k in want} == want, lambda: weir.stats())
        stats = weir.stats()
        self.assertEqual(stats["destinations"]["good"]["sent"], 17)
        self.assertEqual(stats["destinations"]["bad"]["failed"], 2)
        self.assertEqual(stats["tenants"]["ta"], {"pending": 0, "sent": 10, "failed": 0})
        self.assertEqual(stats["tenants"]["tb"], {"pending": 0, "sent": 5, "failed": 2})
        self.assertIn("generated_at", stats)
        self.assertEqual(stats["cache_ttl_seconds"], 3600)
        self.assertIn("consumers", stats)

    def test_02_cached_until_asked_for_fresh_ones(self):
        weir = self.weir()
        weir.post(event())
        first = weir.stats(fresh=False)
        weir.post([event(), event()])
        time.sleep(0.2)
        self.assertEqual(weir.stats(fresh=False)["pending"], first["pending"])
        self.assertEqual(weir.stats(fresh=False)["generated_at"], first["generated_at"])
        self.assertEqual(weir.stats(fresh=True)["pending"], 3)
        self.assertEqual(weir.stats(fresh=False)["pending"], 3)

    def test_03_the_cache_expires(self):
        weir = self.weir(settings={"stats.cache_ttl": "1s"})
        weir.stats(fresh=False)
        weir.post(event())
        eventually(lambda: weir.stats(fresh=False)["pending"] == 1, "an expired cache")

    def test_04_without_a_destination_everything_is_pending(self):
        weir = self.weir()
        weir.post([event(), event()])
        stats = weir.stats()
        self.assertEqual((stats["pending"], stats["sent"], stats["failed"]), (2, 0, 0))

    def test_05_rejections_by_reason(self):
        weir = self.weir()
        weir.post([event(), {"id": "1"}, {"id": "2"}])
        self.assertEqual(weir.stats()["rejected"].get("missing_name"), 2)

    def test_06_status_shows_live_counters(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port)])
        weir.post([event() for _ in range(11)])
        eventually(lambda: len(central.received) == 11, "sent")
        text = weir.cli("status")
        self.assertEqual(text.returncode, 0, text)
        self.assertIn("main", text.stdout)
        self.assertIn("11", text.stdout)
        shown = json.loads(weir.cli("status", "--json").stdout)
        self.assertIsInstance(shown, dict)

    def test_07_clients_of_a_dead_server_fail_with_1(self):
        weir = self.weir()
        weir.stop()
        done = weir.cli("status")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(str(weir.admin), done.stderr)

    def test_08_admin_tokens(self):
        import hashlib
        digest = hashlib.sha256(b"tok-admin").hexdigest()
        metrics = hashlib.sha256(b"tok-metrics").hexdigest()
        weir = self.weir(start=False, sections={"tokens": [{"name": "a", "hash": digest, "role": "admin"},
                                                           {"name": "m", "hash": metrics, "role": "metrics"}]})
        weir.start()
        for token, path, status in ((None, "/api/v1/stats", 401), ("wrong", "/api/v1/stats", 401),
                                    ("tok-admin", "/api/v1/stats", 200), ("tok-metrics", "/metrics", 200),
                                    ("tok-metrics", "/api/v1/stats", 403), (None, "/livez", 200)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            self.assertStatus(weir.get_admin(path, headers=headers), status)
        done = weir.cli("status", env={"WEIR_TOKEN": "tok-admin"})
        self.assertEqual(done.returncode, 0, done)

    def test_09_every_documented_metric_family_is_exported(self):
        central = self.central()
        weir = self.weir(destinations=[destination("d", central.port)])
        weir.post(event())
        eventually(lambda: central.received, "sent")
        text = weir.get_admin("/metrics").body.decode()
        for name in ("weir_build_info", "weir_http_requests_total", "weir_events_total", "weir_parse_slice_seconds",
                     "weir_commit_seconds", "weir_sync_seconds", "weir_commit_events", "weir_store_bytes",
                     "weir_oldest_pending_seconds", "weir_dedupe_entries", "weir_dedupe_window_seconds",
                     "weir_forward_attempts_total", "weir_forward_oldest_unsent_seconds", "weir_connections_open",
                     "weir_body_budget_used_bytes", "weir_store_accepting"):
            self.assertRegex(text, rf"(?m)^# TYPE {name} ", name)
        self.assertEqual(weir.metric("weir_store_accepting"), 1)
        self.assertEqual(weir.metric("weir_events_total", outcome="stored"), 1)
        self.assertEqual(weir.metric("weir_forward_events_total", destination="d", outcome="sent"), 1)

    def test_10_logs_are_structured(self):
        weir = self.weir(settings={"log.format": "json"})
        weir.stop()
        for line in weir.log().splitlines():
            json.loads(line)

    def test_11_metrics_pass_a_plain_parser(self):
        weir = self.weir()
        weir.post(event())
        for line in weir.get_admin("/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                self.assertRegex(line, r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^{}]*\})? (-?[0-9.e+-]+|\+Inf|NaN)$')
        self.assertIsNotNone(harness)
