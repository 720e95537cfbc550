"""What browsers need: preflights, echoed origins, exposed headers, beacons."""
import json

import harness
from harness import Case, event


class Cors(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[harness.destination("d", self.upstream.port)], keys=[
            {"key": "any", "tenant": "a"},
            {"key": "some", "tenant": "b", "origins": ["https://shop.example", "https://*.cdn.example"]}])

    def preflight(self, path, origin, headers="authorization,content-type,x-retry-count"):
        return self.w.request("OPTIONS", path, headers={
            "Origin": origin, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": headers})

    def test_preflight_echoes_what_was_asked(self):
        for path in ("/v1/events", "/events", "/api/analytics/event", "/v1/batch", "/v1/track"):
            with self.subTest(path):
                answer = self.preflight(path, "https://anywhere.example")
                self.assertIn(answer.status, (200, 204))
                self.assertEqual(answer.header("access-control-allow-origin"), "https://anywhere.example")
                self.assertEqual(answer.header("access-control-allow-credentials"), "true")
                allowed = answer.header("access-control-allow-headers").lower().replace(" ", "")
                self.assertEqual(set(allowed.split(",")), {"authorization", "content-type", "x-retry-count"})
                self.assertIn("POST", answer.header("access-control-allow-methods"))
                self.assertGreaterEqual(int(answer.header("access-control-max-age")), 600)
                self.assertIn("origin", answer.header("vary").lower())

    def test_answers_carry_the_origin_and_expose_retry_after(self):
        for body, status in ((event(), 200), ("{", 400)):
            answer = self.w.post(body, headers={"Origin": "https://x.example", "X-Write-Key": "any"})
            self.assertStatus(answer, status)
            self.assertEqual(answer.header("access-control-allow-origin"), "https://x.example")
            self.assertEqual(answer.header("access-control-allow-credentials"), "true")
            self.assertIn("retry-after", answer.header("access-control-expose-headers").lower())
            self.assertIn("origin", answer.header("vary").lower())

    def test_a_request_without_origin_gets_no_cors_headers(self):
        answer = self.w.post(event(), headers={"X-Write-Key": "any"})
        self.assertIsNone(answer.header("access-control-allow-origin"))

    def test_a_keys_origins_are_enforced(self):
        for origin, status in (("https://shop.example", 200), ("https://evil.example", 403),
                               ("http://shop.example", 403), ("https://shop.example.evil.example", 403)):
            with self.subTest(origin):
                answer = self.w.post(event(), headers={"Origin": origin, "X-Write-Key": "some"})
                self.assertStatus(answer, status)
        self.assertStatus(self.w.post(event(), headers={"X-Write-Key": "some"}), 200)

    def test_a_hostile_origin_cannot_inject_headers(self):
        connection = self.w.raw(b"OPTIONS /v1/events HTTP/1.1\r\nHost: localhost\r\n"
                                b"Origin: https://x\x01y\r\nConnection: close\r\n\r\n", 5)
        self.assertNotIn(b"x\x01y", connection.received)

    def test_beacons_of_each_kind_are_json_whatever_they_say(self):
        for kind in ("text/plain;charset=UTF-8", "application/x-www-form-urlencoded", None,
                     "application/octet-stream"):
            with self.subTest(kind):
                one = event(token="any")
                headers = {"Origin": "https://x.example"}
                if kind:
                    headers["Content-Type"] = kind
                answer = self.w.request("POST", "/v1/events", json.dumps(one), headers)
                self.assertStatus(answer, 200)
                self.assertArrives(self.upstream, [one["id"]], "a")
