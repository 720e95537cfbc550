"""The process: starts, says it is ready, stops, refuses what it must not start with."""
import os
import signal
import subprocess
import time

import harness
from harness import BINARY, Case, Weir, eventually, free_port, request


class StartStop(Case):
    def test_01_version_is_printed(self):
        done = subprocess.run([BINARY, "version"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("0.", done.stdout)

    def test_02_serves_and_stops_with_exit_code_zero(self):
        weir = self.weir()
        self.assertEqual(weir.request("GET", "/health").json, {"status": "ok"})
        self.assertStatus(weir.request("GET", "/livez"), 200)
        self.assertStatus(weir.request("GET", "/readyz"), 200)
        for path in ("/livez", "/readyz", "/metrics"):
            self.assertStatus(weir.get_admin(path), 200)
        self.assertEqual(weir.stop(), 0)

    def test_03_serves_without_a_configuration_file(self):
        weir = self.weir(config=False)
        self.assertStatus(weir.post(harness.event()), 200)

    def test_04_says_where_it_listens(self):
        weir = self.weir()
        self.assertIn(str(weir.ingest), weir.log())
        self.assertIn(str(weir.admin), weir.log())

    def test_05_an_empty_store_starts_quickly(self):
        weir = self.weir()
        weir.stop()
        started = time.monotonic()
        weir.start()
        self.assertLess(time.monotonic() - started, 5)

    def test_06_unknown_verb_and_flag_are_usage_errors(self):
        for arguments in (["nonsense"], ["serve", "--nonsense"], []):
            done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 2, (arguments, done))


class Refusals(Case):
    def fails(self, weir, *words, timeout=10):
        weir.launch()
        code = weir.process.wait(timeout)
        weir.process = None
        self.assertEqual(code, 1, weir.log())
        for word in words:
            self.assertIn(word.lower(), weir.log().lower())

    def test_second_process_on_the_same_directory(self):
        first = self.weir()
        second = self.weir(start=False, data=first.data)
        self.fails(second, first.data)
        self.assertRegex(second.log(), r"(?i)another|already|in use|lock")
        self.assertStatus(first.post(harness.event()), 200)

    def test_port_in_use(self):
        first = self.weir()
        second = self.weir(start=False)
        second.admin = first.admin
        self.fails(second, str(first.admin))

    def test_admin_beyond_loopback_needs_tokens(self):
        weir = self.weir(start=False)
        weir.admin_host = "0.0.0.0"
        self.fails(weir, "token")

    def test_data_directory_that_cannot_be_made(self):
        blocked = os.path.join(self.directory, "file")
        with open(blocked, "w", encoding="utf-8"):
            pass
        self.fails(self.weir(start=False, data=os.path.join(blocked, "data")), blocked)

    def test_wrong_configuration_names_the_line(self):
        weir = self.weir(start=False, keys=[{"key": "k", "tennant": "x"}])
        self.fails(weir, "weir.toml", "tennant", "tenant")


class Stopping(Case):
    def test_sigterm_finishes_requests_in_flight(self):
        weir = self.weir()
        slow = weir.raw(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n{\"id\":\"x\",")
        eventually(lambda: weir.metric("weir_connections_open", listener="ingest") >= 1, "connection")
        weir.signal(signal.SIGTERM)
        time.sleep(0.3)
        slow.send(b'"name":"n"         }'[:30 - 10])
        slow.read(5)
        self.assertEqual(slow.statuses(), [200], slow.received)
        self.assertTrue(slow.closed)
        self.assertEqual(weir.wait(), 0)

    def test_sigterm_flushes_destinations(self):
        central = self.central()
        weir = self.weir(destinations=[harness.destination("d", central.port,
                                                           batch={"linger": "5s"})])
        ids = [harness.unique() for _ in range(50)]
        self.assertStatus(weir.post([harness.event(id=i) for i in ids]), 200)
        self.assertEqual(weir.stop(), 0)
        self.assertArrives(central, ids, timeout=1)

    def test_sigterm_with_a_dead_destination_ends_and_says_what_is_left(self):
        weir = self.weir(destinations=[harness.destination("d", free_port())],
                         settings={"server.drain_seconds": "1"})
        self.assertStatus(weir.post([harness.event() for _ in range(7)]), 200)
        started = time.monotonic()
        self.assertEqual(weir.stop(), 0)
        self.assertLess(time.monotonic() - started, 8)
        self.assertRegex(weir.log(), r"\b7\b")

    def test_new_connections_are_refused_after_sigterm(self):
        weir = self.weir()
        weir.stop()
        with self.assertRaises(OSError):
            request(weir.ingest, "GET", "/health")


class Check(Case):
    def check(self, text):
        path = os.path.join(self.directory, "weir.toml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return subprocess.run([BINARY, "check", "--config", path], capture_output=True, text=True,
                              timeout=30, cwd=self.directory)

    def test_a_good_file_passes(self):
        done = self.check('[server]\nlisten = "127.0.0.1:8080"\n[[keys]]\nkey = "k"\n')
        self.assertEqual(done.returncode, 0, done)

    def test_errors_name_file_line_and_hint(self):
        for text, line, words in (
                ("[store]\nmax_byte = 5\n", 2, ["max_bytes"]),
                ("[store]\nmax_bytes = \"5 apples\"\n", 2, ["max_bytes"]),
                ("[stoer]\nx = 1\n", 1, ["store"]),
                ("[server\n", 1, []),
                ("\n\n[[destinations]]\nname = \"a\"\n", 3, ["url", "http"]),
                ("[log]\nlevel = \"loud\"\n", 2, ["info"]),
                ("[[keys]]\nkey = \"k\"\npatterns = {campaign_id = \"(\"}\n", 3, ["campaign_id"])):
            with self.subTest(text=text):
                done = self.check(text)
                said = done.stdout + done.stderr
                self.assertEqual(done.returncode, 1, done)
                self.assertIn(f"weir.toml:{line}", said)
                for word in words:
                    self.assertIn(word, said)

    def test_every_error_is_reported_at_once(self):
        done = self.check("[store]\nmax_byte = 5\n[log]\nlevel = \"loud\"\n")
        self.assertIn("max_byte", done.stdout + done.stderr)
        self.assertIn("level", done.stdout + done.stderr)

    def test_an_event_limit_above_a_quarter_of_the_segment_is_refused(self):
        done = self.check('[store]\nsegment_bytes = "2MiB"\n[limits]\nevent_bytes = "1MiB"\n')
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("event_bytes", done.stdout + done.stderr)

    def test_config_print_shows_every_option_with_its_default(self):
        done = subprocess.run([BINARY, "config", "print"], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done)
        for word in ("[store]", "max_bytes", "[limits]", "body_bytes", "[dedupe]", "retention"):
            self.assertIn(word, done.stdout)

    def test_environment_beats_file_and_flag_beats_environment(self):
        path = os.path.join(self.directory, "weir.toml")
        with open(path, "w", encoding="utf-8") as f:
            f.write('[dedupe]\nmax_entries = 1001\nwindow = "2h"\n[stats]\ncache_ttl = "5m"\n')
        done = subprocess.run([BINARY, "config", "print", "--config", path, "--set", "dedupe.window=3h"],
                              capture_output=True, text=True, timeout=30,
                              env={**os.environ, "WEIR_DEDUPE__WINDOW": "9h", "WEIR_STATS__CACHE_TTL": "7m"})
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"max_entries = 1001")
        self.assertRegex(done.stdout, r"window = \"3h\"")
        self.assertRegex(done.stdout, r"cache_ttl = \"7m\"")

    def test_system_check_names_what_matters(self):
        done = subprocess.run([BINARY, "check", "--system"], capture_output=True, text=True,
                              timeout=60, cwd=self.directory)
        self.assertEqual(done.returncode, 0, done)
        for word in ("kernel", "io_uring", "memlock", "files", "sync"):
            self.assertIn(word, done.stdout.lower())


class Reload(Case):
    def test_sighup_applies_a_new_key(self):
        weir = self.weir(keys=[{"key": "one", "tenant": "a"}])
        header = {"X-Write-Key": "two"}
        self.assertError(weir.post(harness.event(), headers=header), 401, "unknown_key")
        weir.keys.append({"key": "two", "tenant": "b"})
        weir.write_config()
        weir.signal(signal.SIGHUP)
        eventually(lambda: weir.post(harness.event(), headers=header).status == 200, "the new key")

    def test_sighup_with_an_error_changes_nothing(self):
        weir = self.weir(keys=[{"key": "one", "tenant": "a"}])
        weir.keys.append({"key": "two", "nonsense": True})
        weir.write_config()
        before = len(weir.log())
        weir.signal(signal.SIGHUP)
        eventually(lambda: "nonsense" in weir.log()[before:], "the error in the log")
        self.assertStatus(weir.post(harness.event(), headers={"X-Write-Key": "one"}), 200)
        self.assertStatus(weir.post(harness.event(), headers={"X-Write-Key": "two"}), 401)

    def test_two_at_once_on_different_directories(self):
        self.weir()
        other = self.weir()
        self.assertStatus(other.post(harness.event()), 200)
        self.assertIsInstance(other, Weir)
