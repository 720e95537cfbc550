"""HTTP receivers as they are met: behind nginx, with certificates, slow; formats, rates, filters."""
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import re
import socket
import struct
import threading
import time

import harness
from harness import ROOT, destination, event, eventually, free_port, unique
from servers import Nginx, certificate
from sinks import SinkCase


class Keep(http.server.BaseHTTPRequestHandler):
    """Answers 204 and keeps (arrival, headers, body) in server.kept."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.kept.append((time.monotonic(), dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Peers(SinkCase):
    def keeper(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keep)
        server.kept = []
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, server.server_address[1]

    def broken(self, behave):
        """A listener whose connections are given to behave(socket), one thread each; its port."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    threading.Thread(target=self.quietly, args=(behave, peer), daemon=True).start()
        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    @staticmethod
    def quietly(behave, peer):
        with contextlib.suppress(OSError), peer:
            behave(peer)

    def test_01_nginx_in_between_is_killed_and_nothing_is_lost(self):
        central = self.central()
        nginx = Nginx(self, central.port)
        weir = self.weir(destinations=[destination("d", nginx.port)])
        ids = self.survives_death(weir, nginx, lambda: [i for _, i in central.received])
        self.assertEqual(central.counts()["unique"], len(ids))
        self.assertEqual(central.gaps(), [])

    def test_02_a_body_too_large_for_nginx_is_split(self):
        central = self.central()
        nginx = Nginx(self, central.port, extra="client_max_body_size 20k;").start()
        weir = self.weir(destinations=[destination("d", nginx.port, compression="none",
                                                   batch={"max_events": 200, "linger": "100ms"})])
        ids = self.send(weir, 200, text="x" * 200)
        self.assertArrives(central, ids)
        self.settles(weir, sent=200, failed=0)

    def test_03_certificates(self):
        central = self.central()
        good, other = certificate(self), certificate(self, "elsewhere.example", "192.0.2.1")
        right = Nginx(self, central.port, tls=good).start()
        wrong_name = Nginx(self, central.port, tls=other).start()

        def entry(name, nginx, **tls):
            return {**destination(name, 0), "url": f"https://127.0.0.1:{nginx.port}/in", "tls": tls}
        weir = self.weir(destinations=[
            entry("trusted", right, ca_file=good[0]), entry("unchecked", wrong_name, verify=False),
            entry("unknown", right), entry("name", wrong_name, ca_file=other[0])])
        self.send(weir, 10)
        self.settles(weir, "trusted", sent=10)
        self.settles(weir, "unchecked", sent=10)
        self.complains(weir, "certificate", "unknown")
        self.complains(weir, "127.0.0.1", "name")
        for name in ("unknown", "name"):
            self.assertEqual(self.destination(weir, name)["pending"], 10)
            self.assertEqual(self.destination(weir, name)["failed"], 0)
            self.assertGreater(weir.metric("weir_forward_attempts_total", destination=name, **{"class": "network"}), 0)

    def test_04_a_client_certificate_is_shown(self):
        central = self.central()
        server, client = certificate(self), certificate(self, "weir.example")
        nginx = Nginx(self, central.port, tls=server,
                      extra=f"ssl_verify_client on; ssl_client_certificate {client[0]};").start()
        weir = self.weir(destinations=[{**destination("d", 0), "url": f"https://127.0.0.1:{nginx.port}/in",
                                        "tls": {"ca_file": server[0], "cert_file": client[0], "key_file": client[1]}}])
        self.assertArrives(central, self.send(weir, 10))

    def test_05_the_signature_is_what_the_documentation_checks(self):
        server, port = self.keeper()
        weir = self.weir(destinations=[destination("d", port, hmac_key="s3cret")])
        self.send(weir, 5)
        eventually(lambda: server.kept, "a batch")
        _, headers, body = server.kept[0]
        with open(os.path.join(ROOT, "docs", "delivery.md"), encoding="utf-8") as f:
            code = re.search(r"```python\n(import hashlib.*?)```", f.read(), re.S).group(1)
        documented = {}
        exec(code, documented)  # the receiver's code as it is printed there
        self.assertTrue(documented["verify"](b"s3cret", headers["Weir-Signature"], body))
        self.assertFalse(documented["verify"](b"other", headers["Weir-Signature"], body))
        self.assertFalse(documented["verify"](b"s3cret", headers["Weir-Signature"], body + b" "))
        # And by RFC 2104's own definition, without the library.
        parts = dict(p.split("=", 1) for p in headers["Weir-Signature"].split(","))
        key = b"s3cret".ljust(64, b"\0")
        inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + parts["t"].encode() + b"." + body).digest()
        self.assertEqual(hashlib.sha256(bytes(b ^ 0x5c for b in key) + inner).hexdigest(), parts["v1"])
        self.assertTrue(hmac.compare_digest(parts["v1"], parts["v1"].lower()))

    def test_06_cloudevents(self):
        server, port = self.keeper()
        weir = self.weir(destinations=[destination("d", port, format="cloudevents", compression="none")])
        weir.post([event(id="e1", name="buy", user_id="u1", price=1.50), event(id="e2")])
        eventually(lambda: server.kept, "a batch")
        _, headers, body = server.kept[0]
        self.assertEqual(headers["Content-Type"], "application/cloudevents-batch+json")
        first, second = json.loads(body)
        for one in (first, second):
            self.assertEqual(one["specversion"], "1.0")
            self.assertEqual(one["source"], "/default")
            self.assertRegex(one["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            for name, value in one.items():  # CloudEvents 1.0 section 3.1.1: attribute names
                if name not in ("data", "data_base64"):
                    self.assertRegex(name, r"^[a-z0-9]{1,20}$")
                    self.assertIsInstance(value, str)
        self.assertEqual((first["id"], first["type"], first["userid"], first["data"]["price"]), ("e1", "buy", "u1", 1.5))
        self.assertIn(b'"price": 1.5', body)

    def test_07_rate_limits_hold_over_time(self):
        for limits, allowed in (({"events": 200}, 200), ({"batches": 10}, 200)):
            with self.subTest(limits):
                server, port = self.keeper()
                weir = self.weir(destinations=[destination("d", port, rate_limit=limits, compression="none",
                                                           batch={"max_events": 20})])
                self.send(weir, 500)
                eventually(lambda: sum(int(h["Weir-Events"]) for _, h, _ in server.kept) == 500, "500 events")
                took = server.kept[-1][0] - server.kept[0][0]
                self.assertGreater(took, (500 - 20 - 20) / allowed - 0.3)
                self.settles(weir, sent=500)

    def test_08_filters_by_tenant_name_and_source(self):
        wants = {"tenants": ["acme"], "names": ["buy", "sell"], "sources": ["native"]}
        peers = {name: self.central() for name in (*wants, "all", "both")}
        entries = [destination(name, peers[name].port, filter={name: value}) for name, value in wants.items()]
        entries += [destination("all", peers["all"].port),
                    destination("both", peers["both"].port, filter={"tenants": ["acme"], "names": ["buy"]})]
        weir = self.weir(destinations=entries, keys=[{"key": "ka", "tenant": "acme"}, {"key": "kb", "tenant": "other"}])
        ids = {}
        for key in ("ka", "kb"):
            for name in ("buy", "look"):
                ids[key, name] = unique()
                self.assertStatus(weir.post(event(id=ids[key, name], name=name), headers={"Authorization": f"Bearer {key}"}),
                                  200)
        track = weir.post({"messageId": "seg-1", "event": "buy", "userId": "u", "type": "track"}, path="/v1/track",
                          headers={"Authorization": "Bearer ka"})
        self.assertStatus(track, 200)
        eventually(lambda: len(peers["all"].received) == 5, lambda: peers["all"].received)

        def got(name):
            return {i for _, i in peers[name].received}
        expected = {"tenants": {ids["ka", "buy"], ids["ka", "look"], "seg-1"},
                    "names": {ids["ka", "buy"], ids["kb", "buy"], "seg-1"},
                    "sources": set(ids.values()), "both": {ids["ka", "buy"], "seg-1"}}
        for name, want in expected.items():
            self.settles(weir, name, sent=len(want), pending=0)
            self.assertEqual(got(name), want, name)
            self.assertEqual(weir.metric("weir_forward_events_total", destination=name, outcome="skipped"), 5 - len(want))

    def test_09_one_byte_a_second_and_a_reset_mid_body_hold_back_nobody(self):
        def slow_answer(peer):
            peer.recv(65536)
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                peer.sendall(bytes([byte]))
                time.sleep(1)

        def slow_reader(peer):
            while peer.recv(1):
                time.sleep(1)

        def reset_mid_body(peer):
            peer.recv(100)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for behave in (slow_answer, slow_reader, reset_mid_body):
            with self.subTest(behave.__name__):
                central = self.central()
                port = self.broken(behave)
                weir = self.weir(destinations=[destination("d", port, request_timeout="1s", compression="none"),
                                               destination("good", central.port)])
                ids = self.send(weir, 400, text="x" * 500)
                self.assertArrives(central, ids, timeout=10)
                eventually(lambda: weir.metric("weir_forward_attempts_total", destination="d", **{"class": "network"}) >= 2,
                           lambda: weir.log()[-1500:])
                self.assertEqual(self.destination(weir)["failed"], 0)
                self.assertEqual(self.destination(weir)["pending"], 400)

    def test_11_one_poison_event_in_ten_thousand(self):
        central = self.central()
        central.fault(mode="poison", ids="^e7777$", status=400, body="no such product")
        weir = self.weir(destinations=[destination("d", central.port, batch={"max_events": 1000, "linger": "200ms"})])
        for at in range(0, 10_000, 1000):
            self.assertStatus(weir.post([event(id=f"e{i}") for i in range(at, at + 1000)]), 200)
        self.settles(weir, sent=9_999, failed=1, pending=0)
        letter, = self.failed(weir, 1)
        self.assertEqual((letter["event_id"], letter["reason"]), ("e7777", "http_400"))
        self.assertEqual(central.counts()["unique"], 9_999)

    def test_10_the_circuit_is_seen_open_and_closed(self):
        port = free_port()
        weir = self.weir(destinations=[destination("d", port)])

        def state():
            return weir.get_admin("/api/v1/live-counters").json["destinations"]["d"]["state"]
        self.assertEqual(state(), "idle")
        ids = self.send(weir, 10)
        eventually(lambda: state() == "backing_off", state)
        eventually(lambda: weir.metric("weir_forward_lane_state", destination="d", state="backing_off") == 1, "the metric")
        central, server = harness.central_server.start(port=port)
        self.addCleanup(harness.central_server.stop, server)
        self.assertArrives(central, ids)
        eventually(lambda: state() == "idle", state)

    def test_12_the_log_says_each_new_reason_once(self):
        central = self.central()
        weir = self.weir(destinations=[destination("d", central.port)])
        central.fault(mode="status", status=500)
        self.send(weir, 1)
        self.complains(weir, "HTTP 500")
        central.fault(mode="status", status=503)
        self.complains(weir, "HTTP 503")
        before = len(central.requests)
        eventually(lambda: len(central.requests) > before + 3, "a few more attempts")
        for reason in ("http_500", "http_503"):
            self.assertEqual(weir.log().count(f"event=destination_failing destination=d reason={reason}"), 1, weir.log())
