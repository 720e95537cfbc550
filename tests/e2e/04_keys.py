"""Write keys: where they are found, what they require, why an event is rejected, and that it is counted."""
import base64

import harness
from harness import Case, event, eventually


class Keys(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[harness.destination("d", self.upstream.port)], keys=[
            {"key": "plain", "tenant": "acme"},
            {"key": "campaign", "tenant": "ads", "require": ["campaign_id", "tracking_id"],
             "patterns": {"tracking_id": "T[0-9]+"}, "allow": {"campaign_id": ["spring", "autumn"]}},
            {"key": "fast", "tenant": "acme", "ack": ["committed", "received"]},
            {"key": "sand", "tenant": "acme", "sandbox": True}])

    def send(self, key, body, **more):
        return self.w.post(body, headers={"X-Write-Key": key}, **more)

    def test_01_unknown_and_missing_keys_are_401(self):
        self.assertError(self.send("nope", event()), 401, "unknown_key")
        self.assertStatus(self.w.post(event()), 401)
        eventually(lambda: self.w.metric("weir_events_total", outcome="rejected")
                   + self.w.metric("weir_http_errors_total", code="unknown_key")
                   + self.w.metric("weir_http_requests_total", status="401") >= 2, "counted")

    def test_02_each_place_of_a_key(self):
        token = base64.b64encode(b"plain:").decode()
        for headers, query, extra in (({"Authorization": "Bearer plain"}, "", {}),
                                      ({"Authorization": f"Basic {token}"}, "", {}),
                                      ({"X-Write-Key": "plain"}, "", {}), ({}, "?key=plain", {}),
                                      ({}, "", {"writeKey": "plain"}), ({}, "", {"api_key": "plain"}),
                                      ({}, "", {"apiKey": "plain"}), ({}, "", {"token": "plain"}),
                                      ({}, "", {"properties": {"token": "plain"}})):
            with self.subTest(headers=headers, query=query, extra=extra):
                one = event(**extra)
                self.assertStatus(self.w.post(one, path="/v1/events" + query, headers=headers), 200)
                self.assertArrives(self.upstream, [one["id"]], "acme")

    def test_03_the_header_beats_the_body(self):
        one = event(writeKey="nope")
        self.assertStatus(self.send("plain", one), 200)
        self.assertStatus(self.send("nope", event(writeKey="plain")), 401)

    def test_04_required_fields_and_their_reasons(self):
        good = event(campaign_id="spring", tracking_id="T12")
        cases = [({"tracking_id": "T1"}, "missing_campaign_id"),
                 ({"campaign_id": "spring"}, "missing_tracking_id"),
                 ({"campaign_id": "winter", "tracking_id": "T1"}, "campaign_id"),
                 ({"campaign_id": "spring", "tracking_id": "X1"}, "invalid_tracking_id"),
                 ({"campaign_id": "", "tracking_id": "T1"}, "campaign_id"),
                 ({"campaign_id": None, "tracking_id": "T1"}, "campaign_id"),
                 ({"campaign_id": {"a": 1}, "tracking_id": "T1"}, "campaign_id")]
        response = self.send("campaign", [good] + [event(**c) for c, _ in cases])
        self.assertStatus(response, 200)
        body = response.json
        self.assertEqual((body["accepted"], body["rejected"]), (1, len(cases)), body)
        for row in body["results"]:
            self.assertIn(cases[row["index"] - 1][1], row["reason"], (cases[row["index"] - 1], row))
        eventually(lambda: self.w.metric("weir_events_total", outcome="rejected",
                                         reason="missing_campaign_id") >= 1, "counted by reason")
        self.assertArrives(self.upstream, [good["id"]], "ads")

    def test_05_required_fields_in_properties_and_context(self):
        events = [event(properties={"campaign_id": "spring", "tracking_id": "T1"}),
                  event(context={"campaign": {"campaign_id": "autumn", "tracking_id": "T2"}})]
        body = self.send("campaign", events).json
        self.assertEqual((body["accepted"], body["rejected"]), (2, 0), body)
        self.assertArrives(self.upstream, [e["id"] for e in events], "ads")

    def test_06_a_lesser_acknowledgement_only_where_the_key_allows_it(self):
        response = self.send("fast", [event(), event()], path="/v1/events?ack=received")
        self.assertStatus(response, 202)
        self.assertEqual(response.json, {"received": 2})
        self.assertEqual(response.header("weir-ack"), "received")
        refused = self.send("plain", event(), path="/v1/events?ack=received")
        self.assertTrue(refused.status == 200 and refused.header("weir-ack") == "committed"
                        or refused.status == 400, refused)

    def test_07_sandbox_events_are_stored_and_never_forwarded(self):
        sand, real = event(), event()
        self.assertStatus(self.send("sand", sand), 200)
        self.assertStatus(self.send("plain", real), 200)
        self.assertArrives(self.upstream, [real["id"]], "acme")
        self.assertNotIn(("acme", sand["id"]), self.upstream.received)
        self.assertEqual(self.send("sand", sand).json["duplicates"], 1)

    def test_08_tenants_do_not_share_ids(self):
        one = event(campaign_id="spring", tracking_id="T1")
        self.assertEqual(self.send("plain", one).json["accepted"], 1)
        self.assertEqual(self.send("campaign", one).json["accepted"], 1)
        self.assertArrives(self.upstream, [one["id"]], "acme")
        self.assertArrives(self.upstream, [one["id"]], "ads")


class OpenMode(Case):
    def test_a_foreign_host_or_forwarding_header_is_refused(self):
        weir = self.weir()
        self.assertStatus(weir.post(event()), 200)
        self.assertStatus(weir.post(event(), headers={"Host": "evil.example"}), 403)
        self.assertStatus(weir.post(event(), headers={"X-Forwarded-For": "1.2.3.4"}), 403)
