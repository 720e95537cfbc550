"""weir-bench as a load tester uses it, and bench/compare on a small scale."""
import http.server
import importlib.util
import json
import os
import pty
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import unittest

from harness import BINARY, ROOT, Case, eventually, free_port, need_program, request

BUILD = os.path.dirname(BINARY)
BENCH = os.path.join(BUILD, "weir-bench")
# What Weir itself speaks of the shapes.
SHAPES = ("native", "ndjson", "direct", "pixel", "segment", "segment-browser", "rudder")


class BenchCase(Case):
    def setUp(self):
        super().setUp()
        if not os.path.exists(BENCH):
            self.skipTest("this build has no weir-bench")

    def bench(self, target, *arguments, code=0, seconds="0.5", connections="8"):
        """Runs it to its end; the result, with what it printed under "stderr"."""
        url = target if isinstance(target, str) else f"http://127.0.0.1:{target.ingest}"
        out = os.path.join(self.directory, "result.json")
        done = subprocess.run([BENCH, url, "-c", connections, "-d", seconds, "--warmup", "0", "--json", out, *arguments],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        with open(out, encoding="utf-8") as f:
            return {**json.load(f), "stderr": done.stderr}


class Load(BenchCase):
    def test_what_it_counts_is_what_the_server_stored(self):
        weir = self.weir()
        result = self.bench(weir, "-m", "1:3", "10", "--metrics", f"http://127.0.0.1:{weir.admin}/metrics")
        self.assertEqual(result["wrong_answers"], 0, result["stderr"])
        self.assertGreater(result["events"], result["requests"])
        self.assertEqual(result["events"], weir.metric("weir_events_total", outcome="stored"))
        stored = [v for k, v in result["server_metrics"].items()
                  if k.startswith("weir_events_total") and 'outcome="stored"' in k]
        self.assertEqual(sum(stored), result["events"])
        self.assertGreater(result["server"]["cpu_us_per_event"], 0)
        self.assertGreater(result["server"]["rss_anon_bytes"], 1e6)

    def test_duplicates_and_broken_requests_are_answered_as_they_should_be(self):
        weir = self.weir()
        result = self.bench(weir, "-m", "20", "--duplicates", "30%", "--malformed", "10%")
        self.assertEqual(result["wrong_answers"], 0, result["first_wrong_answer"])
        self.assertGreater(result["duplicates"], 0)
        self.assertGreater(result["status"]["4xx"], 0)
        self.assertEqual(result["duplicates"], weir.metric("weir_events_total", outcome="duplicate"))

    def test_every_shape_every_coding_several_keys_and_pipelining(self):
        weir = self.weir(keys=[{"key": "k1", "site_ids": ["k1"]}, {"key": "k2", "tenant": "two"}])
        for shape in SHAPES:
            with self.subTest(shape=shape):
                result = self.bench(weir, "--shape", shape, "-k", "k1", "k2", "-n", "100", seconds="10", connections="32")
                self.assertEqual((result["wrong_answers"], result["events"]), (0, 100), result["stderr"])
        for arguments in (["--compress", "gzip"], ["--compress", "zstd"], ["--pipeline", "8"], ["--engine", "epoll"],
                          ["-s", "200-16000", "-m", "1", "10"]):
            with self.subTest(arguments=arguments):
                result = self.bench(weir, "-k", "k1", "k2", "-n", "100", *arguments, seconds="10", connections="32")
                self.assertEqual(result["wrong_answers"], 0, result["stderr"])
                self.assertEqual(result["requests"], 100)
        tenants = weir.stats()["tenants"]
        self.assertGreater(tenants["two"]["pending"], 0)

    def test_a_stall_shows_in_an_open_loop(self):
        """Coordinated omission: requests that were due while the server stood still count from when they were due."""
        weir = self.weir()
        stall = threading.Timer(0.7, lambda: (weir.signal(signal.SIGSTOP), time.sleep(0.8), weir.signal(signal.SIGCONT)))
        stall.start()
        result = self.bench(weir, "-r", "300", seconds="2", connections="64")
        stall.join()
        self.assertGreater(result["requests"], 550)
        self.assertGreater(result["latency_ns"]["p90"], 200e6)  # 64 waiting connections alone would have hidden it
        self.assertGreater(result["latency_ns"]["max"], 700e6)

    def test_a_ramp_begins_slowly(self):
        result = self.bench(self.weir(), "-r", "180", "--ramp", "3", seconds="3", connections="64")
        first, last = result["intervals"][0]["requests"], result["intervals"][2]["requests"]
        self.assertLess(first, 60)
        self.assertGreater(last, 100)

    def test_a_sandbox_key_keeps_events_from_destinations(self):
        central = self.central()
        weir = self.weir(keys=[{"key": "load", "sandbox": True}, {"key": "real"}],
                         destinations=[{"name": "c", "url": f"http://127.0.0.1:{central.port}/in",
                                        "batch": {"linger": "20ms"}}])
        result = self.bench(weir, "-k", "load", "-n", "100", seconds="5")
        self.assertEqual(result["events"], 100)
        weir.post({"id": "sale-1", "name": "sale"}, headers={"X-Write-Key": "real"})
        self.assertArrives(central, ["sale-1"])
        self.assertEqual(len(central.received), 1)
        self.assertEqual(weir.metric("weir_forward_events_total", outcome="skipped"), 100)


class Https(BenchCase):
    def setUp(self):
        super().setUp()
        certificate = os.path.join(self.directory, "tls.pem")
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
                               "/CN=localhost", "-keyout", certificate + ".key", "-out", certificate],
                              capture_output=True)
        if made.returncode != 0:
            self.skipTest("needs openssl")

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate + ".key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # a client that refuses the certificate
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.url = f"https://127.0.0.1:{server.server_address[1]}/collect"

    def test_https_to_any_server(self):
        result = self.bench(self.url, "--insecure", "-m", "10")
        self.assertGreater(result["requests"], 10)
        self.assertEqual(result["requests"], result["status"]["2xx"])
        self.assertEqual(result["transport"], "epoll+tls")

    def test_a_certificate_nobody_vouches_for_is_refused(self):
        result = self.bench(self.url, code=1)
        self.assertEqual(result["requests"], 0)
        self.assertGreater(result["connect_errors"], 0)


