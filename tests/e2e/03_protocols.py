"""Other paths: mission D1 word for word, and Segment's protocol as its clients use it."""
import base64
import gzip
import json

import harness
from harness import Case, arrived_events, eventually, unique


class Direct(Case):
    """D1: POST /api/analytics/event(s); clients compare these bodies."""

    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[harness.destination("d", self.upstream.port)])

    def post(self, body, path="/api/analytics/event", headers=None):
        return self.w.post(body, path=path, headers=headers)

    def test_saved(self):
        response = self.post({"sessionId": "s1", "event": {"id": "d1", "name": "click", "x": 1}})
        self.assertStatus(response, 200)
        self.assertEqual(response.json, {"success": True, "eventProcessed": 1,
                                         "message": "Event saved successfully"})
        self.assertArrives(self.upstream, ["d1"])
        self.assertEqual(arrived_events(self.upstream)["d1"]["session_id"], "s1")

    def test_without_a_session(self):
        for body in ({"event": {"name": "x"}}, {"sessionId": "", "event": {"name": "x"}},
                     {"sessionId": None, "event": {"name": "x"}}, {}):
            response = self.post(body)
            self.assertStatus(response, 400)
            self.assertEqual(response.json["success"], False)
            self.assertEqual(response.json["message"], "Session ID is required")

    def test_without_an_event_object(self):
        for body in ({"sessionId": "s"}, {"sessionId": "s", "event": None}, {"sessionId": "s", "event": "x"},
                     {"sessionId": "s", "event": [1]}):
            response = self.post(body)
            self.assertStatus(response, 400)
            self.assertEqual(response.json["message"], "Valid event object is required")

    def test_batch_form(self):
        events = [{"id": unique(), "name": "n"} for _ in range(12)]
        response = self.post({"sessionId": "s9", "events": events}, path="/api/analytics/events")
        self.assertStatus(response, 200)
        self.assertEqual(response.json["success"], True)
        self.assertEqual(response.json["eventProcessed"], 12)
        self.assertArrives(self.upstream, [e["id"] for e in events])
        for got in arrived_events(self.upstream).values():
            self.assertEqual(got["session_id"], "s9")

    def test_a_repeated_event_is_success(self):
        body = {"sessionId": "s1", "event": {"id": "same", "name": "click"}}
        first, second = self.post(body), self.post(body)
        self.assertEqual((first.status, second.status), (200, 200))
        self.assertIs(second.json["success"], True)
        eventually(lambda: self.w.metric("weir_events_total", outcome="duplicate") == 1, "duplicate")

    def test_an_invalid_bearer_token_still_counts(self):
        response = self.post({"sessionId": "s", "event": {"id": "b1", "name": "n"}},
                             headers={"Authorization": "Bearer not-a-jwt"})
        self.assertStatus(response, 200)
        self.assertArrives(self.upstream, ["b1"])
        self.assertIsNone(arrived_events(self.upstream)["b1"].get("user_id"))


class Segment(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[harness.destination("d", self.upstream.port)],
                           keys=[{"key": "wk_test", "tenant": "acme"}])
        self.basic = {"Authorization": "Basic " + base64.b64encode(b"wk_test:").decode()}

    def batch(self, n=3, **top):
        events = [{"type": "track", "event": "Order Completed", "messageId": unique("m"), "userId": "u",
                   "timestamp": "2026-11-20T20:28:20.896Z", "properties": {"i": i}} for i in range(n)]
        return {"batch": events, "sentAt": "2026-11-20T20:28:21.000Z", **top}

    def test_batch_with_basic_key(self):
        body = self.batch(context={"library": {"name": "x"}})
        response = self.w.post(body, path="/v1/batch", headers=self.basic)
        self.assertStatus(response, 200)
        self.assertEqual(response.json, {"success": True})
        self.assertArrives(self.upstream, [e["messageId"] for e in body["batch"]], "acme")
        for sent in body["batch"]:
            got = arrived_events(self.upstream)[sent["messageId"]]
            self.assertEqual(got["source"], "segment")
            self.assertEqual(got["name"], "Order Completed")
            self.assertEqual(got["raw"], sent)
            self.assertEqual(got["envelope"]["sentAt"], body["sentAt"])

    def test_key_in_body_query_and_header(self):
        for path, headers, top in (("/v1/batch", {}, {"writeKey": "wk_test"}),
                                   ("/beacon/v1/batch?writeKey=wk_test", {"Content-Type": "text/plain"}, {}),
                                   ("/v1/batch", {"X-Write-Key": "wk_test"}, {})):
            with self.subTest(path=path, headers=headers):
                body = self.batch(**top)
                self.assertStatus(self.w.post(body, path=path, headers=headers), 200)
                self.assertArrives(self.upstream, [e["messageId"] for e in body["batch"]], "acme")

    def test_unknown_key(self):
        self.assertStatus(self.w.post(self.batch(writeKey="nope"), path="/v1/batch"), 401)
        self.assertStatus(self.w.post(self.batch(), path="/v1/batch"), 401)

    def test_single_calls(self):
        for kind in ("track", "identify", "page", "screen", "group", "alias"):
            with self.subTest(kind):
                one = {"messageId": unique(kind), "userId": "u", "event": "E", "name": "P",
                       "previousId": "p", "groupId": "g"}
                self.assertStatus(self.w.post(one, path=f"/v1/{kind}", headers=self.basic), 200)
                self.assertArrives(self.upstream, [one["messageId"]], "acme")

    def test_rudder_sends_gzip_as_a_form(self):
        body = self.batch()
        response = self.w.request("POST", "/v1/batch", gzip.compress(json.dumps(body).encode()),
                                  {"Content-Type": "application/x-www-form-urlencoded",
                                   "Content-Encoding": "gzip", **self.basic})
        self.assertStatus(response, 200)
        self.assertArrives(self.upstream, [e["messageId"] for e in body["batch"]], "acme")

    def test_a_retry_with_another_sent_at_is_one_event(self):
        body = self.batch(n=1)
        self.w.post(body, path="/v1/batch", headers=self.basic)
        body["sentAt"] = "2026-11-20T20:29:59.000Z"
        self.assertStatus(self.w.post(body, path="/v1/batch", headers=self.basic), 200)
        eventually(lambda: self.w.metric("weir_events_total", outcome="duplicate") == 1, "duplicate")

    def test_permanent_errors_are_400(self):
        for body in ("{", "[]", '{"batch":7}', '"x"'):
            self.assertStatus(self.w.post(body, path="/v1/batch", headers=self.basic), 400)

    def test_never_a_redirect(self):
        for path in ("/v1/batch/", "/v1/track/", "/v1/events/"):
            status = self.w.post(self.batch(), path=path, headers=self.basic).status
            self.assertFalse(300 <= status < 400, (path, status))
