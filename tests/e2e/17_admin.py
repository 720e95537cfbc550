"""The admin listener and the commands on the real binary: access, reload, systemd, data directory."""
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import harness
from harness import BINARY, Case, destination, event, eventually, request


def token(name, text, role="admin"):
    return {"name": name, "hash": hashlib.sha256(text.encode()).hexdigest(), "role": role}


class Access(Case):
    def test_open_admin_serves_this_machine_only(self):
        weir = self.weir()
        for headers in ({"Host": "attacker.example"}, {"Host": "127.0.0.1", "X-Forwarded-For": "1.2.3.4"},
                        {"Host": f"127.0.0.1:{weir.admin}", "Origin": "https://attacker.example"}):
            with self.subTest(headers=headers):
                self.assertStatus(weir.get_admin("/api/v1/stats", headers=headers), 403)
        self.assertStatus(weir.get_admin("/livez", headers={"Host": "attacker.example"}), 200)

    def test_unknown_paths_and_methods(self):
        weir = self.weir()
        self.assertError(weir.get_admin("/nothing"), 404, "not_found")
        self.assertError(request(weir.admin, "POST", "/api/v1/stats", b""), 405, "method_not_allowed")

    def test_who_logs_in_at_a_url_is_shown_nowhere(self):
        weir = self.weir(destinations=[harness.destination("main", harness.free_port())])
        weir.destinations[0]["url"] = "http://user:hunter2@127.0.0.1:9/in?api_key=hunter3"
        weir.write_config()
        told = request(weir.admin, "POST", "/api/v1/reload", b"")
        self.assertStatus(told, 200)
        self.assertIn("http://(secret)@127.0.0.1:9/in?api_key=(secret)", told.body.decode())
        self.assertStatus(weir.post(harness.event()), 200)
        eventually(lambda: weir.metric("weir_forward_attempts_total") > 0, "an attempt")
        printed = weir.cli("config", "print", "--config", weir.config, server=False)
        self.assertIn('# url = "http://(secret)@127.0.0.1:9/in?api_key=(secret)"', printed.stdout)
        weir.destinations[0]["url"] = "ftp://user:hunter2@127.0.0.1/"
        weir.write_config()
        refused = weir.cli("check", "--config", weir.config, server=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("does not begin with http://", refused.stdout + refused.stderr)
        everything = [weir.log(), weir.get_admin("/api/v1/config").body.decode(), told.body.decode(),
                      weir.get_admin("/api/v1/live-counters").body.decode(), weir.cli("status").stdout,
                      printed.stdout, refused.stdout, refused.stderr,
                      json.dumps(weir.get_admin("/api/v1/stats?fresh=1").json)]
        for text in everything:
            self.assertNotIn("hunter", text)

    def test_the_configuration_is_shown_without_secrets(self):
        weir = self.weir(keys=[{"key": "hunter2", "tenant": "t"}])
        shown = weir.get_admin("/api/v1/config").json
        self.assertEqual(shown["keys.0.tenant"]["value"], '"t"')
        self.assertNotIn("hunter2", json.dumps(shown))


class Reloading(Case):
    def test_what_needs_a_restart_is_named_and_nothing_changes(self):
        weir = self.weir(keys=[{"key": "one"}])
        weir.keys.append({"key": "two"})
        weir.write_config()
        with open(weir.config, "a", encoding="utf-8") as f:
            f.write('[store]\nretention = "1d"\n')
        answer = request(weir.admin, "POST", "/api/v1/reload", b"")
        self.assertEqual(answer.status, 400, answer)
        self.assertIn("store.retention", answer.json["message"])
        self.assertStatus(weir.post(event(), headers={"X-Write-Key": "two"}), 401)
        self.assertEqual(weir.metric("weir_config_reloads_total", outcome="refused"), 1)

    def test_api_reload_says_what_changed(self):
        weir = self.weir(keys=[{"key": "one"}])
        weir.keys.append({"key": "two"})
        weir.write_config()
        answer = request(weir.admin, "POST", "/api/v1/reload", b"")
        self.assertEqual(answer.json["changed"], ["keys"])
        self.assertNotIn("two", answer.body.decode())
        eventually(lambda: weir.post(event(), headers={"X-Write-Key": "two"}).status == 200, "the new key")

    def test_tokens_change_at_once(self):
        weir = self.weir(sections={"tokens": [token("a", "old")]})
        auth = lambda t: weir.get_admin("/api/v1/stats", headers={"Authorization": f"Bearer {t}"}).status  # noqa: E731
        self.assertEqual((auth("old"), auth("new")), (200, 401))
        weir.sections["tokens"] = [token("a", "new")]
        weir.write_config()
        weir.signal(signal.SIGHUP)
        eventually(lambda: (auth("old"), auth("new")) == (401, 200), "the new token")


class Systemd(Case):
    def test_ready_reloading_and_stopping_are_told(self):
        path = os.path.join(self.directory, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(harness.PATIENCE)
            weir = self.weir(start=False)
            weir.start(env={"NOTIFY_SOCKET": path})
            self.assertEqual(notify.recv(200), b"READY=1")
            weir.signal(signal.SIGHUP)
            self.assertRegex(notify.recv(200), rb"^RELOADING=1\nMONOTONIC_USEC=\d+$")
            self.assertEqual(notify.recv(200), b"READY=1")
            self.assertEqual(weir.stop(), 0)
            self.assertEqual(notify.recv(200), b"STOPPING=1")


class Startup(Case):
    def test_one_line_says_what_runs(self):
        weir = self.weir()
        (line,) = [x for x in weir.log().splitlines() if "event=ready" in x]
        for word in ("version=", "kernel=", "io_uring=", f"listen=http://127.0.0.1:{weir.ingest}",
                     f"admin=http://127.0.0.1:{weir.admin}", f"data={weir.data}", "store_id="):
            self.assertIn(word, line)

    def test_port_zero_is_any_port_and_all_shards_share_it(self):
        weir = self.weir(start=False, shards=3)
        weir.ingest = 0
        weir.launch()
        found = eventually(lambda: re.search(r"listen=http://127\.0\.0\.1:(\d+)", weir.log()), "the start line")
        weir.ingest = int(found.group(1))
        for _ in range(20):
            self.assertStatus(weir.request("GET", "/livez"), 200)

    def test_an_ingest_port_in_use_is_refused_with_several_shards(self):
        first = self.weir(shards=2)
        second = self.weir(start=False, shards=2)
        second.ingest = first.ingest
        second.launch()
        self.assertEqual(second.process.wait(20), 1)
        second.process = None
        self.assertIn(str(first.ingest), second.log())

    def test_interrupt_stops_like_terminate(self):
        weir = self.weir()
        weir.signal(signal.SIGINT)
        self.assertEqual(weir.wait(), 0)


class Directory(Case):
    def test_export_writes_every_event_while_serving_and_after(self):
        weir = self.weir()
        ids = [harness.unique() for _ in range(2500)]
        for i in range(0, len(ids), 100):
            self.assertStatus(weir.post([event(id=x) for x in ids[i:i + 100]]), 200)

        def exported():
            done = weir.cli("store", "export", "--data", weir.data, server=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return [json.loads(line) for line in done.stdout.splitlines()]
        rows = exported()
        self.assertEqual([r["id"] for r in rows], ids)
        self.assertEqual(rows[0]["seq"], "0-1")
        self.assertEqual(rows[0]["raw"]["name"], "test")
        weir.stop()
        self.assertEqual(exported(), rows)

    def test_a_directory_that_is_not_there_is_an_error(self):
        for verb in ("verify", "inspect", "export"):
            done = subprocess.run([BINARY, "store", verb, "--data", os.path.join(self.directory, "none")],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1, (verb, done))
            self.assertIn("none", done.stderr)


class Commands(Case):
    def test_failed_needs_an_id_or_all(self):
        weir = self.weir()
        self.assertEqual(weir.cli("failed", "requeue").returncode, 2)
        self.assertEqual(weir.cli("failed", "discard", "--all").returncode, 0)
        self.assertEqual(weir.cli("failed", "show", "99").returncode, 1)

    def test_requeue_all_of_a_reason(self):
        central = self.central()
        weir = self.weir(destinations=[destination("d", central.port)])
        central.fault(mode="poison", ids="^bad", status=400)
        weir.post([event(id=f"bad-{i}") for i in range(5)])
        eventually(lambda: weir.stats()["failed"] == 5, "failed events")
        central.fault()
        done = weir.cli("failed", "requeue", "--all", "--reason", "http_400")
        self.assertEqual(json.loads(done.stdout), {"requeued": 5})
        self.assertArrives(central, [f"bad-{i}" for i in range(5)])
        eventually(lambda: weir.stats()["failed"] == 0, "no failed event")

    def test_status_says_why_events_wait(self):
        weir = self.weir(destinations=[destination("away", harness.free_port())])
        weir.post([event() for _ in range(3)])

        def shown():
            text = weir.cli("status").stdout
            return text if "backing_off" in text else None
        text = eventually(shown, "a lane that backs off")
        self.assertIn("3 pending", text)
        self.assertRegex(text, r"(?i)connect")

    def test_livez_is_quick_while_counts_run(self):
        weir = self.weir()
        for _ in range(20):
            weir.post([event() for _ in range(100)])
        worst = 0.0
        for _ in range(20):
            counts = [harness.Raw(weir.admin) for _ in range(8)]
            for connection in counts:
                connection.send(b"GET /api/v1/stats?fresh=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            started = time.monotonic()
            self.assertStatus(weir.get_admin("/livez"), 200)
            worst = max(worst, time.monotonic() - started)
            for connection in counts:
                connection.close()
        self.assertLess(worst, 5)