class Verdicts(BenchCase):
    def test_exit_codes(self):
        weir = self.weir()
        self.bench(weir, "--fail-if", "wrong>0", "--fail-if", "p99>60s")
        self.bench(weir, "--fail-if", "events/s<1000000000", code=1)
        self.bench(f"http://127.0.0.1:{free_port()}", code=1)
        for arguments in (["--fail-if", "p99"], ["--shape", "nobody"], ["--mix", "x"]):
            done = subprocess.run([BENCH, "http://127.0.0.1:1", *arguments], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("weir-bench:", done.stderr)

    def test_results_of_two_hosts_are_merged_and_compared(self):
        weir = self.weir()
        files = []
        for name in ("a", "b"):
            files.append(os.path.join(self.directory, f"{name}.json"))
            subprocess.run([BENCH, f"http://127.0.0.1:{weir.ingest}", "-c", "4", "-d", "1", "--warmup", "0", "--json",
                            files[-1]], check=True, capture_output=True)
        merged = os.path.join(self.directory, "all.json")
        page = os.path.join(self.directory, "page.html")
        subprocess.run([BENCH, "merge", *files, "--json", merged], check=True, capture_output=True)
        with open(merged, encoding="utf-8") as f:
            both = json.load(f)
        each = [json.load(open(f, encoding="utf-8")) for f in files]
        self.assertEqual(both["requests"], sum(r["requests"] for r in each))
        self.assertEqual(both["connections"], 8)
        done = subprocess.run([BENCH, "compare", *files, "--html", page], check=True, capture_output=True, text=True)
        self.assertRegex(done.stderr, r"requests/s +\d+ +\d+ x \d")
        with open(page, encoding="utf-8") as f:
            self.assertIn("<svg", f.read())

    def test_progress_is_shown_on_a_terminal_only(self):
        weir = self.weir()
        self.assertNotIn("req/s", self.bench(weir, seconds="1.2")["stderr"])
        primary, secondary = pty.openpty()
        bench = subprocess.Popen([BENCH, f"http://127.0.0.1:{weir.ingest}", "-c", "4", "-d", "1.2", "--warmup", "0"],
                                 stdout=subprocess.DEVNULL, stderr=secondary)
        os.close(secondary)
        shown = b""
        while True:
            try:
                shown += os.read(primary, 65536)
            except OSError:  # the other end is closed
                break
        os.close(primary)
        self.assertEqual(bench.wait(), 0)
        self.assertRegex(shown.decode(), r"\r\[#+\.*\] 1/1 s .*req/s.*p99")


class Verify(BenchCase):
    """--verify: a temporary consumer gets everything that was stored, and is gone afterwards."""

    def verified(self, weir, *arguments, **more):
        return self.bench(weir, "--verify", f"http://127.0.0.1:{weir.admin}", *arguments, **more)

    def consumers(self, weir):
        return weir.get_admin("/api/v1/consumers").json["consumers"]

    def test_every_acknowledged_event_arrived(self):
        weir = self.weir(keys=[{"key": "load", "sandbox": True}])
        weir.post({"id": "before", "name": "x"}, headers={"X-Write-Key": "load"})
        result = self.verified(weir, "-k", "load", "-m", "1", "20", "--duplicates", "10%", "--malformed", "5%")
        verified = result["verification"]
        self.assertEqual(verified["acknowledged"], result["events"] - result["duplicates"])
        self.assertEqual((verified["missing"], verified["repeated"]), (0, 0), verified)
        self.assertEqual(self.consumers(weir), [])

    def test_none_is_missing_after_kill_9_in_the_middle(self):
        weir = self.weir()
        killer = threading.Timer(1.0, lambda: (weir.kill(), weir.start()))
        killer.start()
        result = self.verified(weir, "-m", "5", seconds="4", connections="32")
        killer.join()
        verified = result["verification"]
        self.assertGreater(result["disconnects"] + result["connect_errors"], 0)
        self.assertGreater(result["intervals"][-1]["requests"], 0)  # it went on after the restart
        self.assertEqual((verified["missing"], verified["repeated"]), (0, 0), verified)
        self.assertEqual(result["wrong_answers"], 0, result["first_wrong_answer"])
        self.assertEqual(self.consumers(weir), [])

    def test_a_missing_event_is_found(self):
        """Somebody takes events of the run away from the consumer: the verdict is that they are missing."""
        weir = self.weir()
        taken = []

        def take():
            name = eventually(lambda: [c["name"] for c in self.consumers(weir)], "no consumer")[0]
            taken.append(eventually(lambda: self.take_one(weir, name), "no lease"))
        thief = threading.Thread(target=take)
        thief.start()
        result = self.verified(weir, seconds="2", code=1)
        thief.join()
        self.assertEqual(len(taken), 1)
        self.assertEqual(result["verification"]["missing"], 1)
        self.assertIn("acknowledged events are missing", result["stderr"])

    @staticmethod
    def take_one(weir, name):
        """One event, leased and acknowledged."""
        answer = request(weir.admin, "POST", f"/pull/v1/{name}/lease", {"max_events": 1})
        if answer.status != 200:
            return None
        request(weir.admin, "POST", f"/pull/v1/{name}/ack", {"lease": answer.json["lease"]})
        return answer.json["lease"]

    def test_what_cannot_be_verified_is_said_before_the_load(self):
        weir = self.weir()
        for arguments, code in ((["--verify", f"http://127.0.0.1:{free_port()}"], 1),
                                (["--verify", f"http://127.0.0.1:{weir.ingest}"], 1),
                                (["--verify", f"http://127.0.0.1:{weir.admin}", "--shape", "umami"], 2)):
            done = subprocess.run([BENCH, f"http://127.0.0.1:{weir.ingest}", "-d", "5", *arguments], capture_output=True,
                                  text=True, timeout=4)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn("--verify", done.stderr)
        self.assertEqual(weir.metric("weir_events_total"), 0)


class Compare(BenchCase):
    @need_program("nginx", "taskset")
    @unittest.skipIf((os.cpu_count() or 1) < 2, "needs two cores")
    def test_rows_targets_and_json(self):
        out = os.path.join(self.directory, "compare.json")
        done = subprocess.run(
            [os.path.join(ROOT, "bench/compare/compare"), "--quick", "--seconds", "0.5", "--rounds", "1", "--only", "single",
             "open-loop", "--build", BUILD, "--directory", self.directory, "--json", out],
            capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(out, encoding="utf-8") as f:
            report = json.load(f)
        self.assertEqual([row["scenario"] for row in report["rows"]], ["single", "single", "open-loop"])
        for row in report["rows"]:
            self.assertIn(row["met"], (True, False))
            self.assertGreater(row["value"], 0)
        for figure in ("fdatasync_p50_us", "fdatasync_p99_us", "write_mb_per_s"):
            self.assertGreater(report["device"][figure], 0)
        weir = report["scenarios"]["single"]["single, 256 connections: CPU per request / nginx"]["weir"]
        self.assertEqual(weir["wrong_answers"], 0)
        self.assertTrue(re.search(r"\d of 3 targets met", done.stdout), done.stdout)

    @need_program("nginx")
    def test_a_peer_that_is_not_there_is_named_before_anything_is_measured(self):
        done = subprocess.run([os.path.join(ROOT, "bench/compare/compare"), "--build", BUILD, "--fluent-bit", "nobody"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(done.stderr, "--fluent-bit nobody: no such program\n")
        self.assertEqual(done.stdout, "")

    def test_every_place_in_fluent_bits_configuration_is_filled(self):
        servers = compare_servers()
        peer = servers.FluentBit("fluent-bit", self.directory, "http://127.0.0.1:4321/")
        with open(os.path.join(self.directory, "fluent-bit.conf"), encoding="utf-8") as f:
            text = f.read()
        self.assertNotIn("@", text)
        ports = re.findall(r"^ +(?:http_)?port (\d+)$", text, re.M)
        self.assertEqual(ports, [str(peer.admin), str(peer.port), "4321"])
        self.assertIn(f"storage.path {peer.chunks}\n", text)

    def test_a_place_nobody_fills_is_an_error(self):
        with self.assertRaises(KeyError):
            compare_servers().fill("fluent-bit.conf", os.path.join(self.directory, "out"), PORT=1)


def compare_servers():
    """bench/compare/servers.py; this folder has a servers.py of its own."""
    folder = os.path.join(ROOT, "bench/compare")
    sys.path.append(folder)
    try:
        spec = importlib.util.spec_from_file_location("compare_servers", os.path.join(folder, "servers.py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(folder)


if __name__ == "__main__":
    unittest.main()
