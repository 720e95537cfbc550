"""Hot reload of destinations, limits and keys: all or nothing, told in log and answer."""
import json
import signal

import harness
from harness import Case, destination, event, eventually, request


class Destinations(Case):
    def reload(self, weir, status=200):
        weir.write_config()
        answer = request(weir.admin, "POST", "/api/v1/reload", b"")
        self.assertStatus(answer, status)
        return answer.json

    def send(self, weir, n=5):
        events = [event() for _ in range(n)]
        self.assertStatus(weir.post(events), 200)
        return [e["id"] for e in events]

    def test_01_a_destination_is_added_and_gets_everything(self):
        one, two = self.central(), self.central()
        weir = self.weir(destinations=[destination("one", one.port)])
        before = self.send(weir)
        self.assertArrives(one, before)
        weir.destinations.append(destination("two", two.port))
        changes = {c["option"]: c for c in self.reload(weir)["changes"]}
        self.assertEqual(changes["destinations.two.name"]["after"], '"two"')
        after = self.send(weir)
        self.assertArrives(one, after)
        self.assertArrives(two, before + after)
        self.assertIn("destinations.two.url", weir.log())
        self.assertEqual(weir.stats()["destinations"]["two"]["sent"], 10)

    def test_02_a_destination_is_changed_under_load_and_nothing_is_lost(self):
        old, new = self.central(), self.central()
        old.fault(mode="slow", seconds=0.3)
        weir = self.weir(destinations=[destination("main", old.port, batch={"max_events": 5})])
        ids = self.send(weir, 40)
        eventually(lambda: old.received, "the first batch")
        weir.destinations[0] = destination("main", new.port, headers={"X-Version": "2"},
                                           hmac_key="top secret")
        told = json.dumps(self.reload(weir))
        self.assertNotIn("top secret", told)
        self.assertIn("(secret)", told)
        self.assertNotIn("top secret", weir.log())
        ids += self.send(weir, 40)
        eventually(lambda: {("default", i) for i in ids} <= old.received.keys() | new.received.keys(), "all")
        eventually(lambda: weir.stats()["destinations"]["main"]["sent"] == 80, lambda: weir.stats())
        headers = new.requests[-1][4]
        self.assertEqual(headers.get("X-Version") or headers.get("x-version"), "2")

    def test_03_a_removed_destination_stops_and_comes_back_where_it_was(self):
        one, two = self.central(), self.central()
        weir = self.weir(destinations=[destination("one", one.port), destination("two", two.port)])
        first = self.send(weir)
        self.assertArrives(two, first)
        eventually(lambda: weir.stats()["destinations"]["two"]["sent"] == 5, "marked")
        gone = weir.destinations.pop()
        self.reload(weir)
        second = self.send(weir)
        self.assertArrives(one, second)
        self.assertEqual(len(two.received), 5)
        weir.destinations.append(gone)
        self.reload(weir)
        self.assertArrives(two, second)
        self.assertEqual(two.counts()["duplicates"], 0)

    def test_04_what_needs_a_restart_refuses_the_whole_reload(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port)])
        weir.destinations.append(destination("second", central.port))
        weir.write_config()
        with open(weir.config, "a", encoding="utf-8") as f:
            f.write('[store]\nretention = "1d"\n')
        answer = request(weir.admin, "POST", "/api/v1/reload", b"")
        self.assertStatus(answer, 400)
        answer = answer.json
        self.assertIn("store.retention can only change with a restart; put back", answer["message"])
        self.assertNotIn("second", weir.stats()["destinations"])

    def test_05_a_bad_file_changes_nothing_and_says_where(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port)], keys=[{"key": "one"}])
        weir.keys[0]["key"] = "two"
        weir.destinations[0]["compresion"] = "none"
        answer = self.reload(weir, status=400)
        self.assertIn("weir.toml:", answer["message"])
        self.assertIn("compression", answer["message"])  # did you mean
        weir.signal(signal.SIGHUP)
        eventually(lambda: weir.log().count("reload_refused") >= 2, "the signal's reload is refused too")
        self.assertStatus(weir.post(event(id="still"), headers={"X-Write-Key": "one"}), 200)
        self.assertArrives(central, ["still"])
        self.assertEqual(weir.metric("weir_config_reloads_total", outcome="refused"), 2)

    def test_06_what_only_a_component_can_judge_changes_nothing_either(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port)])
        weir.destinations.append(destination("tls", central.port, tls={"ca_file": "/no/such/file.pem"}))
        weir.destinations[0]["headers"] = {"X-New": "1"}
        answer = self.reload(weir, status=400)
        self.assertIn("tls", answer["message"])
        self.assertArrives(central, self.send(weir))
        self.assertNotIn("X-New", {k for r in central.requests for k in r[4]})
        self.assertNotIn("tls", weir.stats()["destinations"])

    def test_07_limits_change_without_a_restart(self):
        weir = self.weir()
        big = event(p="x" * 20000)
        self.assertStatus(weir.post(big), 200)
        with open(weir.config, "w", encoding="utf-8") as f:
            f.write('[limits]\nbody_bytes = "10KiB"\n')
        answer = request(weir.admin, "POST", "/api/v1/reload", b"")
        self.assertEqual(answer.json["changed"], ["limits.body_bytes"], answer)
        eventually(lambda: weir.post(big).status == 413, "the new limit")

    def test_08_the_same_file_changes_nothing(self):
        central = self.central()
        weir = self.weir(destinations=[destination("main", central.port)])
        self.assertEqual(self.reload(weir), {"changed": [], "changes": []})
        self.assertArrives(central, self.send(weir))
        self.assertIsNotNone(harness)

    def lease(self, weir, consumer, **body):
        return request(weir.admin, "POST", f"/pull/v1/{consumer}/lease", body)

    def test_09_declared_consumers_come_change_and_go_while_a_lease_is_held(self):
        weir = self.weir(sections={"consumers": [{"name": "one", "lease_seconds": 60}]})
        ids = self.send(weir, 4)
        held = self.lease(weir, "one", max_events=2).json
        weir.sections["consumers"] = [{"name": "one", "lease_seconds": 60, "max_deliveries": 3},
                                      {"name": "two", "filter": {"names": ["other"]}}]
        told = self.reload(weir)
        self.assertEqual(told["changed"], ["consumers"])
        changes = {c["option"]: (c["before"], c["after"]) for c in told["changes"]}
        self.assertEqual(changes["consumers.one.max_deliveries"], ("16", "3"))
        self.assertEqual(changes["consumers.two.name"], ("", '"two"'))
        self.assertIn("consumers.one.max_deliveries", weir.log())

        def shown(name):
            return weir.get_admin(f"/api/v1/consumers/{name}").json
        eventually(lambda: shown("one").get("max_deliveries") == 3, lambda: shown("one"))
        eventually(lambda: shown("two").get("declared"), lambda: shown("two"))
        self.assertEqual(self.lease(weir, "two").status, 204)
        self.assertStatus(weir.post([event(id="x", name="other")]), 200)
        self.assertEqual([e["id"] for e in self.lease(weir, "two").json["events"]], ["x"])
        self.assertStatus(request(weir.admin, "POST", "/pull/v1/one/ack", {"lease": held["lease"]}), 200)
        # Taken out it goes on as one made at run time, with the settings it had, until it is deleted.
        weir.sections["consumers"] = []
        self.reload(weir)
        eventually(lambda: shown("one")["declared"] is False, lambda: shown("one"))
        self.assertEqual([e["id"] for e in self.lease(weir, "one").json["events"]], ids[2:] + ["x"])
        weir.kill()
        weir.start()
        self.assertEqual(shown("one")["max_deliveries"], 3)
        self.assertEqual(weir.cli("consumer", "delete", "one").returncode, 0)
        # A name a destination has cannot become a consumer's, and the reload says so.
        weir.sections["consumers"] = [{"name": "main"}]
        weir.destinations = [destination("main", harness.free_port())]
        self.assertIn("used twice", self.reload(weir, status=400)["message"])

    def test_10_limits_of_events_watermarks_and_retry_after_change_without_a_restart(self):
        weir = self.weir()
        big = event(p="x" * 5000)
        self.assertStatus(weir.post(big), 200)

        def reload(limits):
            with open(weir.config, "w", encoding="utf-8") as f:
                f.write("[limits]\n" + limits)
            return request(weir.admin, "POST", "/api/v1/reload", b"")
        told = reload('event_bytes = "4KiB"\nrequest_events = 3\nretry_after = 9\nready_percent = 1\n')
        self.assertStatus(told, 200)
        self.assertEqual(set(told.json["changed"]), {"limits.event_bytes", "limits.request_events",
                                                     "limits.retry_after", "limits.ready_percent"})
        eventually(lambda: weir.post(big).status == 413, "the new limit of an event")
        self.assertStatus(weir.post([event() for _ in range(4)]), 413)
        self.assertStatus(request(weir.admin, "POST", "/api/v1/drain", b""), 200)
        refused = weir.post(event())
        self.assertStatus(refused, 503)
        self.assertEqual(refused.header("Retry-After"), "9")
        self.assertStatus(request(weir.admin, "POST", "/api/v1/drain/resume", b""), 200)
        # What makes no sense together changes nothing.
        refused = reload('event_bytes = "4KiB"\nready_percent = 95\n')
        self.assertStatus(refused, 400)
        self.assertIn("limits.ready_percent", refused.json["message"])
        self.assertStatus(weir.post([event() for _ in range(4)]), 413)
        self.assertStatus(reload(""), 200)
        eventually(lambda: weir.post(big).status == 200, "the defaults")
