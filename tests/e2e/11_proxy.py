"""The client's address: from trusted proxies only; PROXY protocol v1 and v2."""
import json
import socket
import struct

import harness
from harness import Case, arrived_events, event, eventually

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(source, target=("127.0.0.1", 1), command=0x21, family=0x11, extra=b""):
    kind = socket.AF_INET if family == 0x11 else socket.AF_INET6
    body = socket.inet_pton(kind, source) + socket.inet_pton(kind, target[0]) + struct.pack("!HH", 1234, 80) + extra
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def post(one, headers=b""):
    body = json.dumps(one).encode()
    return (b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Write-Key: k\r\n" + headers
            + b"Content-Length: %d\r\n\r\n" % len(body) + body)


class Proxy(Case):
    def begin(self, **settings):
        self.upstream = self.central()
        return self.weir(destinations=[harness.destination("d", self.upstream.port)],
                         keys=[{"key": "k", "tenant": "default", "keep_ip": True},
                               {"key": "quiet", "tenant": "default"}], settings=settings)

    def address(self, event_id):
        self.assertArrives(self.upstream, [event_id])
        return arrived_events(self.upstream)[event_id].get("ip")

    def test_forwarding_headers_from_strangers_are_ignored_and_counted(self):
        weir = self.begin()
        for header in ("X-Forwarded-For", "Forwarded"):
            one = event()
            value = "for=203.0.113.7" if header == "Forwarded" else "203.0.113.7"
            self.assertStatus(weir.post(one, headers={header: value, "X-Write-Key": "k"}), 200)
            self.assertEqual(self.address(one["id"]), "127.0.0.1")
        self.assertEqual(weir.metric("weir_http_forwarding_headers_ignored_total"), 2)

    def test_without_keep_ip_no_address_is_stored(self):
        weir = self.begin()
        one = event()
        self.assertStatus(weir.post(one, headers={"X-Write-Key": "quiet"}), 200)
        self.assertIsNone(self.address(one["id"]))

    def test_forwarding_headers_from_a_trusted_proxy(self):
        weir = self.begin(**{"server.trusted_proxies": "127.0.0.0/8,10.0.0.0/8"})
        for headers, want in (({"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7"),
                              ({"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.1.2.3"}, "203.0.113.7"),
                              ({"Forwarded": "for=203.0.113.8;proto=https"}, "203.0.113.8"),
                              ({"Forwarded": 'for="[2001:db8::1]:4711"'}, "2001:db8::1"),
                              ({"X-Forwarded-For": "not an address"}, "127.0.0.1"), ({}, "127.0.0.1")):
            with self.subTest(headers=headers):
                one = event()
                self.assertStatus(weir.post(one, headers={"X-Write-Key": "k", **headers}), 200)
                self.assertEqual(self.address(one["id"]), want)

    def test_proxy_protocol(self):
        weir = self.begin(**{"server.trusted_proxies": "127.0.0.1/32", "server.proxy_protocol": "true"})
        for head, want in ((b"PROXY TCP4 203.0.113.9 127.0.0.1 1234 80\r\n", "203.0.113.9"),
                           (b"PROXY TCP6 2001:db8::9 ::1 1234 80\r\n", "2001:db8::9"),
                           (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
                           (v2("203.0.113.10"), "203.0.113.10"),
                           (v2("2001:db8::a", ("::1", 1), family=0x21), "2001:db8::a"),
                           (v2("203.0.113.11", extra=b"\x04\x00\x03abc"), "203.0.113.11"),
                           (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1")):
            with self.subTest(head=head):
                one = event()
                connection = weir.raw(head + post(one), 5, b'"accepted"')
                self.assertEqual(connection.statuses(), [200], connection.received)
                self.assertEqual(self.address(one["id"]), want)

    def test_broken_proxy_headers_close_the_connection(self):
        weir = self.begin(**{"server.trusted_proxies": "127.0.0.1/32", "server.proxy_protocol": "true",
                             "limits.first_byte_timeout": "1s", "limits.head_timeout": "1s"})
        for head in (post(event()), b"PROXY TCP4 999.0.0.1 1.1.1.1 1 2\r\n" + post(event()),
                     b"PROXY TCP4 1.1.1.1\r\n" + post(event()), b"PROXY " + b"x" * 200 + b"\r\n",
                     SIGNATURE + b"\x31\x11\x00\x0c" + b"\0" * 12, SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 70000,
                     SIGNATURE + b"\x21\x11\x00\x02\0\0", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 2", SIGNATURE[:5]):
            with self.subTest(head=head[:60]):
                connection = weir.raw(head, 6)
                self.assertTrue(connection.closed)
                self.assertNotIn(200, connection.statuses())
        eventually(lambda: weir.metric("weir_events_total", outcome="stored") == 0, "nothing stored")
