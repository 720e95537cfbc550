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
        weir.sections["consumers"] = [{"name": "central"}]
        weir.destinations.append(destination("second", central.port))
        answer = self.reload(weir, status=400)
        self.assertIn("consumers.0.name", answer["message"])
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
