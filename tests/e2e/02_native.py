"""POST /v1/events: every form, the answers, per-event results, whole-request errors."""
import json

import harness
from harness import Case, arrived_events, event, eventually, raw_of, unique


class Native(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[harness.destination("d", self.upstream.port)])

    def accepted(self, response, accepted, duplicates=0, rejected=0):
        self.assertStatus(response, 200)
        body = response.json
        self.assertEqual((body["accepted"], body["duplicates"], body["rejected"]),
                         (accepted, duplicates, rejected), body)
        self.assertEqual(response.header("weir-ack"), "committed")
        return body

    def test_01_one_event_is_committed_and_arrives(self):
        one = event(name="page_view", userId="u1", properties={"a": 1})
        body = self.accepted(self.w.post(one), 1)
        self.assertEqual(body["results"], [])
        self.assertArrives(self.upstream, [one["id"]])
        got = arrived_events(self.upstream)[one["id"]]
        self.assertEqual(got["name"], "page_view")
        self.assertEqual(got["tenant"], "default")
        self.assertEqual(got["user_id"], "u1")
        self.assertEqual(got["raw"], one)
        self.assertRegex(got["seq"], r"^\d+-\d+$")
        self.assertRegex(got["received_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")

    def test_02_array_wrapper_and_ndjson(self):
        for kind, form in (("array", json.dumps),
                           ("wrapper", lambda e: json.dumps({"events": e})),
                           ("ndjson", lambda e: "\n".join(map(json.dumps, e))),
                           ("ndjson with final line break", lambda e: "\r\n".join(map(json.dumps, e)) + "\r\n")):
            with self.subTest(kind):
                events = [event() for _ in range(20)]
                kind_of = "application/x-ndjson" if kind.startswith("ndjson") else "application/json"
                self.accepted(self.w.post(form(events), headers={"Content-Type": kind_of}), 20)
                self.assertArrives(self.upstream, [e["id"] for e in events])

    def test_03_events_path_answers_the_same(self):
        one = event()
        self.accepted(self.w.post(one, path="/events"), 1)
        self.assertArrives(self.upstream, [one["id"]])

    def test_04_aliases_of_id_and_name(self):
        for fields in ({"messageId": "i1", "eventName": "n"}, {"eventId": "i2", "event": "n"},
                       {"message_id": "i3", "eventType": "n"}, {"event_id": "i4", "type": "n"},
                       {"id": "i5", "event_name": "n"}, {"id": "i6", "event_type": "n"}):
            with self.subTest(fields=fields):
                self.accepted(self.w.post(fields), 1)
        self.assertArrives(self.upstream, [f"i{n}" for n in range(1, 7)])
        for got in arrived_events(self.upstream).values():
            self.assertEqual(got["name"], "n")

    def test_05_canonical_fields_in_both_spellings(self):
        fields = ("sessionId", "userId", "anonymousId", "shopId", "locationId", "url", "referrer",
                  "campaign_id", "tracking_id", "variant")
        snake = {"sessionId": "session_id", "userId": "user_id", "anonymousId": "anonymous_id",
                 "shopId": "shop_id", "locationId": "location_id"}
        camel = {"campaign_id": "campaignId", "tracking_id": "trackingId"}
        one, two = {f: f"v-{f}" for f in fields}, {}
        for f in fields:
            two[snake.get(f, camel.get(f, f))] = f"v-{f}"
        ids = [unique(), unique()]
        self.accepted(self.w.post([event(id=ids[0], **one), event(id=ids[1], **two)]), 2)
        self.assertArrives(self.upstream, ids)
        for i in ids:
            got = arrived_events(self.upstream)[i]
            for f in fields:
                self.assertEqual(got[snake.get(f, f)], f"v-{f}", got)

    def test_06_timestamps(self):
        for stamp, want in (("2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
                            ("2026-01-02T03:04:05.678+02:00", "2026-01-02T01:04:05.678"),
                            (1767323045678, "2026-01-02T03:04:05.678")):
            with self.subTest(stamp=stamp):
                one = event(timestamp=stamp)
                self.accepted(self.w.post(one), 1)
                self.assertArrives(self.upstream, [one["id"]])
                self.assertTrue(arrived_events(self.upstream)[one["id"]]["timestamp"].startswith(want),
                                arrived_events(self.upstream)[one["id"]])

    def test_07_per_event_results_name_index_id_and_reason(self):
        good, bad = event(), {"id": unique(), "properties": {}}
        body = self.accepted(self.w.post([good, bad, 7, good]), 1, 1, 2)
        by_index = {r["index"]: r for r in body["results"]}
        self.assertEqual(set(by_index), {1, 2})     # a duplicate is a success
        self.assertEqual(by_index[1]["status"], "rejected")
        self.assertEqual(by_index[1]["id"], bad["id"])
        self.assertEqual(by_index[1]["reason"], "missing_name")
        self.assertEqual(by_index[2]["status"], "rejected")
        verbose = self.w.post([good], path="/v1/events?verbose=1").json
        self.assertEqual(verbose["results"][0]["status"], "duplicate")

    def test_08_verbose_lists_every_event(self):
        body = self.accepted(self.w.post([event(), event()], path="/v1/events?verbose=1"), 2)
        self.assertEqual([r["index"] for r in body["results"]], [0, 1])

    def test_09_all_rejected_is_400_with_the_same_body(self):
        response = self.w.post([{"id": "x"}, {"id": "y"}])
        self.assertStatus(response, 400)
        self.assertEqual(response.json["rejected"], 2)
        self.assertEqual(len(response.json["results"]), 2)

    def test_10_a_syntax_error_anywhere_stores_nothing(self):
        events = [event() for _ in range(200)]
        text = json.dumps(events)
        for broken in (text[:-1], text[:-1] + ",]", text + "x", json.dumps({"events": events})[:-1]):
            self.assertError(self.w.post(broken), 400, "invalid_json")
        self.accepted(self.w.post(events), 200)     # none was stored before

    def test_11_ndjson_counts_per_line(self):
        good = [event() for _ in range(3)]
        lines = [json.dumps(good[0]), "{broken", json.dumps(good[1]), '{"id":"q"}', "", json.dumps(good[2])]
        body = self.accepted(self.w.post("\n".join(lines), headers={"Content-Type": "application/x-ndjson"}),
                             3, 0, 2)
        self.assertEqual({r["reason"] for r in body["results"]}, {"invalid_json", "missing_name"})
        self.assertArrives(self.upstream, [e["id"] for e in good])

    def test_12_errors_of_a_whole_request(self):
        self.assertError(self.w.post(b""), 400, "empty_body")
        self.assertError(self.w.post('"text"'), 400, "not_an_object")
        self.assertError(self.w.request("GET", "/v1/events"), 405, "method_not_allowed")
        self.assertError(self.w.post("{}", path="/no/such/path"), 404, "not_found")
        self.assertIn("POST", self.w.request("GET", "/v1/events").header("allow", ""))

    def test_13_events_without_an_id_get_one(self):
        self.accepted(self.w.post([{"name": "a"}, {"name": "a"}]), 2)
        eventually(lambda: len(self.upstream.received) == 2, "both")
        for got in arrived_events(self.upstream).values():
            self.assertRegex(got["id"], r"^[0-9a-f-]{36}-.+")

    def test_14_raw_is_byte_exact(self):
        odd = ('{ "id" : "raw-1" ,\t"name":"n", "n":1.0e+5, "big":123456789012345678901234567890, '
               '"huge":1e999, "lone":"\\ud83d", "esc":"\\u00e9\\/", "dup":1, "dup":2, "u":"Crème 村 🚀", '
               '"s":"\u2028", "deep":[[[[{"a":[ ]}]]]], "neg":-0.0 }')
        self.accepted(self.w.post(odd.encode()), 1)
        self.assertArrives(self.upstream, ["raw-1"])
        self.assertEqual(raw_of(self.upstream, "raw-1"), odd)

    def test_15_raw_of_each_event_of_an_array_is_byte_exact(self):
        texts = [f'{{"id":"r{i}", "name":"n" ,"v": {i}.50,"t":"a\\tb"}}' for i in range(50)]
        self.accepted(self.w.post(" [ " + " , ".join(texts) + " ]\n"), 50)
        self.assertArrives(self.upstream, [f"r{i}" for i in range(50)])
        for i, text in enumerate(texts):
            self.assertEqual(raw_of(self.upstream, f"r{i}"), text)

    def test_16_store_position_is_without_gaps_and_batches_name_the_store(self):
        self.accepted(self.w.post([event() for _ in range(500)]), 500)
        eventually(lambda: len(self.upstream.received) == 500, "all")
        self.assertEqual(self.upstream.gaps(), [])
        self.assertEqual(self.upstream.conflicts, [])
        (store, _), = self.upstream.positions
        self.assertRegex(store, r"^[0-9a-f]{8}-[0-9a-f]{4}-")
        headers = self.upstream.requests[-1][4]
        self.assertEqual(headers.get("Idempotency-Key"), self.upstream.requests[-1][2])

    def test_17_a_large_batch(self):
        events = [event(properties={"p": "x" * 100}) for _ in range(5000)]
        self.accepted(self.w.post(events), 5000)
        self.assertArrives(self.upstream, [e["id"] for e in events], timeout=60)

    def test_18_pixel(self):
        response = self.w.request("GET", "/v1/pixel.gif?name=open&id=px1&campaign_id=c1&x=a%20b")
        self.assertStatus(response, 200)
        self.assertEqual(response.header("content-type"), "image/gif")
        self.assertEqual(len(response.body), 43)
        self.assertTrue(response.body.startswith(b"GIF89a"))
        self.assertIn("no-", response.header("cache-control", ""))
        self.assertArrives(self.upstream, ["px1"])
        got = arrived_events(self.upstream)["px1"]
        self.assertEqual((got["name"], got["campaign_id"]), ("open", "c1"))
        self.assertIsInstance(got["raw"], str)
        self.assertIn("raw_encoding", got)

    def test_19_idempotency_key_header_covers_events_without_ids(self):
        body = [{"name": "a"}, {"name": "b"}]
        header = {"Idempotency-Key": unique()}
        self.accepted(self.w.post(body, headers=header), 2)
        self.accepted(self.w.post(body, headers=header), 0, 2)

    def test_20_outcomes_are_counted(self):
        one = event()
        self.w.post([one, one, {"id": "q"}])
        metric = self.w.metric
        eventually(lambda: metric("weir_events_total", outcome="stored") >= 1, "stored")
        self.assertEqual(metric("weir_events_total", outcome="duplicate"), 1)
        self.assertEqual(metric("weir_events_total", outcome="rejected", reason="missing_name"), 1)
