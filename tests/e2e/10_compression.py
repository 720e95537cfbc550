"""Compressed request bodies: gzip, deflate, zstd, gzip by its first bytes, and bombs."""
import gzip
import json
import subprocess
import zlib

import harness
from harness import Case, event


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


class Compression(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.central()
        self.w = self.weir(destinations=[harness.destination("d", self.upstream.port)])

    def send(self, data, encoding=None, kind="application/json", weir=None):
        headers = {"Content-Type": kind, **({"Content-Encoding": encoding} if encoding else {})}
        return (weir or self.w).request("POST", "/v1/events", data, headers)

    def test_01_each_encoding(self):
        for encoding, pack in (("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress),
                               ("deflate", raw_deflate), ("zstd", zstd), ("identity", bytes), ("GZIP", gzip.compress)):
            with self.subTest(encoding=encoding, pack=pack):
                events = [event(p="y" * 200) for _ in range(30)]
                self.assertStatus(self.send(pack(json.dumps(events).encode()), encoding), 200)
                self.assertArrives(self.upstream, [e["id"] for e in events])

    def test_02_gzip_by_its_first_bytes(self):
        one = event()
        self.assertStatus(self.send(gzip.compress(json.dumps(one).encode()), None, "text/plain"), 200)
        self.assertArrives(self.upstream, [one["id"]])

    def test_03_several_gzip_members(self):
        events = [event(), event()]
        text = "\n".join(map(json.dumps, events)).encode()
        data = gzip.compress(text[:30]) + gzip.compress(text[30:])
        self.assertStatus(self.send(data, "gzip", "application/x-ndjson"), 200)
        self.assertArrives(self.upstream, [e["id"] for e in events])

    def test_04_chunked_and_compressed(self):
        data = gzip.compress(json.dumps(event()).encode())
        connection = self.w.raw(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n"
                                + b"".join(b"1\r\n%c\r\n" % b for b in data) + b"0\r\n\r\n", 3, b'"accepted"')
        self.assertEqual(connection.statuses(), [200], connection.received)

    def test_05_unknown_encoding_is_415(self):
        for encoding in ("br", "compress", "gzip, gzip", "nonsense"):
            self.assertStatus(self.send(b"x", encoding), 415)

    def test_06_broken_data_is_400(self):
        good = gzip.compress(json.dumps(event(p="z" * 5000)).encode())
        packed = zstd(json.dumps(event(p="z" * 5000)).encode())
        for data, encoding in ((good[:-9], "gzip"), (good[:20], "gzip"), (b"no gzip at all", "gzip"),
                               (good[:-8] + b"\0" * 8, "gzip"), (packed[:-5], "zstd"), (b"xx" * 50, "zstd"),
                               (b"\xff" * 40, "deflate"), (good[:12] + b"\xff" * 20 + good[32:], "gzip")):
            with self.subTest(encoding=encoding, data=data[:20]):
                self.assertStatus(self.send(data, encoding), 400)

    def test_07_bombs_are_413_and_cost_no_memory(self):
        bomb = b"[" + b" " * 60_000_000 + b"]"
        for encoding, data in (("gzip", gzip.compress(bomb)), ("zstd", zstd(bomb)), ("deflate", zlib.compress(bomb))):
            with self.subTest(encoding):
                self.assertStatus(self.send(data, encoding), 413)
        self.assertGreaterEqual(self.w.metric("weir_http_limit_hits_total"), 3)
        self.assertLess(self.w.metric("weir_body_budget_used_bytes"), 1_000_000)

    def test_08_decoded_limit(self):
        weir = self.weir(settings={"limits.decoded_body_bytes": "10KiB", "limits.event_bytes": "10KiB",
                                   "limits.body_bytes": "10KiB"})
        self.assertStatus(self.send(gzip.compress(json.dumps(event(p="q" * 5000)).encode()), "gzip", weir=weir), 200)
        self.assertStatus(self.send(gzip.compress(json.dumps(event(p="q" * 20000)).encode()), "gzip", weir=weir), 413)
