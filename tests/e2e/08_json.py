"""Bad and odd JSON: 400 with position and reason, or accepted and kept byte for byte."""
import json

import harness
from harness import Case, eventually, raw_of

# Not JSON (RFC 8259), as a whole body and as the value of a property: the same verdict.
BAD = [
    "[1,]", "[,1]", "[1 2]", '{"a":1,}', '{"a" 1}', '{a:1}', "{'a':1}", '{"a":}', '{"a":1 "b":2}', "{]", "[}",
    "nul", "tru", "True", "NaN", "Infinity", "-Infinity", "undefined", "+1", "01", "1.", ".5", "-", "1e", "1e+",
    "--1", "0x10", "1_000", '"a', '"\\x41"', '"\\u12"', '"\\u12G4"', '"\\"', "\"\t\"", '"\n"', '"\u0000"', '"\u001f"',
    "'a'", "// c\n1", "/* c */1", "[1]]", "{}}", "\"a\" \"b\"", "[\"a\"", "{\"a\":[1}",
]
BAD_BYTES = [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe6\x9d"', b'"\x80"', b"\xfe\xff"]

# Valid, and refused or altered by many parsers: must be accepted and kept as sent.
ODD = [
    "123456789012345678901234567890", "1e999", "-1e-999", "-0", "1E+2", "0.1e1", '"\\ud83d"', '"\\udc00\\ud800"',
    '"\\u0000"', '"\\/"', '"\u2028\u2029"', '"\U0001f680"', "\"\x7f\"", "[]", "{}", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
    '{"":""}', '{"a":1,"a":2}', " \t\r\n1 ", '"' + "x" * 20000 + '"', "9007199254740993", "-9223372036854775809",
    "18446744073709551616", "1.7976931348623157e309", '{"id":"inner","name":7}',
]


class Json(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[harness.destination("d", self.upstream.port)])

    def test_01_bad_documents_are_400_and_say_where(self):
        for text in BAD + BAD_BYTES:
            data = text if isinstance(text, bytes) else text.encode()
            with self.subTest(text=text):
                body = self.assertError(self.w.post(data), 400, "invalid_json")
                self.assertRegex(str(body.get("detail", "")) + body["message"], r"\d", body)

    def test_02_bad_values_anywhere_in_an_event_are_400_and_store_nothing(self):
        for text in BAD + BAD_BYTES:
            data = text if isinstance(text, bytes) else text.encode()
            for frame in (b'{"id":"bad","name":"n","properties":{"v":%s}}',
                          b'[{"id":"bad","name":"n"},{"id":"bad2","name":"n","x":%s}]',
                          b'{"events":[{"id":"bad","name":"n","x":{"y":[%s]}}]}'):
                with self.subTest(text=text, frame=frame):
                    self.assertStatus(self.w.post(frame.replace(b"%s", data)), 400)
        self.assertEqual(self.w.post({"id": "bad", "name": "n"}).json["accepted"], 1)

    def test_03_odd_values_are_kept_byte_for_byte(self):
        texts = {f"odd{i}": f'{{"id":"odd{i}","name":"n","properties":{{"v":{v}}}}}' for i, v in enumerate(ODD)}
        for text in texts.values():
            response = self.w.post(text.encode())
            self.assertStatus(response, 200)
        self.assertArrives(self.upstream, texts)
        for i, text in texts.items():
            self.assertEqual(raw_of(self.upstream, i), text)

    def test_04_deep_nesting_is_rejected_without_harm(self):
        for depth in (130, 2000, 500_000):
            for opening, closing in (("[", "]"), ('{"a":', "}")):
                text = '{"id":"deep","name":"n","v":' + opening * depth + "1" + closing * depth + "}"
                response = self.w.post(text)
                self.assertIn(response.status, (400, 413), response)
        self.assertStatus(self.w.post("[" * 1_000_000), 400)
        self.assertStatus(self.w.request("GET", "/health"), 200)

    def test_05_an_event_too_large_refuses_its_array_and_only_its_line(self):
        weir = self.weir(settings={"limits.event_bytes": "4KiB"})
        events = [{"name": "a"}, {"name": "b", "v": "x" * 5000}, {"name": "c"}]
        self.assertError(weir.post(events), 413, "event_too_large")
        self.assertEqual(weir.metric("weir_events_total", outcome="stored"), 0)
        body = weir.post("\n".join(map(json.dumps, events)), headers={"Content-Type": "application/x-ndjson"}).json
        self.assertEqual((body["accepted"], body["rejected"]), (2, 1), body)
        self.assertEqual(body["results"][0]["reason"], "event_too_large")

    def test_06_too_many_events_are_413(self):
        weir = self.weir(settings={"limits.request_events": 10})
        self.assertStatus(weir.post([{"name": "a"}] * 10), 200)
        self.assertStatus(weir.post([{"name": "a"}] * 11), 413)
        self.assertEqual(weir.metric("weir_events_total", outcome="stored"), 10)

    def test_07_truncated_documents(self):
        text = b'[{"id":"t1","name":"n","p":{"a":[1,2,"\xc3\xa9\\u00e9"]}},{"id":"t2","name":"n"}]'
        for end in range(1, len(text)):
            self.assertStatus(self.w.post(text[:end]), 400)
        eventually(lambda: self.w.metric("weir_events_total", outcome="stored") == 0, "nothing stored")

    def test_08_types_of_canonical_fields(self):
        for fields, fine in (({"id": 5}, True), ({"id": None}, True), ({"id": {}}, True), ({"name": {}}, False),
                             ({"name": ""}, False), ({"name": None}, False), ({"timestamp": "soon"}, True),
                             ({"userId": None}, True), ({"userId": 7}, True), ({"properties": 7}, True)):
            with self.subTest(fields=fields):
                status = self.w.post({"name": "n", **fields}).status
                self.assertEqual(status, 200 if fine else 400, fields)
