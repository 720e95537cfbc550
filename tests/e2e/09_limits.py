"""Every limit, made small with --set: its status, its counter, and that others do not suffer."""
import socket
import time

import harness
from harness import Case, Raw, event, eventually

BODY = b'{"name":"x"}'
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n"


class Sizes(Case):
    def test_body(self):
        weir = self.weir(settings={"limits.body_bytes": "1KiB"})
        self.assertStatus(weir.post(event(p="x" * 500)), 200)
        self.assertError(weir.post(event(p="x" * 2000)), 413, "body_too_large")
        body = b"%x\r\n%s\r\n" % (600, b" " * 600)
        connection = weir.raw(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                              + body * 3 + b"0\r\n\r\n", 5)
        self.assertEqual(connection.statuses()[:1], [413], connection.received)
        self.assertGreaterEqual(weir.metric("weir_http_limit_hits_total"), 2)

    def test_header_limits(self):
        weir = self.weir(settings={"limits.header_bytes": "1KiB", "limits.header_count": 10,
                                   "limits.request_line_bytes": 256})
        for headers, status in (({"X-A": "a" * 2000}, 431), ({f"X-{i}": "1" for i in range(12)}, 431)):
            self.assertStatus(weir.post(event(), headers=headers), status)
        self.assertStatus(weir.request("GET", "/" + "a" * 300), 414)
        self.assertStatus(weir.post(event()), 200)

    def test_body_memory_is_bounded_and_others_are_told_when_to_return(self):
        weir = self.weir(settings={"limits.body_memory_bytes": "256KiB", "limits.body_bytes": "200KiB",
                                   "limits.decoded_body_bytes": "200KiB", "limits.event_bytes": "200KiB"})
        holders = [weir.raw(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 150000\r\n\r\n"
                            + b" " * 100_000) for _ in range(3)]
        eventually(lambda: weir.metric("weir_body_budget_used_bytes") > 100_000, "memory in use")
        answer = eventually(lambda: (r := weir.post(event(p="x" * 150_000))).status == 503 and r, "503")
        self.assertGreater(int(answer.header("retry-after")), 0)
        self.assertLessEqual(weir.metric("weir_body_budget_used_bytes"), 256 * 1024)
        self.assertStatus(weir.request("GET", "/health"), 200)
        for holder in holders:
            holder.close()
        eventually(lambda: weir.post(event(p="x" * 150_000)).status == 200, "served again")
        eventually(lambda: weir.metric("weir_body_budget_used_bytes") < 1000, "memory given back")

    def test_connections(self):
        weir = self.weir(shards=1, settings={"server.max_connections": 20})
        connections = []
        for _ in range(40):
            try:
                connections.append(Raw(weir.ingest))
            except OSError:
                pass
        eventually(lambda: weir.metric("weir_connections_refused_total") >= 15, "refused")
        self.assertLessEqual(weir.metric("weir_connections_open", listener="ingest"), 20)
        for connection in connections:
            connection.close()
        eventually(lambda: weir.metric("weir_connections_open", listener="ingest") == 0, "closed")
        self.assertStatus(weir.post(event()), 200)

    def test_requests_per_connection(self):
        weir = self.weir(settings={"limits.requests_per_connection": 3})
        connection = weir.raw((HEAD + BODY) * 5, 5)
        self.assertEqual(connection.statuses(), [200] * 3)
        self.assertTrue(connection.closed)

    def test_pipelining_pauses_reading_and_answers_all(self):
        weir = self.weir(settings={"limits.pipelined_requests": 2})
        connection = weir.raw((HEAD + BODY) * 200)
        eventually(lambda: (connection.read(0.2), len(connection.statuses()) == 200)[1], "200 answers")


class Times(Case):
    def setUp(self):
        super().setUp()
        self.w = self.weir(settings={
            "limits.first_byte_timeout": "700ms", "limits.head_timeout": "900ms", "limits.body_gap_timeout": "700ms",
            "limits.body_timeout": "2s", "limits.idle_timeout": "800ms", "limits.send_stall_timeout": "1s"})

    def closed_after(self, connection, least, most, statuses):
        started = time.monotonic()
        connection.read(most + 3)
        took = time.monotonic() - started
        self.assertTrue(connection.closed, "still open")
        self.assertEqual(connection.statuses(), statuses, connection.received)
        self.assertGreater(took, least)
        self.assertLess(took, most)

    def test_no_first_byte(self):
        self.closed_after(self.w.raw(), 0.4, 4, [])

    def test_head_never_ends(self):
        self.closed_after(self.w.raw(b"GET /health HTTP/1.1\r\nHo"), 0.5, 4, [408])

    def test_head_dribbles(self):
        connection = self.w.raw(b"GET /health HTTP/1.1\r\n")
        started = time.monotonic()
        while time.monotonic() - started < 5 and not connection.closed:
            connection.send(b"X-A: b\r\n")
            connection.read(0.1)
        self.assertTrue(connection.closed)
        self.assertLess(time.monotonic() - started, 4)

    def test_body_stops(self):
        self.closed_after(self.w.raw(HEAD + b"{"), 0.4, 4, [408])

    def test_body_dribbles_past_its_whole_time(self):
        connection = self.w.raw(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        started = time.monotonic()
        while time.monotonic() - started < 8 and not connection.closed:
            connection.send(b" ")
            connection.read(0.2)
        self.assertTrue(connection.closed)
        self.assertLess(time.monotonic() - started, 6)
        self.assertIn(408, connection.statuses() or [408])

    def test_idle_keep_alive(self):
        connection = self.w.raw(HEAD + BODY)
        connection.read(5, b'"accepted"')
        self.closed_after(connection, 0.3, 4, [200])

    def test_a_client_that_reads_nothing(self):
        connection = self.w.raw()
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 200_000:
                connection.socket.send(b"GET /metrics-not-here HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
                sent += 50
        except OSError:
            pass
        eventually(lambda: self.w.metric("weir_http_limit_hits_total", limit="send_stall_ms") >= 1
                   or self.w.metric("weir_connections_open", listener="ingest") == 0, "disconnected")
        connection.close()

    def test_each_is_counted(self):
        self.w.raw(b"GET /health HTTP/1.1\r\nHo", 5)
        self.w.raw(HEAD + b"{", 5)
        self.assertGreaterEqual(self.w.metric("weir_http_limit_hits_total"), 2)

    def test_slow_clients_do_not_hurt_others(self):
        slow = [self.w.raw(HEAD + b"{") for _ in range(200)] + [self.w.raw() for _ in range(100)]
        started = time.monotonic()
        for _ in range(100):
            self.assertStatus(self.w.post(event()), 200)
        self.assertLess(time.monotonic() - started, 10)
        for connection in slow:
            connection.close()
